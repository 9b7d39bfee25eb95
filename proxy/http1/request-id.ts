/**
 * Ids of requests: unique over processes and restarts by a random prefix, within one by counting. They are for
 * finding a request again, not for secrets.
 */
import { randomBytes } from 'node:crypto';
import { X_REQUEST_ID } from './field-kinds.ts';
import type { RequestHead } from './request-head.ts';

const prefix = randomBytes(9).toString('base64url').replace(/[-_]/g, '0');
/** The last two digits of the counter, so that an id costs one concatenation and no conversion. */
const LAST_DIGITS = Array.from({ length: 36 * 36 }, (_, i) => i.toString(36).padStart(2, '0'));
let last = LAST_DIGITS.length;
let rest = 0;
let beginning = '';

export function newRequestId(): string {
  if (last === LAST_DIGITS.length) {
    last = 0;
    beginning = prefix + rest.toString(36).padStart(5, '0');
    rest++;
  }
  return beginning + (LAST_DIGITS[last++] as string);
}

/** The id that a trusted proxy gave the request, if it may be used (and logged) as it is; else a new one. */
export function requestIdFor(head: RequestHead, trusted: boolean): string {
  const given = trusted ? head.fields.find(X_REQUEST_ID) : -1;
  if (given < 0) return newRequestId();
  const id = head.fields.value(given);
  return /^[A-Za-z0-9_.:@/+=-]{1,128}$/.test(id) ? id : newRequestId();
}

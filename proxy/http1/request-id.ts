/**
 * Ids of requests: unique over processes and restarts by a random prefix, within one by counting. They are for
 * finding a request again, not for secrets.
 */
import { randomBytes } from 'node:crypto';

const prefix = randomBytes(9).toString('base64url').replace(/[-_]/g, '0');
let counter = 0;

export function newRequestId(): string {
  counter++;
  return prefix + counter.toString(36).padStart(7, '0');
}

/** Whether an id from a trusted proxy may be used (and logged) as it is. */
export function isRequestId(text: string): boolean {
  return /^[A-Za-z0-9_.:@/+=-]{1,128}$/.test(text);
}

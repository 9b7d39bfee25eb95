/**
 * Conditional and range requests against a stored answer (RFC 9110 §13 and §14): whether the visitor has it already,
 * and which bytes of it are meant. Only what is answered here is read; a request with any other condition goes on.
 */
import type { RequestView } from '../../shared/routing/decision.ts';
import { type AnswerHead, parseHttpDate } from './rules.ts';

export interface Conditions {
  readonly ifNoneMatch: string | undefined;
  readonly ifModifiedSince: string | undefined;
}

/** Null when there are none. */
export function conditionsOf(view: RequestView): Conditions | null {
  const ifNoneMatch = view.header('if-none-match');
  const ifModifiedSince = view.header('if-modified-since');
  return ifNoneMatch === undefined && ifModifiedSince === undefined ? null : { ifNoneMatch, ifModifiedSince };
}

/** Whether a 304 answers the request. RFC 9110 §13.2.2: If-Modified-Since counts only without If-None-Match. */
export function isNotModified(head: AnswerHead, { ifNoneMatch, ifModifiedSince }: Conditions): boolean {
  if (head.status !== 200) return false;
  if (ifNoneMatch !== undefined) {
    const etag = head.field('etag');
    return ifNoneMatch.trim() === '*' || (etag !== undefined && tags(ifNoneMatch).includes(weak(etag)));
  }
  const since = parseHttpDate(ifModifiedSince);
  const modified = parseHttpDate(head.field('last-modified'));
  return since !== null && modified !== null && modified <= since;
}

function tags(list: string): string[] {
  return (list.match(/(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g) ?? []).map(weak);
}

/** For weak comparison (RFC 9110 §8.8.3.2). */
function weak(tag: string): string {
  return tag.replace(/^W\//, '');
}

export interface ByteRange {
  readonly first: number;
  /** The last byte, which belongs to it. */
  readonly last: number;
}

/**
 * The one range of bytes that is asked for; `outside` when no byte of it exists; null when the field is to be ignored
 * (several ranges, another unit, malformed), as RFC 9110 §14.2 allows.
 */
export function rangeOf(value: string, length: number): ByteRange | 'outside' | null {
  const match = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(value);
  if (match === null) return null;
  const [, from = '', to = ''] = match;
  if (from === '') {
    if (to === '') return null;
    const suffix = Math.min(Number(to), length);
    return suffix === 0 ? 'outside' : { first: length - suffix, last: length - 1 };
  }
  const first = Number(from);
  if (to !== '' && Number(to) < first) return null;
  if (first >= length) return 'outside';
  return { first, last: to === '' ? length - 1 : Math.min(Number(to), length - 1) };
}

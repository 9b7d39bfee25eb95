/** ETags are revisions: `If-Match` and `If-None-Match` (RFC 9110 §13.1) guard against changing what was not seen. */
import type { IncomingHttpHeaders } from 'node:http';
import { KontrolError } from '../../shared/errors.ts';

export function etagOf(rev: number): string {
  return `"${rev}"`;
}

/** Throws `precondition_failed` when the object is not the one the client has seen. `rev` is null when there is none. */
export function checkPreconditions(headers: IncomingHttpHeaders, rev: number | null): void {
  const ifMatch = headers['if-match'];
  if (ifMatch !== undefined && !matches(ifMatch, rev)) {
    const message =
      rev === null
        ? 'There is no such object (any more); read it again'
        : `The object is at revision ${rev} now; read it again and repeat the change`;
    throw new KontrolError('precondition_failed', message);
  }
  const ifNoneMatch = headers['if-none-match'];
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, rev)) {
    throw new KontrolError(
      'precondition_failed',
      'The object exists already; leave out If-None-Match to replace it',
    );
  }
}

/** For reads: the client has this revision already. */
export function isNotModified(headers: IncomingHttpHeaders, rev: number): boolean {
  const ifNoneMatch = headers['if-none-match'];
  return ifNoneMatch !== undefined && matches(ifNoneMatch, rev);
}

/** A front that compresses makes tags weak; the number still says everything, and so does one without quotes. */
function matches(field: string, rev: number | null): boolean {
  if (rev === null) return false;
  return field.split(',').some((entry) => {
    const tag = entry.trim();
    if (tag === '*') return true;
    return /^(?:W\/)?"?(\d+)"?$/.exec(tag)?.[1] === String(rev);
  });
}

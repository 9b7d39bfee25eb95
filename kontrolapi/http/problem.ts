/** Failures as answers: RFC 9457 `application/problem+json` with a code of the register. */
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { ERRORS, KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';

/** Lists of problems are cut here: a body with a million mistakes gets the first ones. */
const MAX_PROBLEMS = 100;

/** Any failure as one of the register. What we did not expect is `internal`; its details go to the log only. */
export function toKontrolError(error: unknown): KontrolError {
  if (error instanceof KontrolError) return error;
  // Express and Node mark failures of the request itself (a path that is not percent-encoded, a broken body).
  const status = (error as { status?: unknown } | null)?.status;
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new KontrolError('invalid', 'The request is malformed; check the encoding of its path');
  }
  return new KontrolError('internal', undefined, [], { cause: error });
}

export function sendProblem(response: ServerResponse, error: KontrolError, requestId: string): void {
  const entry = ERRORS[error.code];
  const body = {
    type: `urn:kontrol:error:${error.code}`,
    title: entry.title,
    status: entry.status,
    detail: error.message,
    code: error.code,
    requestId,
    errors: error.problems.slice(0, MAX_PROBLEMS),
  };
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.statusCode = entry.status;
  if (entry.status === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="kontrol"');
  if (entry.status === 503) response.setHeader('Retry-After', '2');
  if (entry.status === 429) response.setHeader('Retry-After', String(error.retryAfter ?? 60));
  response.setHeader('Content-Type', 'application/problem+json');
  response.end(JSON.stringify(body));
}

/** Writes a failure to the log when it is ours, not the client's. */
export function logProblem(log: Log, error: KontrolError, fields: Readonly<Record<string, unknown>>): void {
  if (error.code === 'internal') {
    const cause = error.cause as Error | undefined;
    log.error('api_internal_error', cause?.message ?? error.message, { ...fields, stack: cause?.stack });
  } else if (error.status >= 500) {
    log.warn('api_unavailable', error.message, { ...fields, problem: error.code });
  }
}

export function newRequestId(): string {
  return randomUUID();
}

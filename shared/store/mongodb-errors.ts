/** What a failure of the MongoDB driver means: whether something may have been written, and whether to try again. */
import {
  MongoBulkWriteError,
  MongoError,
  MongoNetworkError,
  MongoServerError,
  MongoWriteConcernError,
} from 'mongodb';
import { KontrolError } from '../errors.ts';

/**
 * `duplicate`: the `_id` exists · `broken`: try again, the write may have happened · `again`: try again, nothing was
 * sent · `late`: our own time is over · `unsent`: no server answers · `refused`: a server said no, for good.
 */
export type Failure = 'duplicate' | 'broken' | 'again' | 'late' | 'unsent' | 'refused';

/** Our own time for the call is over; what was sent may still happen. */
export class LateError extends Error {}

/** A failure of the connection or the server, and not a mistake of ours. */
export function isFailure(error: unknown): boolean {
  return error instanceof MongoError || error instanceof LateError || isSocketError(error);
}

/** How a socket fails on which the driver just began to write; it lets these errors through as they are. */
const SOCKET_CODES = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'ENOTCONN',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'ERR_SOCKET_CLOSED',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_STREAM_WRITE_AFTER_END',
]);

function isSocketError(error: unknown): boolean {
  return error instanceof Error && SOCKET_CODES.has((error as NodeJS.ErrnoException).code ?? '');
}

const DUPLICATE_KEY = 11_000;
// The server changes its state, shuts down, or could not wait for the majority.
const STATE_CHANGES = new Set([
  6, 7, 64, 89, 91, 189, 262, 9_001, 10_107, 11_600, 11_602, 13_435, 13_436, 10_058, 50,
]);

export function failureOf(error: unknown): Failure {
  if (error instanceof LateError) return 'late';
  if (error instanceof MongoNetworkError && error.name === 'MongoPoolClearedError') return 'again';
  if (error instanceof MongoNetworkError || error instanceof MongoWriteConcernError) return 'broken';
  if (isSocketError(error)) return 'broken';
  if (error instanceof MongoBulkWriteError) return bulkFailure(error);
  if (error instanceof MongoServerError) {
    const code = Number(error.code);
    // A duplicate is only certain once a majority has it.
    if (error['writeConcernError'] !== undefined || STATE_CHANGES.has(code)) return 'broken';
    return code === DUPLICATE_KEY ? 'duplicate' : 'refused';
  }
  return error instanceof MongoError ? 'unsent' : 'refused';
}

function bulkFailure(error: MongoBulkWriteError): Failure {
  if (error.result?.getWriteConcernError() !== undefined) return 'broken';
  const writes = Array.isArray(error.writeErrors) ? error.writeErrors : [error.writeErrors];
  if (writes.length > 0 && writes.every((each) => each.code === DUPLICATE_KEY)) return 'duplicate';
  const other = writes.find((each) => each.code !== DUPLICATE_KEY);
  return other !== undefined && STATE_CHANGES.has(other.code) ? 'broken' : 'refused';
}

/** The error that the caller gets. `unsure`: an earlier attempt of the same write broke off. */
export function storeError(error: unknown, unsure: boolean, redact: (text: string) => string): KontrolError {
  const reason = redact(error instanceof Error ? error.message : String(error));
  const options = { cause: error };
  if (unsure)
    return new KontrolError('outcome_unknown', `MongoDB broke off while writing: ${reason}`, [], options);
  const message =
    failureOf(error) === 'refused'
      ? `MongoDB refused the call: ${reason}; see what the user of MONGO_URL may do`
      : `MongoDB does not answer: ${reason}; every call tries again`;
  return new KontrolError('store_unavailable', message, [], options);
}

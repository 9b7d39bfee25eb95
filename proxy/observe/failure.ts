/** An exception inside the engine: it ends what it happened in, leaves a line in the log, and goes no further. */
import type { Log } from '../../shared/log.ts';

export function logFailure(log: Log, error: unknown, requestId: string): void {
  log.error('engine_failed', 'The proxy failed inside; the request was ended. Please report this line', {
    requestId,
    error: error instanceof Error ? (error.stack ?? error.message) : String(error),
  });
}

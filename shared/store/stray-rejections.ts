/**
 * LMDB rejects more promises than it hands out when a commit fails, as on a full disk. Nobody can handle those, and
 * Node would end the process for them: so as long as a folder is open they are logged here.
 */
import type { Log } from '../log.ts';

/** Begins to log stray rejections of this process; the answer ends it. */
export function logStrayRejections(log: Log): () => void {
  const onRejection = (reason: unknown): void => {
    if (isOfLmdb(reason)) {
      log.debug('store_commit_failed', 'A commit of the embedded store failed', { reason: String(reason) });
      return;
    }
    // With a listener Node no longer reports by itself what else goes astray in this process.
    log.error('unhandled_rejection', 'A failure was not handled where it belongs; the process goes on', {
      reason: reason instanceof Error ? (reason.stack ?? reason.message) : String(reason),
    });
  };
  process.on('unhandledRejection', onRejection);
  return () => process.off('unhandledRejection', onRejection);
}

function isOfLmdb(reason: unknown): boolean {
  return reason instanceof Error && ('commitError' in reason || /[\\/]lmdb[\\/]/.test(reason.stack ?? ''));
}

/** Opens something that may not be there yet: again and again, ever more rarely, for as long as it takes. */
import type { Clock } from '../../shared/clock.ts';

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;

export interface Opening<T extends { close(): Promise<void> }> {
  open(): Promise<T>;
  /** Attempts are counted from 0. */
  failed(error: Error, attempt: number): void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What was opened, or null when `signal` was aborted first (what opens later is closed again). Never rejects. */
export async function untilOpen<T extends { close(): Promise<void> }>(
  opening: Opening<T>,
): Promise<T | null> {
  const { clock, signal } = opening;
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      const opened = await opening.open();
      if (!signal.aborted) return opened;
      await opened.close().catch(() => {});
      return null;
    } catch (error) {
      opening.failed(error instanceof Error ? error : new Error(String(error)), attempt);
    }
    const pause = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 10));
    await new Promise<void>((resolve) => {
      const end = () => {
        cancel();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const cancel = clock.after(pause, end);
      signal.addEventListener('abort', end);
    });
  }
  return null;
}

/** A promise with a limit in time. */
import type { Clock } from '../shared/clock.ts';

export class TimedOut extends Error {
  override readonly name = 'TimedOut';
}

/** Rejects with TimedOut when `promise` has not settled after `ms`; the promise itself goes on. */
export function within<T>(promise: Promise<T>, ms: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(new TimedOut(`no answer within ${ms} ms`)));
    promise.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error: unknown) => {
        cancel();
        reject(error);
      },
    );
  });
}

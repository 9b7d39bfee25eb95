/** Work that takes long is done in slices, between which other calls have their turn. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long work goes on before others have their turn, in milliseconds. */
const MAX_HOLD_MS = 10;

export class Turns {
  #since = performance.now();

  /** True when others have waited for long enough: then `await give()`. */
  get due(): boolean {
    return performance.now() - this.#since > MAX_HOLD_MS;
  }

  /** Lets others have their turn, if it is due. */
  async give(): Promise<void> {
    if (!this.due) return;
    await nextTurn();
    this.#since = performance.now();
  }
}

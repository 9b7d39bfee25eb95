/**
 * How a serving process leaves: it accepts no more, lets every exchange end, and after the set time ends what is
 * left. Streams and WebSockets live on until then.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Connections } from './connections.ts';

/**
 * How long idle connections stay open: a request that is on its way when the drain begins still gets its answer,
 * which says `Connection: close`.
 */
const IN_FLIGHT_MS = 1_000;
/** What goodbyes and last bytes get after the set time. */
const LAST_WORDS_MS = 500;

export class Drain {
  readonly #connections: Connections;
  readonly #clock: Clock;
  #begun = false;

  constructor(connections: Connections, clock: Clock) {
    this.#connections = connections;
    this.#clock = clock;
  }

  /** True from the moment it began. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Resolves when nothing is open, `ms` later at most (and a moment for goodbyes). Only the first call counts. */
  begin(ms: number): Promise<void> {
    this.#begun = true;
    return new Promise((resolve) => {
      let cancelEnd = this.#clock.after(ms, () => {
        cancelEnd = this.#clock.after(LAST_WORDS_MS, resolve);
        this.#connections.closeAll();
      });
      const cancelIdle = this.#clock.after(Math.min(ms, IN_FLIGHT_MS), () => this.#connections.drain());
      this.#connections.whenEmpty(() => {
        cancelIdle();
        cancelEnd();
        resolve();
      });
    });
  }
}

/**
 * Tells the other serving processes of the node which stored answers an unsafe request made invalid (RFC 9111 §4.4).
 * The first is told at once, those that follow together: a message each 20 ms at most, or one for each 200 URIs.
 */
import type { Clock } from '../../shared/clock.ts';

/** A service, and a URI of which it keeps no answer any more. */
export type Invalidation = readonly [service: string, uri: string];

const PAUSE_MS = 20;
const MAX_TOGETHER = 200;

export class Invalidations {
  readonly #clock: Clock;
  readonly #tell: (invalid: readonly Invalidation[]) => void;
  /** By service and URI, so that one that is written all the time is told once. */
  #waiting = new Map<string, Invalidation>();
  #resting = false;

  constructor(clock: Clock, tell: (invalid: readonly Invalidation[]) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** Nothing is stored under this URI here any more. */
  add(service: string, uri: string): void {
    const begins = this.#waiting.size === 0;
    this.#waiting.set(`${service} ${uri}`, [service, uri]);
    if (this.#waiting.size >= MAX_TOGETHER) this.#flush();
    else if (begins && !this.#resting) this.#rest(0);
  }

  #rest(ms: number): void {
    this.#resting = true;
    this.#clock.after(ms, () => {
      this.#resting = false;
      if (this.#waiting.size === 0) return;
      this.#flush();
      this.#rest(PAUSE_MS);
    });
  }

  #flush(): void {
    const invalid = [...this.#waiting.values()];
    this.#waiting = new Map();
    if (invalid.length > 0) this.#tell(invalid);
  }
}

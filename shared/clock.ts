/** Time as a dependency: everything that waits or compares times takes a Clock, so that tests can drive it. */
export interface Clock {
  /** Wall-clock time in milliseconds since 1970, for people and documents; may jump. */
  now(): number;
  /** Milliseconds on a clock that never goes back, for measuring and time-outs. */
  monotonic(): number;
  /** Calls `callback` once after `ms`; the answer cancels it. Does not keep the process alive. */
  after(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** A clock that stands still until `advance` is called; callbacks due are run in order of their time. */
export class ManualClock implements Clock {
  #time: number;
  #sequence = 0;
  readonly #due: { at: number; order: number; callback: () => void }[] = [];

  constructor(start = 1_700_000_000_000) {
    this.#time = start;
  }

  now(): number {
    return this.#time;
  }

  monotonic(): number {
    return this.#time;
  }

  after(ms: number, callback: () => void): () => void {
    const entry = { at: this.#time + ms, order: this.#sequence++, callback };
    this.#due.push(entry);
    return () => {
      const index = this.#due.indexOf(entry);
      if (index >= 0) this.#due.splice(index, 1);
    };
  }

  advance(ms: number): void {
    const end = this.#time + ms;
    for (;;) {
      this.#due.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.#due[0];
      if (next === undefined || next.at > end) break;
      this.#due.shift();
      this.#time = Math.max(this.#time, next.at);
      next.callback();
    }
    this.#time = end;
  }
}

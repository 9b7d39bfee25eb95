/**
 * How much work without a request a client may make: a store of patience for each kind, that refills with time. What
 * well-behaved clients do at their worst (a browser that leaves a page, a window update per frame) stays far below.
 */

export class Patience {
  readonly #capacity: number;
  readonly #perSecond: number;
  #left: number;
  #at: number;

  /** `capacity` at once, and `perSecond` for ever; `now` in milliseconds of any monotonic clock. */
  constructor(capacity: number, perSecond: number, now: number) {
    this.#capacity = capacity;
    this.#perSecond = perSecond;
    this.#left = capacity;
    this.#at = now;
  }

  /** Takes `cost`; false when nothing is left. */
  take(cost: number, now: number): boolean {
    this.#left -= cost;
    if (this.#left >= 0) return true;
    this.#left = Math.min(this.#capacity, this.#left + ((now - this.#at) / 1_000) * this.#perSecond);
    this.#at = now;
    return this.#left >= 0;
  }

  /** The client did something useful. */
  restore(amount: number): void {
    this.#left = Math.min(this.#capacity, this.#left + amount);
  }
}

const REMEMBERED = 256;

/**
 * The streams that ended last. Frames for one that we reset may have been on their way (RFC 9113 §5.1), and of one that
 * was forgotten since then nobody knows.
 */
export class EndedStreams {
  readonly #ids = new Int32Array(REMEMBERED);
  readonly #resets = new Uint8Array(REMEMBERED);
  #next = 0;
  /** Endings were written over. */
  #forgot = false;

  add(id: number, resetByUs: boolean): void {
    if (this.#ids[this.#next] !== 0) this.#forgot = true;
    this.#ids[this.#next] = id;
    this.#resets[this.#next] = resetByUs ? 1 : 0;
    this.#next = (this.#next + 1) % REMEMBERED;
  }

  has(id: number): boolean {
    return this.#ids.indexOf(id) >= 0;
  }

  /** Whether a client that keeps the rules can have sent a frame for this stream, before it knew of its end. */
  mayStillCome(id: number): boolean {
    const at = this.#ids.lastIndexOf(id);
    return at >= 0 ? this.#resets[at] === 1 : this.#forgot;
  }
}

/**
 * One coarse timer for all connections of a process. Setting, moving and cancelling a deadline costs a few
 * nanoseconds and no allocation; deadlines are kept to within one tick (100 ms), never early.
 */

/** Something with one deadline at a time. Embed it in the connection object; the fields belong to the wheel. */
export interface Timed {
  /** Called when the deadline has passed; the deadline is cleared before. */
  onTimeout(): void;
  /** Tick at which it is due, 0 for none. Owned by the wheel. */
  timerDue: number;
  /** Whether it stands in a slot of the wheel. Owned by the wheel. */
  timerQueued: boolean;
}

const TICK_MS = 100;
const SLOTS = 1_024;

export class TimerWheel {
  /** Milliseconds of the monotonic clock at the last tick; cheap to read. */
  now: number;
  #tick = 1;
  readonly #slots: Timed[][] = Array.from({ length: SLOTS }, () => []);
  readonly #monotonic: () => number;
  readonly #onError: (error: unknown) => void;
  #interval: NodeJS.Timeout | null = null;

  /** `onError` gets what a timed object threw; the others still run. */
  constructor(onError: (error: unknown) => void, monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic;
    this.#onError = onError;
    this.now = monotonic();
  }

  start(): void {
    if (this.#interval !== null) return;
    this.#interval = setInterval(() => this.advance(), TICK_MS);
    this.#interval.unref();
  }

  stop(): void {
    if (this.#interval !== null) clearInterval(this.#interval);
    this.#interval = null;
  }

  /** Sets or moves the deadline to `ms` from now. A later deadline stays in its old slot until that comes round. */
  set(timed: Timed, ms: number): void {
    const due = this.#tick + Math.ceil(ms / TICK_MS) + 1;
    const earlier = timed.timerDue !== 0 && due < timed.timerDue;
    timed.timerDue = due;
    if (!timed.timerQueued || earlier) {
      timed.timerQueued = true;
      this.#slot(due).push(timed);
    }
  }

  clear(timed: Timed): void {
    timed.timerDue = 0;
  }

  /** Runs what is due; called by the interval, and by tests that drive time. */
  advance(): void {
    const now = this.#monotonic();
    // After a long stall at most one turn of the wheel is walked: each slot holds all that is due before.
    let ticks = Math.floor((now - this.now) / TICK_MS);
    if (ticks <= 0) return;
    this.now += ticks * TICK_MS;
    ticks = Math.min(ticks, SLOTS + Math.floor(ticks / SLOTS));
    while (ticks-- > 0) this.#turn();
  }

  #slot(due: number): Timed[] {
    return this.#slots[due % SLOTS] as Timed[];
  }

  #turn(): void {
    this.#tick++;
    const slot = this.#slot(this.#tick);
    if (slot.length === 0) return;
    const entries = slot.splice(0);
    for (const timed of entries) {
      if (timed.timerDue === 0) {
        timed.timerQueued = false;
      } else if (timed.timerDue > this.#tick) {
        this.#slot(timed.timerDue).push(timed);
      } else {
        timed.timerDue = 0;
        timed.timerQueued = false;
        try {
          timed.onTimeout();
        } catch (error) {
          this.#onError(error);
        }
      }
    }
  }
}

/**
 * One coarse timer for all connections of a process. Moving or cancelling a deadline costs one reading of the clock
 * and no allocation; deadlines are never early and at most one tick (100 ms) late, plus what the process stalled.
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
/** Longer deadlines are the same as this one (24 days); keeps tick numbers small integers. */
const MAX_MS = 2 ** 31;

export class TimerWheel {
  /** Milliseconds of the monotonic clock at the last tick; cheap to read. */
  now: number;
  readonly #origin: number;
  #tick = 1;
  readonly #slots: Set<Timed>[] = Array.from({ length: SLOTS }, () => new Set());
  /** The tick whose slot a queued object stands in; it may be due later, never earlier. */
  readonly #queuedAt = new Map<Timed, number>();
  readonly #monotonic: () => number;
  readonly #onError: (error: unknown) => void;
  #interval: NodeJS.Timeout | null = null;

  /** `onError` gets what a timed object threw; the others still run. */
  constructor(onError: (error: unknown) => void, monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic;
    this.#onError = onError;
    this.now = monotonic();
    // Tick 1 is now, so that no tick is 0, which stands for "no deadline".
    this.#origin = this.now - TICK_MS;
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

  /** How many objects the wheel still refers to; for leak tests. */
  get size(): number {
    return this.#queuedAt.size;
  }

  /**
   * Sets or moves the deadline to `ms` from now (negative counts as 0). It is counted from the clock and not from
   * the last tick, which may be long ago after a stall. A later deadline stays in its old slot until that comes round.
   */
  set(timed: Timed, ms: number): void {
    const delay = ms > 0 ? Math.min(ms, MAX_MS) : 0;
    const due = Math.max(Math.ceil((this.#monotonic() - this.#origin + delay) / TICK_MS), this.#tick + 1);
    const earlier = timed.timerDue === 0 || due < timed.timerDue;
    timed.timerDue = due;
    if (!timed.timerQueued) this.#enqueue(timed, due);
    else if (earlier && due < (this.#queuedAt.get(timed) ?? 0)) {
      this.#dequeue(timed);
      this.#enqueue(timed, due);
    }
  }

  /** No deadline any more. The wheel may refer to the object until its slot comes round: see `remove`. */
  clear(timed: Timed): void {
    timed.timerDue = 0;
  }

  /** Like `clear`, and the wheel forgets the object at once: for what is closed and should be freed. */
  remove(timed: Timed): void {
    timed.timerDue = 0;
    if (timed.timerQueued) this.#dequeue(timed);
  }

  /** Runs what is due; called by the interval, and by tests that drive time. */
  advance(): void {
    const target = Math.floor((this.#monotonic() - this.#origin) / TICK_MS);
    if (target <= this.#tick) return;
    // After a long stall one turn of the wheel is enough: each slot holds all that is due in it.
    const first = Math.max(this.#tick + 1, target - SLOTS + 1);
    this.#tick = target;
    this.now = this.#origin + target * TICK_MS;
    for (let tick = first; tick <= target; tick++) this.#visit(tick % SLOTS);
  }

  /** Whoever is told may fail as well: that surfaces as an uncaught exception, and this turn goes on. */
  #report(error: unknown): void {
    try {
      this.#onError(error);
    } catch (failure) {
      setImmediate(() => {
        throw failure;
      });
    }
  }

  #enqueue(timed: Timed, due: number): void {
    timed.timerQueued = true;
    this.#queuedAt.set(timed, due);
    this.#slot(due % SLOTS).add(timed);
  }

  #dequeue(timed: Timed): void {
    timed.timerQueued = false;
    this.#slot((this.#queuedAt.get(timed) ?? 0) % SLOTS).delete(timed);
    this.#queuedAt.delete(timed);
  }

  #slot(index: number): Set<Timed> {
    return this.#slots[index] as Set<Timed>;
  }

  #visit(index: number): void {
    // What is added to this slot meanwhile is due a whole turn later, is seen by this loop too, and stays.
    for (const timed of this.#slot(index)) {
      const due = timed.timerDue;
      if (due > this.#tick && due % SLOTS === index) {
        this.#queuedAt.set(timed, due);
        continue;
      }
      this.#dequeue(timed);
      if (due > this.#tick) {
        this.#enqueue(timed, due);
      } else if (due !== 0) {
        timed.timerDue = 0;
        try {
          timed.onTimeout();
        } catch (error) {
          this.#report(error);
        }
      }
    }
  }
}

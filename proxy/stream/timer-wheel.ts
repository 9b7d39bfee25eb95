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
  /** The tick whose slot it stands in; it may be due later, never earlier. Owned by the wheel. */
  timerSlot?: number;
  /** Its place in that slot. Owned by the wheel. */
  timerPlace?: number;
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
  /**
   * Arrays and not sets: a hash table that grows and shrinks leaves old tables behind, each of which refers to the
   * next one. In a rush of short connections they made the collector carry every one of those into its old space.
   */
  readonly #slots: Timed[][] = Array.from({ length: SLOTS }, () => []);
  #size = 0;
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
    return this.#size;
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
    else if (earlier && due < (timed.timerSlot ?? 0)) {
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
    for (let tick = first; tick <= target; tick++) this.#visit(tick);
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
    const slot = this.#slot(due);
    timed.timerQueued = true;
    timed.timerSlot = due;
    timed.timerPlace = slot.length;
    slot.push(timed);
    this.#size++;
  }

  /** The last of its slot takes its place. */
  #dequeue(timed: Timed): void {
    const slot = this.#slot(timed.timerSlot ?? 0);
    timed.timerQueued = false;
    this.#size--;
    const last = slot.pop() as Timed;
    if (last === timed) return;
    const place = timed.timerPlace ?? 0;
    slot[place] = last;
    last.timerPlace = place;
  }

  #slot(tick: number): Timed[] {
    return this.#slots[tick % SLOTS] as Timed[];
  }

  #visit(tick: number): void {
    const slot = this.#slot(tick);
    if (slot.length === 0) return;
    const due: Timed[] = [];
    // Backwards: what takes the place of one that leaves has been looked at.
    for (let place = slot.length - 1; place >= 0; place--) {
      const timed = slot[place] as Timed;
      const at = timed.timerDue;
      if (at > this.#tick && at % SLOTS === tick % SLOTS) {
        timed.timerSlot = at;
        continue;
      }
      this.#dequeue(timed);
      if (at > this.#tick) this.#enqueue(timed, at);
      else if (at !== 0) due.push(timed);
    }
    for (const timed of due) {
      // Whoever ran before may have cleared or moved it.
      if (timed.timerDue === 0 || timed.timerDue > this.#tick) continue;
      timed.timerDue = 0;
      try {
        timed.onTimeout();
      } catch (error) {
        this.#report(error);
      }
    }
  }
}

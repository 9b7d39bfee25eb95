/**
 * Which workers still beat. Each kontrolapi counts the beats it gets, writes the counts into one document of its own
 * every few seconds and reads those of the others; it times *changes* on its own monotonic clock. Whenever it could
 * not see the beats for a while (its store was away, it was stopped, it has just started) every lease starts anew:
 * no outage and no wrong clock ever empties a service.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Store } from '../../shared/store/contract.ts';

export interface LeaseTimes {
  /** A worker that has not beaten for this long is lost. */
  readonly ttlMs: number;
  /** How often beats are exchanged. */
  readonly exchangeMs: number;
}

/** A pause between two exchanges that is this much longer than planned means that beats may have been missed. */
const GAP_FACTOR = 3;

export class Leases {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #times: LeaseTimes;
  readonly #self: string;
  /** Beats counted by this process. */
  readonly #own = new Map<string, number>();
  /** Sum of beats last seen in the documents of the others. */
  readonly #others = new Map<string, number>();
  readonly #seenAt = new Map<string, number>();
  /** Leases never end earlier than one ttl after this moment. */
  #clearSince: number;
  #lastExchange: number;

  constructor(store: Store, clock: Clock, self: string, times: LeaseTimes) {
    this.#store = store;
    this.#clock = clock;
    this.#self = self;
    this.#times = times;
    this.#clearSince = Number.POSITIVE_INFINITY;
    this.#lastExchange = clock.monotonic();
  }

  beat(worker: string): void {
    this.#own.set(worker, (this.#own.get(worker) ?? 0) + 1);
    this.#seenAt.set(worker, this.#clock.monotonic());
  }

  forget(worker: string): void {
    this.#own.delete(worker);
    this.#others.delete(worker);
    this.#seenAt.delete(worker);
  }

  /** Milliseconds since the last beat that is known of, or null when none is. */
  sinceBeat(worker: string): number | null {
    const at = this.#seenAt.get(worker);
    return at === undefined ? null : this.#clock.monotonic() - at;
  }

  /** Writes the own beats and reads those of the others. Rejects like any call of the store. */
  async exchange(): Promise<void> {
    const now = this.#clock.monotonic();
    if (now - this.#lastExchange > GAP_FACTOR * this.#times.exchangeMs)
      this.#clearSince = Number.POSITIVE_INFINITY;
    const { live } = this.#store;
    await live.put('leases', this.#self, { beats: this.#recent(now) });
    const sums = new Map<string, number>();
    for (const document of await live.list('leases')) {
      if (document._id === this.#self) continue;
      const beats = document['beats'];
      if (typeof beats !== 'object' || beats === null) continue;
      for (const [worker, count] of Object.entries(beats)) {
        if (typeof count === 'number') sums.set(worker, (sums.get(worker) ?? 0) + count);
      }
    }
    const seen = this.#clock.monotonic();
    for (const [worker, sum] of sums) {
      // Any change counts, also a smaller sum: a process that beats were counted by has started anew.
      if (this.#others.get(worker) !== sum) this.#seenAt.set(worker, seen);
      this.#others.set(worker, sum);
    }
    this.#lastExchange = seen;
    if (this.#clearSince === Number.POSITIVE_INFINITY) this.#clearSince = seen;
  }

  /** Those of `workers` whose lease has run out; empty while beats may have been missed. */
  expired(workers: Iterable<string>): string[] {
    const now = this.#clock.monotonic();
    const { ttlMs, exchangeMs } = this.#times;
    if (now - this.#lastExchange > GAP_FACTOR * exchangeMs) return [];
    const expired: string[] = [];
    for (const worker of workers) {
      const from = Math.max(this.#clearSince, this.#seenAt.get(worker) ?? Number.NEGATIVE_INFINITY);
      if (now - from > ttlMs) expired.push(worker);
    }
    return expired;
  }

  /** Own counts of the workers that beat lately; the others are dropped, so that the document stays bounded. */
  #recent(now: number): Record<string, number> {
    const beats: Record<string, number> = {};
    for (const [worker, count] of this.#own) {
      if (now - (this.#seenAt.get(worker) ?? 0) <= 2 * this.#times.ttlMs) beats[worker] = count;
      else this.#own.delete(worker);
    }
    return beats;
  }
}

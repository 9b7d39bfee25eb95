/**
 * Which workers still beat. Each kontrolapi counts the beats it gets, writes the counts into one document of its own
 * every few seconds and reads those of the others; it times *changes* on its own monotonic clock. Whenever it could
 * not see the beats for a while (its store was away, it was stopped, it has just started) every lease starts anew:
 * no outage and no wrong clock ever empties a service. Orders to workers travel in the same documents.
 */
import type { Clock } from '../../shared/clock.ts';
import type { LiveDocument, Store } from '../../shared/store/contract.ts';
import { COMMANDS, type Command } from './records.ts';

export interface LeaseTimes {
  /** A worker that has not beaten for this long is lost. */
  readonly ttlMs: number;
  /** How often beats are exchanged. */
  readonly exchangeMs: number;
}

export type Orders = ReadonlyMap<string, Command>;

const NO_ORDERS: Orders = new Map();

/** A pause between two exchanges that is this much longer than planned means that beats may have been missed. */
const GAP_FACTOR = 3;
/** A document that its kontrolapi has not written for this long is removed: that process has ended without a word. */
const STALE_MS = 600_000;

interface Other {
  turn: unknown;
  /** When `turn` last changed. */
  changedAt: number;
  counts: ReadonlyMap<string, number>;
}

export class Leases {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #times: LeaseTimes;
  readonly #self: string;
  /** Beats counted by this process. */
  readonly #own = new Map<string, number>();
  /** What the documents of the others said last. */
  readonly #others = new Map<string, Other>();
  readonly #beatAt = new Map<string, number>();
  /** Since when workers are watched that no beat was seen of. */
  readonly #watchedAt = new Map<string, number>();
  /** Leases never end earlier than one ttl after this moment. */
  #clearSince = Number.POSITIVE_INFINITY;
  #lastExchange: number;
  #turn = 0;

  constructor(store: Store, clock: Clock, self: string, times: LeaseTimes) {
    this.#store = store;
    this.#clock = clock;
    this.#self = self;
    this.#times = times;
    this.#lastExchange = clock.monotonic();
  }

  beat(worker: string): void {
    this.#own.set(worker, (this.#own.get(worker) ?? 0) + 1);
    this.#beatAt.set(worker, this.#clock.monotonic());
  }

  forget(worker: string): void {
    this.#own.delete(worker);
    this.#beatAt.delete(worker);
    this.#watchedAt.delete(worker);
  }

  /** Milliseconds since the last beat that is known of, or null when none is. */
  sinceBeat(worker: string): number | null {
    const at = this.#beatAt.get(worker);
    return at === undefined ? null : this.#clock.monotonic() - at;
  }

  /**
   * Writes the own beats and `orders`, reads those of the others; answers the orders that others were given. Rejects
   * like any call of the store.
   */
  async exchange(orders: Orders = NO_ORDERS): Promise<Orders> {
    const now = this.#clock.monotonic();
    if (now - this.#lastExchange > GAP_FACTOR * this.#times.exchangeMs)
      this.#clearSince = Number.POSITIVE_INFINITY;
    const { live } = this.#store;
    const fields = { turn: ++this.#turn, beats: this.#recent(now), orders: Object.fromEntries(orders) };
    await live.put('leases', this.#self, fields);
    const documents = (await live.list('leases')).filter(({ _id }) => _id !== this.#self);
    const seen = this.#clock.monotonic();
    for (const document of documents) this.#take(document, seen);
    const present = new Set(documents.map(({ _id }) => _id));
    for (const id of this.#others.keys()) if (!present.has(id)) this.#others.delete(id);
    this.#lastExchange = seen;
    if (this.#clearSince === Number.POSITIVE_INFINITY) this.#clearSince = seen;
    await this.#removeStale(documents, seen);
    return ordersOf(documents);
  }

  /**
   * Those of `workers` whose lease has run out; empty while beats may have been missed. A worker that is asked for
   * the first time has a full lease: another kontrolapi may just have registered it.
   */
  expired(workers: Iterable<string>): string[] {
    const now = this.#clock.monotonic();
    const { ttlMs, exchangeMs } = this.#times;
    if (now - this.#lastExchange > GAP_FACTOR * exchangeMs) return [];
    const expired: string[] = [];
    for (const worker of workers) {
      const from = Math.max(this.#clearSince, this.#beatAt.get(worker) ?? this.#watchedSince(worker, now));
      if (now - from > ttlMs) expired.push(worker);
    }
    return expired;
  }

  /** Drops what is kept of workers that are not in `known` and have not beaten here lately. */
  retain(known: ReadonlySet<string>): void {
    const now = this.#clock.monotonic();
    for (const [worker, at] of this.#beatAt) {
      if (!known.has(worker) && now - at > 2 * this.#times.ttlMs) this.forget(worker);
    }
    for (const worker of this.#watchedAt.keys()) if (!known.has(worker)) this.#watchedAt.delete(worker);
  }

  #watchedSince(worker: string, now: number): number {
    const since = this.#watchedAt.get(worker);
    if (since === undefined) this.#watchedAt.set(worker, now);
    return since ?? now;
  }

  #take({ _id, turn, beats }: LiveDocument, now: number): void {
    const before = this.#others.get(_id);
    const counts = new Map<string, number>();
    for (const [worker, count] of entriesOf(beats)) {
      if (typeof count !== 'number') continue;
      counts.set(worker, count);
      // Any change counts, also a smaller number: the worker went away from there and came back.
      if (before?.counts.get(worker) !== count) this.#beatAt.set(worker, now);
    }
    const changedAt = before !== undefined && before.turn === turn ? before.changedAt : now;
    this.#others.set(_id, { turn, changedAt, counts });
  }

  async #removeStale(documents: readonly LiveDocument[], now: number): Promise<void> {
    for (const { _id, v } of documents) {
      const changedAt = this.#others.get(_id)?.changedAt ?? now;
      if (now - changedAt <= STALE_MS) continue;
      await this.#store.live.delete('leases', _id, v);
      this.#others.delete(_id);
    }
  }

  /** Own counts of the workers that beat lately; the others are dropped, so that the document stays bounded. */
  #recent(now: number): Record<string, number> {
    const beats: Record<string, number> = {};
    for (const [worker, count] of this.#own) {
      if (now - (this.#beatAt.get(worker) ?? 0) <= 2 * this.#times.ttlMs) beats[worker] = count;
      else this.#own.delete(worker);
    }
    return beats;
  }
}

function ordersOf(documents: readonly LiveDocument[]): Orders {
  const orders = new Map<string, Command>();
  for (const { orders: given } of documents) {
    for (const [worker, order] of entriesOf(given)) {
      if (COMMANDS.includes(order as Command)) orders.set(worker, order as Command);
    }
  }
  return orders;
}

function entriesOf(value: unknown): [string, unknown][] {
  return typeof value === 'object' && value !== null ? Object.entries(value) : [];
}

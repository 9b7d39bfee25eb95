/**
 * Counts of requests by key over a sliding window: never more than the limit in any window of the period, and a
 * place that was used is free again at most a 32nd of the period late. Memory is bounded: when it is full, of a few
 * taken at random the one furthest from its limit is forgotten, so that a flood of addresses does not open the
 * limit for who has used it up.
 */

/** The window is counted in this many parts. */
export const SLOTS = 32;

/** What a key asks for. */
export interface Wish {
  /** Requests that wait for a place. */
  readonly waiting: number;
  /** Places for requests that may come soon. */
  readonly extra: number;
  /** Requests that passed already without a place; counted in any case. */
  readonly debt: number;
}

/** What it gets. */
export interface Grant {
  readonly granted: number;
  /** Places left for others and for later. */
  readonly left: number;
  /** Milliseconds until the oldest count goes; 0 when there is none. */
  readonly resetMs: number;
  /** The part of the window that the grant was counted in, to give back what was not used. */
  readonly slot: number;
}

interface Entry {
  readonly key: string;
  /** Place in the dense list. */
  index: number;
  sum: number;
  /** Pairs of slot and count, oldest first. */
  counts: number[];
  slotMs: number;
  limit: number;
}

/** Looked at when one has to be forgotten. */
const SAMPLES = 12;

export class Ledger {
  readonly #capacity: number;
  readonly #random: () => number;
  readonly #byKey = new Map<string, Entry>();
  readonly #list: Entry[] = [];

  constructor(capacity: number, random: () => number = Math.random) {
    this.#capacity = capacity;
    this.#random = random;
  }

  get size(): number {
    return this.#list.length;
  }

  /** `share`: the part of what is left that may be given out for requests that have not come, as a divisor. */
  take(key: string, limit: number, periodMs: number, wish: Wish, now: number, share: number): Grant {
    const entry = this.#entry(key, limit, periodMs, now);
    const slot = Math.floor(now / entry.slotMs);
    forgetOld(entry, slot);
    const left = Math.max(0, limit - entry.sum - wish.debt);
    const granted = grantOf(left, wish, share);
    add(entry, slot, wish.debt + granted);
    const oldest = entry.counts[0];
    const resetMs = oldest === undefined ? 0 : (oldest + SLOTS + 1) * entry.slotMs - now;
    return { granted, left: left - granted, resetMs, slot };
  }

  /** Places that were granted in `slot` and not used. */
  giveBack(key: string, slot: number, count: number): void {
    const entry = this.#byKey.get(key);
    if (entry === undefined) return;
    for (let at = 0; at < entry.counts.length; at += 2) {
      if (entry.counts[at] !== slot) continue;
      const back = Math.min(count, entry.counts[at + 1] as number);
      entry.sum -= back;
      (entry.counts[at + 1] as number) -= back;
      if (entry.counts[at + 1] === 0) entry.counts.splice(at, 2);
      return;
    }
  }

  /** Forgets keys whose counts are all older than their window. Looks at `most` of them. */
  sweep(now: number, most: number): void {
    for (let looked = 0; looked < most && this.#list.length > 0; looked++) {
      const entry = this.#pick();
      forgetOld(entry, Math.floor(now / entry.slotMs));
      if (entry.sum === 0) this.#forget(entry);
    }
  }

  #entry(key: string, limit: number, periodMs: number, now: number): Entry {
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      known.limit = limit;
      return known;
    }
    if (this.#list.length >= this.#capacity) this.#evict(now);
    const entry: Entry = {
      key,
      index: this.#list.length,
      sum: 0,
      counts: [],
      slotMs: periodMs / SLOTS,
      limit,
    };
    this.#list.push(entry);
    this.#byKey.set(key, entry);
    return entry;
  }

  #evict(now: number): void {
    let least = this.#pick();
    for (let sample = 0; sample < SAMPLES; sample++) {
      const entry = this.#pick();
      forgetOld(entry, Math.floor(now / entry.slotMs));
      if (entry.sum / entry.limit < least.sum / least.limit) least = entry;
      if (least.sum === 0) break;
    }
    this.#forget(least);
  }

  #pick(): Entry {
    // The list is not empty, and the random number is below 1.
    return this.#list[Math.floor(this.#random() * this.#list.length)] as Entry;
  }

  #forget(entry: Entry): void {
    this.#byKey.delete(entry.key);
    const last = this.#list.pop() as Entry;
    if (last === entry) return;
    last.index = entry.index;
    this.#list[entry.index] = last;
  }
}

export function grantOf(left: number, { waiting, extra }: Wish, share: number): number {
  const asked = Math.min(waiting, left);
  return asked + Math.min(extra, Math.floor((left - asked) / share));
}

function forgetOld(entry: Entry, slot: number): void {
  const { counts } = entry;
  let old = 0;
  while (old < counts.length && (counts[old] as number) < slot - SLOTS) {
    entry.sum -= counts[old + 1] as number;
    old += 2;
  }
  if (old > 0) counts.splice(0, old);
}

function add(entry: Entry, slot: number, count: number): void {
  if (count === 0) return;
  const { counts } = entry;
  entry.sum += count;
  const last = counts.length - 2;
  if (last >= 0 && (counts[last] as number) >= slot) (counts[last + 1] as number) += count;
  else counts.push(slot, count);
}

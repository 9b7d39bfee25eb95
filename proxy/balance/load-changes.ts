/**
 * Which backends of a service got more or less to do, in order, as far back as is remembered: so that a policy which
 * goes by load need not look at all of them for each request. Costs nothing until a policy asks for it.
 */
import type { Backend } from '../upstream/contract.ts';

/** Changes that are remembered; a power of two. Whoever is further behind looks at everything again. */
export const REMEMBERED = 1_024;

/** One per service. Each backend writes under its slot, a small number that no other one of the service has. */
export class LoadChanges {
  #ring: Int32Array | null = null;
  #count = 0;
  readonly #free: number[] = [];
  #slots = 0;

  /** Slots given out lie below. */
  get slots(): number {
    return this.#slots;
  }

  /** Changes noted so far. */
  get count(): number {
    return this.#count;
  }

  takeSlot(): number {
    return this.#free.pop() ?? this.#slots++;
  }

  /** For another backend. What the last one still notes only makes somebody look at the other for nothing. */
  giveSlot(slot: number): void {
    this.#free.push(slot);
  }

  /** The load of the backend in this slot has changed. */
  note(slot: number): void {
    const ring = this.#ring;
    if (ring === null) return;
    ring[this.#count & (REMEMBERED - 1)] = slot;
    this.#count++;
  }

  /** Changes are remembered from now on. */
  watch(): void {
    this.#ring ??= new Int32Array(REMEMBERED);
  }

  /** The slot of change `number`, which is below `count` and among those remembered. */
  slotAt(number: number): number {
    // In range: the mask is the length less one.
    return this.#ring === null ? -1 : (this.#ring[number & (REMEMBERED - 1)] as number);
  }
}

/** Reads the changes that concern one list of candidates. */
export class LoadFollower {
  readonly #changes: LoadChanges;
  /** By slot; -1 for those that are no candidates. */
  #indexes = new Int32Array(0);
  #read = 0;

  constructor(changes: LoadChanges) {
    this.#changes = changes;
  }

  /** Follows these from now on; false when two of them are one backend, whose changes would reach only one. */
  learn(candidates: readonly Backend[]): boolean {
    this.#changes.watch();
    this.skip();
    const indexes = new Int32Array(this.#changes.slots).fill(-1);
    for (let index = 0; index < candidates.length; index++) {
      const { slot } = candidates[index] as Backend;
      if (indexes[slot] !== -1) return false;
      indexes[slot] = index;
    }
    this.#indexes = indexes;
    return true;
  }

  /** More has changed than is remembered: all are to be looked at, after `skip`. */
  get lost(): boolean {
    return this.#changes.count - this.#read > REMEMBERED;
  }

  /** Whatever has changed so far is known. */
  skip(): void {
    this.#read = this.#changes.count;
  }

  /** Index of the next candidate whose load has changed; -1 when there is none. */
  next(): number {
    const { count } = this.#changes;
    while (this.#read < count) {
      const slot = this.#changes.slotAt(this.#read++);
      // Slots given out after `learn` lie beyond.
      const index = slot < this.#indexes.length ? (this.#indexes[slot] as number) : -1;
      if (index !== -1) return index;
    }
    return -1;
  }
}

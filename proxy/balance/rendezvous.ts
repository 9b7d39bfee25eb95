/**
 * Rendezvous hash (highest random weight): every visitor has an order of preference over the backends, in proportion
 * to their weights. When one leaves only its own visitors move; when it comes back, the same ones return.
 * `boundedLoad` passes over backends that carry more than that many times the mean (below 1 counts as 1).
 */
import type { Backend, PickRequest } from '../upstream/contract.ts';
import { hashKeyReader, hashText, pairHash } from './hash-key.ts';
import { LoadFollower } from './load-changes.ts';
import type { Load, Policy, PolicyOptions } from './policy.ts';

/**
 * Loads that are looked at for each request of a bounded policy where changes are not noted. Up to as many backends
 * the mean is exact; with more it lags behind by one round at most, in which each gets a 64th of a request on average.
 */
const LOOKED_AT = 64;

const TWO_31 = 0x8000_0000;
const TWO_32 = 0x1_0000_0000;

export class Rendezvous implements Policy {
  readonly #keyOf: (request: PickRequest) => number;
  readonly #load: Load;
  readonly #bound: number;
  /** The list that was learned, and the last other one: what is asked for twice in a row is learned. */
  #seen: readonly Backend[] | null = null;
  #last: readonly Backend[] | null = null;
  /** Of the addresses in the list. */
  #hashOf = new Map<Backend, number>();
  /**
   * Hashes of the candidates, those of one weight side by side, the greatest weight first; and for each its index. Of
   * equal weights the greatest hash wins, so scores are compared only from one weight to the next.
   */
  #hashes = new Int32Array(0);
  #indexes = new Uint32Array(0);
  /** For each weight where its hashes end. */
  #weights = new Float64Array(0);
  #ends = new Uint32Array(0);
  /** Of all together. */
  #weight = 0;
  /** Where the load is bounded: what each carried when it was last looked at, the sum, and who is looked at next. */
  #loads = new Float64Array(0);
  #carried = 0;
  #next = 0;
  /** Where changes of load are noted: who changed since. */
  readonly #follower: LoadFollower | null;
  #follows = false;

  constructor(options: PolicyOptions) {
    this.#keyOf = hashKeyReader(options.hash.by);
    this.#load = options.load;
    const { changes } = options;
    this.#follower = changes === null || options.hash.boundedLoad === 0 ? null : new LoadFollower(changes);
    this.#bound = options.hash.boundedLoad === 0 ? 0 : Math.max(1, options.hash.boundedLoad);
  }

  pick<B extends Backend>(candidates: readonly B[], request: PickRequest): B | null {
    if (candidates.length <= 1) return candidates[0] ?? null;
    const key = this.#keyOf(request);
    if (candidates !== this.#seen) {
      if (this.#seen !== null && candidates !== this.#last) {
        this.#last = candidates;
        return this.#pickOnce(candidates, key);
      }
      this.#learn(candidates);
    }
    if (this.#bound === 0) return this.#best(candidates, key, Number.POSITIVE_INFINITY);
    this.#catchUp(candidates);
    return this.#best(candidates, key, this.#limit(1)) ?? this.#anyBest(candidates, key);
  }

  /** Of a list that may be asked for once (one lacks a backend that is full): nothing is learned of it. */
  #pickOnce<B extends Backend>(candidates: readonly B[], key: number): B | null {
    const limit = this.#bound === 0 ? Number.POSITIVE_INFINITY : this.#limitOf(candidates);
    let best: B | null = null;
    let most = 0;
    for (const candidate of candidates) {
      const { weight } = candidate;
      const hash = pairHash(key, this.#hashOf.get(candidate) ?? hashText(candidate.address));
      if (!mayBeat(hash, weight, most)) continue;
      const itsScore = score(hash, weight);
      if (itsScore <= most || (this.#bound !== 0 && this.#load(candidate) >= limit * weight)) continue;
      most = itsScore;
      best = candidate;
    }
    return best;
  }

  /** As `#limit(1)`, of these. */
  #limitOf(candidates: readonly Backend[]): number {
    let carried = 0;
    let weights = 0;
    for (const candidate of candidates) {
      carried += this.#load(candidate);
      weights += candidate.weight;
    }
    return (this.#bound * (carried + 1)) / weights;
  }

  /** Where nobody seems to have room: the sum may be out of date. */
  #anyBest<B extends Backend>(candidates: readonly B[], key: number): B | null {
    this.#look(candidates, candidates.length);
    return (
      this.#best(candidates, key, this.#limit(1)) ?? this.#best(candidates, key, Number.POSITIVE_INFINITY)
    );
  }

  /** What this visitor likes best of those that carry less than `limit` times their weight; null when none does. */
  #best<B extends Backend>(candidates: readonly B[], key: number, limit: number): B | null {
    const hashes = this.#hashes;
    let best: B | null = null;
    let most = 0;
    let place = 0;
    for (let group = 0; group < this.#ends.length; group++) {
      // In range, here and below: there is a weight for every group, and groups end within the hashes.
      const weight = this.#weights[group] as number;
      const end = this.#ends[group] as number;
      let taken = -1;
      let greatest = 0;
      for (;;) {
        // Four at a step: nearly always none of them is greater.
        while (
          taken !== -1 &&
          place + 4 <= end &&
          pairHash(key, hashes[place] as number) <= greatest &&
          pairHash(key, hashes[place + 1] as number) <= greatest &&
          pairHash(key, hashes[place + 2] as number) <= greatest &&
          pairHash(key, hashes[place + 3] as number) <= greatest
        ) {
          place += 4;
        }
        if (place === end) break;
        const hash = pairHash(key, hashes[place] as number);
        if (
          (taken === -1 || hash > greatest) &&
          (limit === Number.POSITIVE_INFINITY || this.#loadAt(candidates, place) < limit * weight)
        ) {
          taken = place;
          greatest = hash;
        }
        place++;
      }
      if (taken === -1 || !mayBeat(greatest, weight, most)) continue;
      const itsScore = score(greatest, weight);
      if (itsScore <= most) continue;
      most = itsScore;
      best = candidates[this.#indexes[taken] as number] as B;
    }
    return best;
  }

  #loadAt(candidates: readonly Backend[], place: number): number {
    const index = this.#indexes[place] as number;
    return this.#follows ? (this.#loads[index] as number) : this.#load(candidates[index] as Backend);
  }

  /** Load that none of this weight may reach: with the new request counted in, at least one is always below. */
  #limit(weight: number): number {
    return (this.#bound * (this.#carried + 1) * weight) / this.#weight;
  }

  /** Brings the sum of what all carry up to date. */
  #catchUp(candidates: readonly Backend[]): void {
    const follower = this.#follower;
    if (follower === null || !this.#follows) {
      this.#look(candidates, LOOKED_AT);
      return;
    }
    if (follower.lost) {
      follower.skip();
      this.#look(candidates, candidates.length);
      return;
    }
    for (let index = follower.next(); index !== -1; index = follower.next()) this.#lookAt(candidates, index);
  }

  /** Brings what the next `count` candidates carry up to date in the sum. */
  #look(candidates: readonly Backend[], count: number): void {
    const { length } = this.#loads;
    for (let left = Math.min(count, length); left > 0; left--) {
      const index = this.#next;
      this.#lookAt(candidates, index);
      this.#next = index + 1 < length ? index + 1 : 0;
    }
  }

  #lookAt(candidates: readonly Backend[], index: number): void {
    const now = this.#load(candidates[index] as Backend);
    this.#carried += now - (this.#loads[index] as number);
    this.#loads[index] = now;
  }

  #learn(candidates: readonly Backend[]): void {
    this.#seen = candidates;
    this.#last = null;
    const hashOf = new Map<Backend, number>();
    const groups = groupsOf(candidates);
    this.#hashes = new Int32Array(candidates.length);
    this.#indexes = new Uint32Array(candidates.length);
    this.#weights = Float64Array.from(groups, ({ weight }) => weight);
    this.#ends = new Uint32Array(groups.length);
    this.#weight = 0;
    let place = 0;
    groups.forEach(({ weight, indexes }, group) => {
      for (const index of indexes) {
        const candidate = candidates[index] as Backend;
        const hash = this.#hashOf.get(candidate) ?? hashText(candidate.address);
        hashOf.set(candidate, hash);
        this.#hashes[place] = hash;
        this.#indexes[place++] = index;
      }
      this.#ends[group] = place;
      this.#weight += weight * indexes.length;
    });
    this.#hashOf = hashOf;
    if (this.#bound === 0) return;
    this.#follows = this.#follower?.learn(candidates) ?? false;
    this.#loads = Float64Array.from(candidates, this.#load);
    this.#carried = this.#loads.reduce((sum, load) => sum + load, 0);
    this.#next = 0;
  }
}

interface WeightGroup {
  readonly weight: number;
  readonly indexes: number[];
}

/** The indexes of the candidates by weight, the greatest weight first. */
function groupsOf(candidates: readonly Backend[]): readonly WeightGroup[] {
  const groups = new Map<number, WeightGroup>();
  let group: WeightGroup | undefined;
  for (let index = 0; index < candidates.length; index++) {
    const { weight } = candidates[index] as Backend;
    if (group?.weight !== weight) {
      group = groups.get(weight) ?? { weight, indexes: [] };
      groups.set(weight, group);
    }
    group.indexes.push(index);
  }
  return [...groups.values()].sort((one, other) => other.weight - one.weight);
}

/** −w/ln(h), where h is the hash put between 0 and 1: the greatest score wins in proportion to the weights. */
function score(hash: number, weight: number): number {
  return -weight / Math.log((hash + TWO_31 + 0.5) / TWO_32);
}

/** False when the score is surely not above `most`: as −ln(h) is at least 1−h, few need the logarithm. */
function mayBeat(hash: number, weight: number, most: number): boolean {
  return weight * TWO_32 > (TWO_31 - 0.5 - hash) * most;
}

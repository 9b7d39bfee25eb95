/**
 * Rendezvous hash (highest random weight): every visitor has an order of preference over the backends, in proportion
 * to their weights. When one leaves only its own visitors move; when it comes back, the same ones return.
 * `boundedLoad` passes over backends that carry more than that many times the mean (below 1 counts as 1).
 */
import type { Backend, PickRequest } from '../upstream/contract.ts';
import { hashKeyReader, hashText, pairHash } from './hash-key.ts';
import type { Load, Policy, PolicyOptions } from './policy.ts';

const TWO_31 = 0x8000_0000;
const TWO_32 = 0x1_0000_0000;

export class Rendezvous implements Policy {
  readonly #keyOf: (request: PickRequest) => number;
  readonly #load: Load;
  readonly #bound: number;
  #seen: readonly Backend[] | null = null;
  #hashes = new Uint32Array(0);
  #weights = new Float64Array(0);
  #weight = 0;

  constructor(options: PolicyOptions) {
    this.#keyOf = hashKeyReader(options.hash.by);
    this.#load = options.load;
    this.#bound = options.hash.boundedLoad === 0 ? 0 : Math.max(1, options.hash.boundedLoad);
  }

  pick<B extends Backend>(candidates: readonly B[], request: PickRequest): B | null {
    if (candidates.length <= 1) return candidates[0] ?? null;
    if (candidates !== this.#seen) this.#learn(candidates);
    const key = this.#keyOf(request);
    const limit = this.#bound === 0 ? Number.POSITIVE_INFINITY : this.#limit(candidates);
    const hashes = this.#hashes;
    const weights = this.#weights;
    let best: B | null = null;
    let most = 0;
    /** The greatest score so far, for hashes as they are, in 32 bits. */
    let scaled = 0;
    // Both arrays are as long as the candidates.
    for (let index = 0; index < hashes.length; index++) {
      const hash = pairHash(key, hashes[index] as number);
      const weight = weights[index] as number;
      // The score is −w/ln(h), h from 0 to 1: that wins in proportion to w. As −ln(h) is at least 1−h, few need
      // the logarithm.
      if (weight <= (TWO_31 - 0.5 - hash) * scaled) continue;
      const score = -weight / Math.log((hash + TWO_31 + 0.5) / TWO_32);
      if (score <= most) continue;
      const backend = candidates[index] as B;
      if (limit === Number.POSITIVE_INFINITY || this.#load(backend) < limit * weight) {
        most = score;
        scaled = score / TWO_32;
        best = backend;
      }
    }
    return best;
  }

  /** Load per weight that none may reach: with the new request counted in, at least one is always below. */
  #limit(candidates: readonly Backend[]): number {
    let load = 1;
    for (const backend of candidates) load += this.#load(backend);
    return (this.#bound * load) / this.#weight;
  }

  #learn(candidates: readonly Backend[]): void {
    this.#seen = candidates;
    this.#hashes = Uint32Array.from(candidates, (backend) => hashText(backend.address));
    this.#weights = Float64Array.from(candidates, ({ weight }) => weight);
    this.#weight = candidates.reduce((sum, backend) => sum + backend.weight, 0);
  }
}

/**
 * Rendezvous hash (highest random weight): every visitor has an order of preference over the backends, in proportion
 * to their weights. When one leaves only its own visitors move; when it comes back, the same ones return.
 * `boundedLoad` passes over backends that carry more than that many times the mean (below 1 counts as 1).
 */
import type { Backend, PickRequest } from '../upstream/contract.ts';
import { hashKeyReader, hashText, mix } from './hash-key.ts';
import type { Load, Policy, PolicyOptions } from './policy.ts';

export class Rendezvous implements Policy {
  readonly #keyOf: (request: PickRequest) => number;
  readonly #load: Load;
  readonly #bound: number;
  #seen: readonly Backend[] | null = null;
  #hashes: number[] = [];
  #weight = 0;
  #even = true;

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
    let best: B | null = null;
    let most = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < candidates.length; index++) {
      const backend = candidates[index];
      if (backend === undefined) continue;
      const hash = mix(key ^ (this.#hashes[index] ?? 0));
      // With equal weights the hash itself is the order; else −w/ln(h), which wins in proportion to w.
      const score = this.#even ? hash : -backend.weight / Math.log((hash + 0.5) / 0x1_0000_0000);
      if (score > most && this.#load(backend) < limit * backend.weight) {
        most = score;
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
    this.#hashes = candidates.map((backend) => hashText(backend.address));
    this.#weight = candidates.reduce((sum, backend) => sum + backend.weight, 0);
    this.#even = candidates.every((backend) => backend.weight === candidates[0]?.weight);
  }
}

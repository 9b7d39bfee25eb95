/** Least connections: the fewest under way for its weight; among equals, each in turn. */
import type { Backend } from '../upstream/contract.ts';
import type { Load, Policy, PolicyOptions } from './policy.ts';
import { Rotation } from './rotation.ts';

export class LeastConnections implements Policy {
  readonly #load: Load;
  readonly #rotation: Rotation;

  constructor(options: PolicyOptions) {
    this.#load = options.load;
    this.#rotation = new Rotation(options.random);
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    const count = candidates.length;
    if (count === 0) return null;
    // The scan begins behind the last one picked, so that equals take turns.
    let index = this.#rotation.next(candidates);
    let best: B | null = null;
    let bestIndex = index;
    let bestLoad = 0;
    for (let seen = 0; seen < count; seen++) {
      const backend = candidates[index];
      if (backend !== undefined) {
        const load = this.#load(backend);
        if (best === null || load * best.weight < bestLoad * backend.weight) {
          best = backend;
          bestIndex = index;
          bestLoad = load;
        }
      }
      if (++index === count) index = 0;
    }
    if (best !== null) this.#rotation.taken(best, bestIndex);
    return best;
  }
}

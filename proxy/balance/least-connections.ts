/** Least connections: the fewest under way for its weight; among equals, each in turn. */
import type { Backend } from '../upstream/contract.ts';
import type { Load, Policy, PolicyOptions } from './policy.ts';

export class LeastConnections implements Policy {
  readonly #load: Load;
  #next: number;

  constructor(options: PolicyOptions) {
    this.#load = options.load;
    this.#next = Math.floor(options.random() * 0x1_0000);
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    const count = candidates.length;
    if (count === 0) return null;
    // The scan begins behind the last one picked, so that equals take turns.
    let index = this.#next % count;
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
    this.#next = bestIndex + 1;
    return best;
  }
}

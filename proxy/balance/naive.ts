/**
 * Naive (Monkey's): as many steps from the first backend as requests are under way. The first request goes to the
 * first backend, one that comes while it is still open to the second; with nothing open, to the first again.
 */
import type { Backend } from '../upstream/contract.ts';
import type { Load, Policy, PolicyOptions } from './policy.ts';
import { orAnother } from './slowly.ts';

export class Naive implements Policy {
  readonly #load: Load;
  readonly #random: () => number;

  constructor(options: PolicyOptions) {
    this.#random = options.random;
    this.#load = options.load;
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    if (candidates.length === 0) return null;
    let open = 0;
    for (const backend of candidates) open += this.#load(backend);
    return orAnother(candidates[open % candidates.length] ?? null, candidates, this.#random);
  }
}

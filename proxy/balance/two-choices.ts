/** Power of two choices: of two drawn at random, the one with less under way for its weight. Cheap with many backends. */
import type { Backend } from '../upstream/contract.ts';
import type { Load, Policy, PolicyOptions } from './policy.ts';

export class TwoChoices implements Policy {
  readonly #load: Load;
  readonly #random: () => number;

  constructor(options: PolicyOptions) {
    this.#load = options.load;
    this.#random = options.random;
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    const count = candidates.length;
    if (count <= 1) return candidates[0] ?? null;
    const first = Math.floor(this.#random() * count);
    // Drawn among the others: never the same twice.
    let second = Math.floor(this.#random() * (count - 1));
    if (second >= first) second++;
    const one = candidates[first] ?? null;
    const two = candidates[second] ?? null;
    if (one === null || two === null) return one ?? two;
    // One more on each, so that of two idle ones the heavier is preferred.
    return (this.#load(two) + 1) * one.weight < (this.#load(one) + 1) * two.weight ? two : one;
  }
}

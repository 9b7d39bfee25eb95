/** Random: independent draws, in proportion to the weights. */
import type { Backend } from '../upstream/contract.ts';
import type { Policy, PolicyOptions } from './policy.ts';

export class Random implements Policy {
  readonly #random: () => number;
  #seen: readonly Backend[] | null = null;
  /** `#sums[i]` is the weight of candidates 0…i together. */
  #sums: number[] = [];

  constructor(options: PolicyOptions) {
    this.#random = options.random;
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    if (candidates.length <= 1) return candidates[0] ?? null;
    if (candidates !== this.#seen) this.#learn(candidates);
    const total = this.#sums[this.#sums.length - 1] ?? 0;
    const drawn = this.#random() * total;
    let low = 0;
    let high = this.#sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sums[middle] ?? 0) > drawn) high = middle;
      else low = middle + 1;
    }
    return candidates[low] ?? null;
  }

  #learn(candidates: readonly Backend[]): void {
    let sum = 0;
    this.#sums = candidates.map((backend) => {
      sum += backend.weight;
      return sum;
    });
    this.#seen = candidates;
  }
}

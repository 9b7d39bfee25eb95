/**
 * Smooth weighted round robin, as nginx does it: in every full round each backend gets exactly its weight, and the
 * turns of a heavy one are spread over the round (a a b a c a a, not a a a a a b c).
 */
import type { Backend } from '../upstream/contract.ts';
import type { Policy, PolicyOptions } from './policy.ts';

export class WeightedRoundRobin implements Policy {
  readonly #random: () => number;
  #seen: readonly Backend[] | null = null;
  /** How far each candidate is ahead of its share, by its index. */
  #credit = new Float64Array(0);
  #weights = new Float64Array(0);
  #total = 0;

  constructor(options: PolicyOptions) {
    this.#random = options.random;
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    if (candidates.length <= 1) return candidates[0] ?? null;
    if (candidates !== this.#seen) this.#learn(candidates);
    return this.#turn(candidates);
  }

  #turn<B extends Backend>(candidates: readonly B[]): B | null {
    const credit = this.#credit;
    const weights = this.#weights;
    let best = 0;
    let most = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < credit.length; index++) {
      // Both arrays are as long as the candidates.
      const now = (credit[index] as number) + (weights[index] as number);
      credit[index] = now;
      if (now > most) {
        most = now;
        best = index;
      }
    }
    credit[best] = most - this.#total;
    return candidates[best] ?? null;
  }

  /** Takes the credits over for those that stay; at the very start, begins at a drawn point of the round. */
  #learn(candidates: readonly Backend[]): void {
    const before = new Map<Backend, number>();
    this.#seen?.forEach((backend, index) => {
      before.set(backend, this.#credit[index] ?? 0);
    });
    const first = this.#seen === null;
    this.#seen = candidates;
    this.#credit = Float64Array.from(candidates, (backend) => before.get(backend) ?? 0);
    this.#weights = Float64Array.from(candidates, ({ weight }) => weight);
    this.#total = candidates.reduce((sum, backend) => sum + backend.weight, 0);
    if (!first) return;
    const skip = Math.floor(this.#random() * Math.min(this.#total, candidates.length));
    for (let turn = 0; turn < skip; turn++) this.#turn(candidates);
  }
}

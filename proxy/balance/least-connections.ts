/**
 * Least connections: the fewest under way for its weight; among equals, each in turn. Of many backends the order is
 * kept (`load-order.ts`), few are looked at one by one.
 */
import type { Backend } from '../upstream/contract.ts';
import { LoadOrder } from './load-order.ts';
import type { Load, Policy, PolicyOptions } from './policy.ts';
import { Rotation } from './rotation.ts';

export class LeastConnections implements Policy {
  readonly #load: Load;
  readonly #rotation: Rotation;
  readonly #order: LoadOrder | null;
  #seen: readonly Backend[] | null = null;
  #weights = new Float64Array(0);

  constructor(options: PolicyOptions) {
    this.#load = options.load;
    this.#rotation = new Rotation(options.random);
    this.#order = options.changes === null ? null : new LoadOrder(options.load, options.changes);
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    if (candidates.length === 0) return null;
    // The search begins behind the last one picked, so that equals take turns.
    const first = this.#rotation.next(candidates);
    const order = this.#order;
    const index = order?.keeps(candidates) ? order.leastFrom(first) : this.#look(candidates, first);
    const best = candidates[index] ?? null;
    if (best !== null) this.#rotation.taken(best, index);
    return best;
  }

  #look(candidates: readonly Backend[], first: number): number {
    if (candidates !== this.#seen) this.#learn(candidates);
    const weights = this.#weights;
    const least = this.#least(candidates, weights, first, candidates.length, first);
    return this.#least(candidates, weights, 0, first, least);
  }

  /** The least loaded of `from`…`to`, unless `least` is as little loaded as that. */
  #least(
    candidates: readonly Backend[],
    weights: Float64Array,
    from: number,
    to: number,
    least: number,
  ): number {
    const load = this.#load;
    let best = least;
    // In range, here and below: both are of one length.
    let bestLoad = load(candidates[best] as Backend);
    let bestWeight = weights[best] as number;
    // Nobody has less than nothing: then the rest need not be looked at.
    for (let index = from; index < to && bestLoad > 0; index++) {
      const itsLoad = load(candidates[index] as Backend);
      const itsWeight = weights[index] as number;
      if (itsLoad * bestWeight >= bestLoad * itsWeight) continue;
      best = index;
      bestLoad = itsLoad;
      bestWeight = itsWeight;
    }
    return best;
  }

  #learn(candidates: readonly Backend[]): void {
    this.#seen = candidates;
    this.#weights = Float64Array.from(candidates, ({ weight }) => weight);
  }
}

/** Broker: one backend is active, the one that registered last; an older one serves only while no newer is alive. */
import type { Backend } from '../upstream/contract.ts';
import type { Policy } from './policy.ts';

export class Broker implements Policy {
  #seen: readonly Backend[] | null = null;
  /** Index of the newest. */
  #index = 0;

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    if (candidates !== this.#seen) this.#learn(candidates);
    return candidates[this.#index] ?? null;
  }

  #learn(candidates: readonly Backend[]): void {
    this.#seen = candidates;
    this.#index = 0;
    let newest = Number.NEGATIVE_INFINITY;
    candidates.forEach(({ since }, index) => {
      if (since <= newest) return;
      newest = since;
      this.#index = index;
    });
  }
}

/** Round robin: each in turn, exact within a process. */
import type { Backend } from '../upstream/contract.ts';
import type { Policy, PolicyOptions } from './policy.ts';
import { Rotation } from './rotation.ts';
import { orAnother } from './slowly.ts';

export class RoundRobin implements Policy {
  readonly #rotation: Rotation;
  readonly #random: () => number;

  constructor(options: PolicyOptions) {
    this.#random = options.random;
    this.#rotation = new Rotation(options.random);
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    if (candidates.length === 0) return null;
    const index = this.#rotation.next(candidates);
    const picked = candidates[index] ?? null;
    if (picked !== null) this.#rotation.taken(picked, index);
    return orAnother(picked, candidates, this.#random);
  }
}

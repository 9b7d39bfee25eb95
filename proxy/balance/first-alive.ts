/**
 * First alive: always the first in the configured order; the others are stand-ins. One that starts slowly leaves the
 * rest of its requests to the stand-in that had them.
 */
import type { Backend } from '../upstream/contract.ts';
import type { Policy, PolicyOptions } from './policy.ts';
import { takes } from './slowly.ts';

export class FirstAlive implements Policy {
  readonly #random: () => number;

  constructor(options: PolicyOptions) {
    this.#random = options.random;
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    for (const candidate of candidates) if (takes(candidate, this.#random)) return candidate;
    return candidates[0] ?? null;
  }
}

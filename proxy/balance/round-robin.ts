/** Round robin: each in turn, exact within a process. The first turn is drawn, so that processes do not march in step. */
import type { Backend } from '../upstream/contract.ts';
import type { Policy, PolicyOptions } from './policy.ts';

export class RoundRobin implements Policy {
  #next: number;

  constructor(options: PolicyOptions) {
    this.#next = Math.floor(options.random() * 0x1_0000);
  }

  pick<B extends Backend>(candidates: readonly B[]): B | null {
    if (candidates.length === 0) return null;
    const index = this.#next % candidates.length;
    this.#next = index + 1;
    return candidates[index] ?? null;
  }
}

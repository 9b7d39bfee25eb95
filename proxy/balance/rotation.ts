/**
 * Whose turn it is. Remembers the backend that had the last turn, not a number: so a list that lacks some of them for
 * one pick (one did not accept, one is at its limit) or changes for good does not put anybody out of turn.
 */
import type { Backend } from '../upstream/contract.ts';

export class Rotation {
  #last: Backend | null = null;
  #index: number;

  /** `random` draws who begins, so that processes do not march in step. */
  constructor(random: () => number) {
    this.#index = Math.floor(random() * 0x1_0000);
  }

  /** Index of the candidate behind the one that had the last turn; `candidates` is not empty. */
  next(candidates: readonly Backend[]): number {
    const last = this.#last;
    if (last !== null) {
      const index = candidates[this.#index] === last ? this.#index : candidates.indexOf(last);
      if (index >= 0) return index + 1 < candidates.length ? index + 1 : 0;
    }
    // It is not there: whoever stood behind it has moved up to its place.
    return this.#index % candidates.length;
  }

  /** The candidate at `index` has had its turn. */
  taken(candidate: Backend, index: number): void {
    this.#last = candidate;
    this.#index = index;
  }
}

/**
 * Who of many has the least to do for its weight, kept up to date as loads change: a tournament of all against all, in
 * which a change replays only the matches above it. Answers exactly what looking at each of them would.
 */
import type { Backend } from '../upstream/contract.ts';
import { type LoadChanges, LoadFollower } from './load-changes.ts';
import type { Load } from './policy.ts';

/** Fewer than these are looked at one by one more quickly. */
export const FEW = 32;

export class LoadOrder {
  readonly #load: Load;
  readonly #follower: LoadFollower;
  /** The list that is kept in order, and the one asked for last: a list that is asked for once is not worth it. */
  #kept: readonly Backend[] | null = null;
  #last: readonly Backend[] | null = null;
  #weights = new Float64Array(0);
  /** Leaves (load by weight) stand from `#leaves` on, in the order of the list; above two of them the lesser. */
  #tree = new Float64Array(0);
  #leaves = 0;

  constructor(load: Load, changes: LoadChanges) {
    this.#load = load;
    this.#follower = new LoadFollower(changes);
  }

  /** Whether `leastFrom` can be asked about this list now; otherwise each has to be looked at. */
  keeps(candidates: readonly Backend[]): boolean {
    if (candidates === this.#kept) {
      this.#catchUp(candidates);
      return true;
    }
    if (candidates.length < FEW) return false;
    if (candidates === this.#last) return this.#learn(candidates);
    this.#last = candidates;
    return false;
  }

  /** Index of the least loaded of the list that is kept; of equals the first from `start` on, all around. */
  leastFrom(start: number): number {
    const tree = this.#tree;
    // In range, here and below: `start` is an index of the list, and the tree has two nodes for every leaf.
    const least = tree[1] as number;
    let node = this.#leaves + start;
    if (tree[node] === least) return start;
    // Up, until a branch to the right has it; at the top there is none behind `start`.
    for (; node > 1; node >>= 1) {
      if ((node & 1) === 0 && tree[node + 1] === least) {
        node++;
        break;
      }
    }
    while (node < this.#leaves) node = tree[2 * node] === least ? 2 * node : 2 * node + 1;
    return node - this.#leaves;
  }

  #catchUp(candidates: readonly Backend[]): void {
    const follower = this.#follower;
    if (follower.lost) {
      follower.skip();
      this.#playAll(candidates);
      return;
    }
    for (let index = follower.next(); index !== -1; index = follower.next()) {
      this.#replay(index, this.#load(candidates[index] as Backend) / (this.#weights[index] as number));
    }
  }

  #replay(index: number, value: number): void {
    const tree = this.#tree;
    let node = this.#leaves + index;
    let least = value;
    while (tree[node] !== least) {
      tree[node] = least;
      if (node === 1) return;
      const other = tree[node ^ 1] as number;
      if (other < least) least = other;
      node >>= 1;
    }
  }

  #learn(candidates: readonly Backend[]): boolean {
    this.#last = null;
    this.#kept = null;
    if (!this.#follower.learn(candidates)) return false;
    this.#kept = candidates;
    this.#leaves = 2 ** Math.ceil(Math.log2(candidates.length));
    this.#weights = Float64Array.from(candidates, ({ weight }) => weight);
    this.#tree = new Float64Array(2 * this.#leaves).fill(Number.POSITIVE_INFINITY);
    this.#playAll(candidates);
    return true;
  }

  #playAll(candidates: readonly Backend[]): void {
    const tree = this.#tree;
    const leaves = this.#leaves;
    for (let index = 0; index < candidates.length; index++) {
      tree[leaves + index] = this.#load(candidates[index] as Backend) / (this.#weights[index] as number);
    }
    for (let node = leaves - 1; node > 0; node--) {
      tree[node] = Math.min(tree[2 * node] as number, tree[2 * node + 1] as number);
    }
  }
}

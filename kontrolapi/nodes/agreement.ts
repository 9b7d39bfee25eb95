/**
 * Two that stand at the same revision must hold the same objects. Compared all the time; what still differs a moment
 * later is an alarm: a node (or this process) serves something that the log does not say.
 */

/** Who stands where, and with what. */
export interface Standing {
  readonly name: string;
  readonly seq: number;
  readonly hash: string;
}

export interface Disagreement {
  readonly seq: number;
  /** Names by the hash they have, at least two. */
  readonly hashes: Readonly<Record<string, readonly string[]>>;
}

/** Someone who is about to notice that the store was restored differs this long at most, in milliseconds. */
const GRACE_MS = 2_000;

export class Agreement {
  /** Since when they differ, by what they differ in. */
  #since = new Map<string, number>();
  #standing: readonly Disagreement[] = [];

  get disagreements(): readonly Disagreement[] {
    return this.#standing;
  }

  /** `now` on the monotonic clock. An empty hash (a node that has just started) says nothing. */
  compare(standings: Iterable<Standing>, now: number): void {
    const bySeq = new Map<number, Map<string, string[]>>();
    for (const { name, seq, hash } of standings) {
      if (hash === '') continue;
      const hashes = bySeq.get(seq) ?? new Map<string, string[]>();
      bySeq.set(seq, hashes);
      hashes.set(hash, [...(hashes.get(hash) ?? []), name]);
    }
    const since = new Map<string, number>();
    const standing: Disagreement[] = [];
    for (const [seq, hashes] of bySeq) {
      if (hashes.size < 2) continue;
      const key = `${seq} ${[...hashes.keys()].sort().join(' ')}`;
      const began = this.#since.get(key) ?? now;
      since.set(key, began);
      if (now - began >= GRACE_MS) standing.push({ seq, hashes: Object.fromEntries(hashes) });
    }
    this.#since = since;
    this.#standing = standing;
  }
}

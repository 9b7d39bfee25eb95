/**
 * The emptiness guard: documents that are gone may be an accident (an empty answer, a dropped collection) rather than
 * an edit. A kind that is suddenly empty, or lost more than half and more than five objects, keeps them until someone
 * confirms, a revision says the same, or they turn up again. Nodes and kontrolapi judge alike, or one would make the
 * deletions that the other holds back.
 */

/** Losing up to this many objects of a kind is an ordinary edit, unless nothing is left. */
const BELIEVABLE = 5;

/** Whether losing `lost` of `count` objects of a kind is not to be believed until someone confirms it. */
function isSuspiciousLoss(lost: number, count: number): boolean {
  return lost > 0 && (lost >= count || (lost > BELIEVABLE && lost > count / 2));
}

/** What one process holds back. What was held stays so while it is missing, also when the losses look small beside new objects. */
export class EmptinessGuard {
  readonly #held = new Map<string, Set<string>>();

  /** Deletions held back, as `kind/name`. */
  get held(): string[] {
    return [...this.#held].flatMap(([kind, names]) => [...names].map((name) => `${kind}/${name}`)).sort();
  }

  /**
   * Which of the `missing` of a kind are to be deleted, of which there were `count`, missing ones included. What was
   * held before stays held as long as it is missing.
   */
  judge(kind: string, count: number, missing: readonly string[]): string[] {
    const held = this.#held.get(kind) ?? new Set();
    const gone = new Set(missing);
    for (const name of held) if (!gone.has(name)) held.delete(name);
    const news = missing.filter((name) => !held.has(name));
    const suspect = isSuspiciousLoss(gone.size, count);
    if (suspect) for (const name of news) held.add(name);
    if (held.size > 0) this.#held.set(kind, held);
    else this.#held.delete(kind);
    return suspect ? [] : news;
  }

  /** A revision decided about an object: nothing is held back there any more. */
  release(kind: string, name: string): void {
    const held = this.#held.get(kind);
    if (held?.delete(name) && held.size === 0) this.#held.delete(kind);
  }

  /** The deletions are meant: returns them, by kind, and holds nothing any more. */
  confirm(): ReadonlyMap<string, readonly string[]> {
    const confirmed = new Map([...this.#held].map(([kind, names]) => [kind, [...names]] as const));
    this.#held.clear();
    return confirmed;
  }
}

/**
 * Lets requests that waited for an answer, and cannot have it, go to a backend a few at a time: the next one goes when
 * the answer of one before it begins. A crowd that waited for one answer does not become a crowd at the backend.
 */

/** On their way at the same time. */
export const AT_ONCE = 32;

export class Gate {
  readonly #waiting: (() => void)[] = [];
  #inside = 0;
  #letting = false;

  /** Places that are taken. */
  get inside(): number {
    return this.#inside;
  }

  /** Nobody is inside or waits. */
  get idle(): boolean {
    return this.#inside === 0 && this.#waiting.length === 0;
  }

  /** Calls `go` when it is its turn; at once if that is now. Each `go` is followed by one call of `passed`. */
  enter(go: () => void): void {
    this.#waiting.push(go);
    this.#let();
  }

  passed(): void {
    this.#inside--;
    this.#let();
  }

  /** A loop and no recursion: each of a crowd may fail at once. */
  #let(): void {
    if (this.#letting) return;
    this.#letting = true;
    try {
      while (this.#inside < AT_ONCE) {
        const go = this.#waiting.shift();
        if (go === undefined) break;
        this.#inside++;
        go();
      }
    } finally {
      this.#letting = false;
    }
  }
}

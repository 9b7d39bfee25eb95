/** So much of something costly in one turn of the event loop, and then no more of it: who has to answer others. */
export class PerTurn {
  readonly #max: number;
  #taken = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** False when this turn has had enough. */
  take(): boolean {
    if (this.#taken === 0)
      setImmediate(() => {
        this.#taken = 0;
      });
    return ++this.#taken <= this.#max;
  }
}

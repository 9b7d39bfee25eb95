/** Whether a visitor takes its answer: a slow reader may take its time as long as it takes something. */
export class ReaderPace {
  /** It takes no more for now; the backend is held back. */
  blocked = false;
  #pending = 0;

  reset(): void {
    this.blocked = false;
  }

  /** It takes more again; true when it was blocked. */
  unblock(): boolean {
    const { blocked } = this;
    this.blocked = false;
    return blocked;
  }

  /** Notes that `pending` bytes wait for the visitor; true when it was not blocked before. */
  block(pending: number): boolean {
    if (this.blocked) return false;
    this.blocked = true;
    this.#pending = pending;
    return true;
  }

  /** Whether it took anything since it was last looked at. */
  moved(pending: number): boolean {
    const moved = pending < this.#pending;
    this.#pending = pending;
    return moved;
  }
}

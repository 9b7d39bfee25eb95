/** Every connection of visitors that this process has, whatever engine serves it; the way to end them all in order. */

/** An engine's end of a connection. Both are idempotent. */
export interface ServedConnection {
  /** Ends when what is under way has: at once when nothing is. */
  drain(): void;
  /** Ends now; tunnels say goodbye where their protocol has a word for it. */
  closeNow(): void;
}

export class Connections {
  readonly #open = new Set<ServedConnection>();
  #draining = false;
  #onEmpty: (() => void) | null = null;

  get size(): number {
    return this.#open.size;
  }

  add(connection: ServedConnection): void {
    this.#open.add(connection);
    if (this.#draining) connection.drain();
  }

  /** The connection has ended. */
  delete(connection: ServedConnection): void {
    if (this.#open.delete(connection) && this.#open.size === 0) this.#onEmpty?.();
  }

  /** Drains what is open and what still comes. */
  drain(): void {
    this.#draining = true;
    for (const connection of [...this.#open]) connection.drain();
  }

  /** Calls `onEmpty` once, when nothing is open (any more). */
  whenEmpty(onEmpty: () => void): void {
    if (this.#open.size === 0) {
      onEmpty();
      return;
    }
    this.#onEmpty = () => {
      this.#onEmpty = null;
      onEmpty();
    };
  }

  closeAll(): void {
    for (const connection of [...this.#open]) connection.closeNow();
  }
}

/** Every connection of visitors that this process has, whatever engine serves it; the way to end them all in order. */

/** An engine's end of a connection. Both are idempotent. */
export interface ServedConnection {
  /** Ends when what is under way has: at once when nothing is. */
  drain(): void;
  /** Ends now; tunnels say goodbye where their protocol has a word for it. */
  closeNow(): void;
  /** Its place in `Connections`, which owns the field; absent while it has none. */
  servedPlace?: number | undefined;
}

export class Connections {
  /** An array for the reason that `TimerWheel` has one. */
  readonly #open: ServedConnection[] = [];
  #draining = false;
  #onEmpty: (() => void) | null = null;

  get size(): number {
    return this.#open.length;
  }

  add(connection: ServedConnection): void {
    if (connection.servedPlace !== undefined) return;
    connection.servedPlace = this.#open.length;
    this.#open.push(connection);
    if (this.#draining) connection.drain();
  }

  /** The connection has ended. */
  delete(connection: ServedConnection): void {
    const place = connection.servedPlace;
    if (place === undefined) return;
    connection.servedPlace = undefined;
    const last = this.#open.pop();
    if (last !== undefined && last !== connection) {
      this.#open[place] = last;
      last.servedPlace = place;
    }
    if (this.#open.length === 0) this.#onEmpty?.();
  }

  /** Drains what is open and what still comes. */
  drain(): void {
    this.#draining = true;
    for (const connection of [...this.#open]) connection.drain();
  }

  /** Calls `onEmpty` once, when nothing is open (any more). */
  whenEmpty(onEmpty: () => void): void {
    if (this.#open.length === 0) {
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

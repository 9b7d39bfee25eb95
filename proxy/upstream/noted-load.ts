/** What is under way on a backend; every change of it is noted for the policies of its service. */
import type { LoadChanges } from '../balance/load-changes.ts';

export class NotedLoad {
  /** Under which it notes. */
  readonly slot: number;
  readonly #changes: LoadChanges;
  #active = 0;
  #tunnels = 0;

  constructor(changes: LoadChanges) {
    this.#changes = changes;
    this.slot = changes.takeSlot();
  }

  /** Requests under way, connecting ones included. */
  get active(): number {
    return this.#active;
  }

  set active(count: number) {
    this.#active = count;
    this.#changes.note(this.slot);
  }

  /** Tunnels under way, connecting ones included. */
  get tunnels(): number {
    return this.#tunnels;
  }

  set tunnels(count: number) {
    this.#tunnels = count;
    this.#changes.note(this.slot);
  }

  get busy(): boolean {
    return this.#active + this.#tunnels > 0;
  }
}

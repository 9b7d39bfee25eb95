/**
 * When a revision is acknowledged: every serving process has it (the distributor says that), and the sockets that it
 * wants are open, or known not to open. Without the second a listener would be called served while its port is not
 * even bound. A primary that does not say holds an acknowledgement up for no longer than PATIENCE_MS.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Applied } from './distribute.ts';
import type { ListenerStates } from './listeners.ts';

/** A socket is bound at once; only the name in a listener's address may take longer to resolve. */
export const PATIENCE_MS = 1_000;

export class Acknowledgements {
  readonly #clock: Clock;
  readonly #listeners: Pick<ListenerStates, 'settled'>;
  readonly #tell: (applied: Applied) => void;
  /** The newest that waits for sockets, and since when. */
  #held: { readonly applied: Applied; readonly since: number } | null = null;
  #cancel: (() => void) | null = null;

  constructor(clock: Clock, listeners: Pick<ListenerStates, 'settled'>, tell: (applied: Applied) => void) {
    this.#clock = clock;
    this.#listeners = listeners;
    this.#tell = tell;
  }

  /** Every serving process has it. */
  applied(applied: Applied): void {
    this.#held = { applied, since: this.#clock.monotonic() };
    if (this.#listeners.settled) this.#release();
    else this.#cancel ??= this.#clock.after(PATIENCE_MS, () => this.#release());
  }

  /** The state of a socket changed. */
  look(): void {
    if (this.#listeners.settled) this.#release();
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#held = null;
  }

  #release(): void {
    const held = this.#held;
    this.close();
    if (held === null) return;
    const { applied, since } = held;
    this.#tell({ ...applied, ms: applied.ms + this.#clock.monotonic() - since });
  }
}

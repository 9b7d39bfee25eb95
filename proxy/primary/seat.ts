/**
 * A place that is never empty for long: one process runs in it, whoever dies is replaced, and a replacement can be
 * made ready before the old one leaves. A first death is repaired at once; only one that keeps dying waits.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Child } from './child.ts';

/** A process that lived this long had no trouble starting: its death counts as a first one. */
export const STEADY_MS = 30_000;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 10_000;

export class Seat {
  current: Child | null = null;
  /** Getting ready to take over from `current`; null when nothing is being replaced. */
  successor: Child | null = null;
  readonly #spawn: () => Child;
  readonly #clock: Clock;
  #deaths = 0;
  #cancel: (() => void) | null = null;
  #settle: ((replaced: boolean) => void) | null = null;

  constructor(spawn: () => Child, clock: Clock) {
    this.#spawn = spawn;
    this.#clock = clock;
  }

  start(): void {
    this.#cancel = null;
    this.current = this.#spawn();
  }

  /** The process that ended sat here or was about to; says after how many milliseconds it is replaced. */
  gone(child: Child): number | null {
    if (child === this.successor) {
      this.successor = null;
      this.#finish(false);
      return null;
    }
    if (child !== this.current) return null;
    if (this.successor !== null) {
      this.current = this.successor;
      this.successor = null;
      this.#finish(true);
      return 0;
    }
    this.current = null;
    const delay = this.#delay(child.age);
    if (delay === 0) this.start();
    else this.#cancel = this.#clock.after(delay, () => this.start());
    return delay;
  }

  /** Starts a second process. Resolves true when it has taken over, false when it failed to. */
  replace(): Promise<boolean> {
    if (this.current === null || this.successor !== null) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.successor = this.#spawn();
    });
  }

  /** The process got ready. Returns the one it relieves, if it came to relieve one. */
  ready(child: Child): Child | null {
    if (child !== this.successor) return null;
    const relieved = this.current;
    this.current = child;
    this.successor = null;
    this.#finish(true);
    return relieved;
  }

  holds(child: Child): boolean {
    return child === this.current || child === this.successor;
  }

  /** Nobody is started any more. */
  close(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#finish(false);
  }

  #finish(replaced: boolean): void {
    const settle = this.#settle;
    this.#settle = null;
    settle?.(replaced);
  }

  #delay(lived: number): number {
    if (lived >= STEADY_MS) this.#deaths = 0;
    const deaths = this.#deaths++;
    return deaths === 0 ? 0 : Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(deaths - 1, 20));
  }
}

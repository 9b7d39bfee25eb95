/**
 * Passive health of one backend: failures of real traffic take it out for a while, and for longer each time while it
 * stays dead (behaviour.md `passive`; AttemptsCount and OfflineTimeOut of Monkey). Pure state, no timer of its own.
 */

/** No backend stays out for longer than this without being tried again, unless `passive.offline` itself is longer. */
export const MAX_OFFLINE_MS = 300_000;

export interface PassiveLimits {
  /** Failures in a row until it is out. */
  readonly attempts: number;
  /** How long it is out the first time, in milliseconds. */
  readonly offlineMs: number;
}

export class PassiveHealth {
  /** Taken out; a trial has to bring it back. */
  offline = false;
  #connectFailures = 0;
  #exchangeFailures = 0;
  /** Times it was taken out (or failed its trial) since it last completed an exchange. */
  #periods = 0;

  /**
   * `count` connects failed, here or in another process of the node. Says for how many milliseconds it is out now,
   * or null when this changed nothing.
   */
  connectFailed(count: number, limits: PassiveLimits): number | null {
    this.#connectFailures += count;
    return !this.offline && this.#connectFailures >= limits.attempts ? this.#takeOut(limits) : null;
  }

  /** A connection broke where a backend may not break it. `mayEject`: asked only when it would be taken out now. */
  exchangeFailed(limits: PassiveLimits, mayEject: () => boolean): number | null {
    this.#exchangeFailures++;
    if (this.offline || this.#exchangeFailures < limits.attempts || !mayEject()) return null;
    return this.#takeOut(limits);
  }

  /** Its trial failed: milliseconds until the next. */
  trialFailed(limits: PassiveLimits): number {
    return this.#takeOut(limits);
  }

  /**
   * A connect succeeded, here or in another process. True when that is news for the other processes: it brings the
   * backend back, or ends a row of failures that they count, too.
   */
  connected(): boolean {
    const back = this.offline;
    const news = back || this.#connectFailures > 0;
    this.offline = false;
    this.#connectFailures = 0;
    // Whether it also answers is for the next exchanges to show.
    if (back) this.#exchangeFailures = 0;
    return news;
  }

  /** An exchange was completed: all is well again. */
  completed(): void {
    this.#exchangeFailures = 0;
    if (!this.offline) this.#periods = 0;
  }

  #takeOut(limits: PassiveLimits): number {
    this.offline = true;
    this.#periods++;
    const grown = limits.offlineMs * 2 ** Math.min(this.#periods - 1, 30);
    return Math.max(limits.offlineMs, Math.min(grown, MAX_OFFLINE_MS));
  }
}

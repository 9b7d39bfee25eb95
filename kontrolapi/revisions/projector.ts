/**
 * Brings the documents up to the log, behind the writer's back: nobody waits for it longer than a moment, and what
 * fails now is tried again. Several appended revisions are projected in one go.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Revision } from '../../shared/model/revision.ts';
import type { Store } from '../../shared/store/contract.ts';
import { within } from '../within.ts';

const FIRST_RETRY_MS = 500;
const SLOWEST_RETRY_MS = 10_000;

export class Projector {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  /** The newest that is not projected yet. */
  #target: Revision | null = null;
  #running = false;
  #retryMs = FIRST_RETRY_MS;
  #cancelRetry: (() => void) | null = null;
  readonly #waiting = new Set<{ readonly seq: number; readonly resolve: () => void }>();
  #closed = false;

  constructor(store: Store, clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Projects up to `revision`, which was just appended; resolves when done, or after `patienceMs` all the same. Never
   * rejects. What is appended last is what counts: a log that went back (a restored backup) goes on with smaller numbers.
   */
  project(revision: Revision, patienceMs: number): Promise<void> {
    this.#target = revision;
    let resolve = () => {};
    const done = new Promise<void>((settle) => {
      resolve = settle;
    });
    const waiter = { seq: revision.seq, resolve };
    this.#waiting.add(waiter);
    void this.#run();
    return within(done, patienceMs, this.#clock)
      .catch(() => {})
      .finally(() => this.#waiting.delete(waiter));
  }

  /** Projects up to `revision`, which others left behind, unless there is newer to do. */
  repair(revision: Revision): void {
    if (this.#target === null || revision.seq > this.#target.seq) this.#target = revision;
    void this.#run();
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry?.();
    this.#letGo();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (!this.#closed && this.#target !== null) {
      const target: Revision = this.#target;
      try {
        await this.#store.project(target);
        if (this.#target === target) this.#target = null;
        this.#retryMs = FIRST_RETRY_MS;
        for (const { seq, resolve } of this.#waiting) if (seq <= target.seq) resolve();
      } catch (error) {
        this.#retryLater(error as Error);
        break;
      }
    }
    this.#running = false;
  }

  #letGo(): void {
    for (const { resolve } of this.#waiting) resolve();
  }

  /** Those who wait are let go: readers follow the log, so a document that lags is never wrong for them. */
  #retryLater(error: Error): void {
    this.#letGo();
    this.#log.warn('projection_failed', 'documents lag behind the log until the store answers', {
      reason: error.message,
    });
    this.#cancelRetry?.();
    this.#cancelRetry = this.#clock.after(this.#retryMs, () => void this.#run());
    this.#retryMs = Math.min(SLOWEST_RETRY_MS, this.#retryMs * 2);
  }
}

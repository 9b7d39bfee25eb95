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
  #target: Revision | null = null;
  #projected = 0;
  #running = false;
  #retryMs = FIRST_RETRY_MS;
  #cancelRetry: (() => void) | null = null;
  #waiting: { readonly seq: number; readonly resolve: () => void }[] = [];
  #closed = false;

  constructor(store: Store, clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /** Projects up to `revision`; resolves when done, or after `patienceMs` all the same. Never rejects. */
  project(revision: Revision, patienceMs: number): Promise<void> {
    if (this.#target === null || revision.seq > this.#target.seq) this.#target = revision;
    const done = new Promise<void>((resolve) => this.#waiting.push({ seq: revision.seq, resolve }));
    void this.#run();
    return within(done, patienceMs, this.#clock).catch(() => {});
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry?.();
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (!this.#closed && this.#target !== null && this.#target.seq > this.#projected) {
      const target: Revision = this.#target;
      try {
        await this.#store.project(target);
        this.#projected = target.seq;
        this.#retryMs = FIRST_RETRY_MS;
        this.#tell();
      } catch (error) {
        this.#retryLater(error as Error);
        break;
      }
    }
    this.#running = false;
  }

  #tell(): void {
    const done = this.#waiting.filter((waiter) => waiter.seq <= this.#projected);
    this.#waiting = this.#waiting.filter((waiter) => waiter.seq > this.#projected);
    for (const { resolve } of done) resolve();
  }

  /** Those who wait are let go: readers follow the log, so a document that lags is never wrong for them. */
  #retryLater(error: Error): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve();
    this.#log.warn('projection_failed', 'documents lag behind the log until the store answers', {
      reason: error.message,
    });
    this.#cancelRetry?.();
    this.#cancelRetry = this.#clock.after(this.#retryMs, () => void this.#run());
    this.#retryMs = Math.min(SLOWEST_RETRY_MS, this.#retryMs * 2);
  }
}

/**
 * What the API does by itself: follows the log on hints and every re-read interval, brings documents up to it when
 * another process left them behind, and drops history that is older than the settings say.
 */

import { SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Settings } from '../../shared/model/settings.ts';
import type { ApiContext } from '../context.ts';
import { keepNodeKeys } from '../node-keys.ts';

const RETENTION_MS = 3_600_000;
const NODE_KEYS_MS = 3_600_000;
const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 90;
const DEFAULT_REVISIONS = 1_000;
const FIRST_RETRY_MS = 500;

export class Upkeep {
  readonly #context: ApiContext;
  readonly #cancels = new Set<() => void>();
  readonly #unsubscribes: (() => void)[] = [];
  readonly #running = new Set<Promise<void>>();
  #following = false;
  #followAgain = false;
  #closed = false;

  constructor(context: ApiContext) {
    this.#context = context;
  }

  start(): void {
    const { bus, settings } = this.#context;
    const look = () => this.#hinted();
    this.#unsubscribes.push(
      bus.subscribe('updateProxy', (message) => {
        // Members are in no revision; anything else may stand for one.
        if (typeof message?.['members'] !== 'string' || message['seq'] !== undefined) look();
      }),
      bus.onConnected(look),
    );
    this.#every(settings.ttlMs, () => this.#follow());
    this.#every(RETENTION_MS, () => this.#retain());
    // They are wanted at once: without its key a secure page is closed.
    this.whenReachable(() => this.#keepNodeKeys(), 0);
    this.#every(NODE_KEYS_MS, () => this.#keepNodeKeys());
    look();
  }

  /** Runs `work` until it succeeds once, with growing pauses. */
  whenReachable(work: () => Promise<void>, retryMs = FIRST_RETRY_MS): void {
    if (this.#closed) return;
    const next = Math.min(Math.max(retryMs * 2, FIRST_RETRY_MS), this.#context.settings.ttlMs);
    this.#after(retryMs, () => work().catch(() => this.whenReachable(work, next)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
    for (const cancel of this.#cancels) cancel();
    await Promise.allSettled(this.#running);
  }

  /** Hints may come by the thousand: one look runs at a time, and one more after it when some came meanwhile. */
  #hinted(): void {
    this.#followAgain = true;
    if (this.#following) return;
    this.#following = true;
    this.#run(async () => {
      try {
        while (this.#followAgain && !this.#closed) {
          this.#followAgain = false;
          await this.#follow().catch((error: unknown) => {
            // A hint that came meanwhile is for another look, which may find the store again.
            if (!this.#followAgain) throw error;
          });
        }
      } finally {
        this.#following = false;
      }
    });
  }

  async #follow(): Promise<void> {
    const { present, store, writer, history } = this.#context;
    await present.catchUp();
    if (present.seq === 0 || (await store.mark()) >= present.seq) return;
    writer.repairProjection(await history.get(present.seq));
  }

  /** A revision is kept while it is younger than `days` or among the last `revisions`. */
  async #retain(): Promise<void> {
    const { present, store, history, clock, log } = this.#context;
    await present.catchUp();
    const settings = present.state.get('settings', SETTINGS_NAME)?.doc as Settings | undefined;
    const newest = present.seq - (settings?.history?.revisions ?? DEFAULT_REVISIONS);
    const since = clock.now() - (settings?.history?.days ?? DEFAULT_DAYS) * DAY_MS;
    const last = await history.lastBefore(since, newest);
    if (last === null) return;
    await store.trim(last);
    log.info('history_trimmed', `revisions up to ${last} were removed`, { seq: last });
  }

  #keepNodeKeys(): Promise<void> {
    const { store, settings, clock } = this.#context;
    return keepNodeKeys(store.live, settings.secret, clock);
  }

  #every(ms: number, work: () => Promise<void>): void {
    this.#after(ms, () => work().finally(() => this.#every(ms, work)));
  }

  #after(ms: number, work: () => Promise<void>): void {
    if (this.#closed) return;
    const cancel = this.#context.clock.after(ms, () => {
      this.#cancels.delete(cancel);
      this.#run(work);
    });
    this.#cancels.add(cancel);
  }

  #run(work: () => Promise<void>): void {
    if (this.#closed) return;
    const running = work().catch((error: unknown) => {
      this.#context.log.debug('upkeep_failed', 'it is tried again at the next turn', {
        reason: (error as Error).message,
      });
    });
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }
}

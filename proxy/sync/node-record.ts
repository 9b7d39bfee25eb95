/** What this node says of itself in the store: every few seconds, and soon after each change. Failing to is no harm. */
import type { Clock } from '../../shared/clock.ts';
import type { NodeRecord } from '../../shared/model/live.ts';
import type { LiveStore } from '../../shared/store/contract.ts';

const EVERY_MS = 4_000;
/** After a change, at most this often. */
const SOON_MS = 250;

export class NodeReporter {
  readonly #clock: Clock;
  readonly #live: () => LiveStore | null;
  readonly #describe: () => Omit<NodeRecord, 'beat'>;
  #beat: number;
  #cancel: (() => void) | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  #lastAt = Number.NEGATIVE_INFINITY;
  #writing: Promise<void> | null = null;
  /** What is being written may be of before a change. */
  #again = false;
  #closed = false;

  constructor(clock: Clock, live: () => LiveStore | null, describe: () => Omit<NodeRecord, 'beat'>) {
    this.#clock = clock;
    this.#live = live;
    this.#describe = describe;
    // Goes on growing when a new process takes over.
    this.#beat = clock.now();
  }

  start(): void {
    this.#plan(0);
  }

  /** Something worth saying changed. */
  touch(): void {
    this.#plan(Math.max(0, this.#lastAt + SOON_MS - this.#clock.monotonic()));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#writing;
  }

  #plan(ms: number): void {
    const at = this.#clock.monotonic() + ms;
    if (this.#closed || at >= this.#dueAt) return;
    this.#cancel?.();
    this.#dueAt = at;
    this.#cancel = this.#clock.after(ms, () => {
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.#cancel = null;
      if (this.#writing !== null) {
        this.#again = true;
        return;
      }
      this.#again = false;
      this.#writing = this.#write().finally(() => {
        this.#writing = null;
        this.#plan(this.#again ? SOON_MS : EVERY_MS);
      });
    });
  }

  async #write(): Promise<void> {
    this.#lastAt = this.#clock.monotonic();
    const live = this.#live();
    if (live === null) return;
    const { _id, ...fields } = this.#describe();
    // The store being away is said by whoever follows it; the record is simply late.
    await live.put('nodes', _id, { ...fields, beat: ++this.#beat }).catch(() => {});
  }
}

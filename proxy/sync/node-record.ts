/**
 * What this node says of itself in the store: every few seconds, and soon after each change. Failing to is no harm.
 * A node that ends in order says so with its last record; the next one of its name takes that back with its first.
 * That another node says it under the same name is noticed: of two such, `wait=all` asks only whoever wrote last.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { NodeRecord } from '../../shared/model/live.ts';
import type { LiveStore } from '../../shared/store/contract.ts';

const EVERY_MS = 4_000;
/** After a change, at most this often. */
const SOON_MS = 250;
/** A sync process and its successor write side by side for less. */
const TWIN_MS = 15_000;
/** Somebody who wrote nothing for so long is gone. */
const TWIN_GONE_MS = 3 * EVERY_MS;

export class NodeReporter {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #live: () => LiveStore | null;
  readonly #describe: () => Omit<NodeRecord, 'beat'>;
  #beat: number;
  /** Of the last record that was written for certain; 0 before. */
  #written = 0;
  /** Since when somebody else writes under this name, and when that was seen last. */
  #twinSince = Number.NEGATIVE_INFINITY;
  #twinAt = Number.NEGATIVE_INFINITY;
  #twinTold = false;
  #cancel: (() => void) | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  #lastAt = Number.NEGATIVE_INFINITY;
  #writing: Promise<void> | null = null;
  /** What is being written may be of before a change. */
  #again = false;
  #closed = false;

  constructor(
    clock: Clock,
    log: Log,
    live: () => LiveStore | null,
    describe: () => Omit<NodeRecord, 'beat'>,
  ) {
    this.#clock = clock;
    this.#log = log;
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

  /** After the end of the node in order the last record is written here, unless somebody else has written it since. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#writing;
    const { state, _id, ...fields } = this.#describe();
    const live = this.#live();
    if (state !== 'stopped' || live === null) return;
    try {
      const found = await live.get('nodes', _id);
      if (found === null || (found.beat !== this.#written && found.beat !== this.#beat)) return;
      const last = { ...fields, state, processes: [], ready: false, beat: ++this.#beat };
      await live.replace('nodes', _id, found.v, last);
    } catch {}
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
    const live = this.#live();
    if (live === null) return;
    this.#lastAt = this.#clock.monotonic();
    const { _id, ...fields } = this.#describe();
    // The store being away is said by whoever follows it; the record is simply late.
    try {
      const found = this.#written === 0 ? null : await live.get('nodes', _id);
      if (found !== null && found.beat !== this.#written && found.beat !== this.#beat) this.#foreign(_id);
      const beat = ++this.#beat;
      await live.put('nodes', _id, { ...fields, beat });
      this.#written = beat;
    } catch {}
  }

  /** The record is not the one that was written here. */
  #foreign(name: string): void {
    const now = this.#clock.monotonic();
    if (now - this.#twinAt > TWIN_GONE_MS) {
      this.#twinSince = now;
      this.#twinTold = false;
    }
    this.#twinAt = now;
    if (this.#twinTold || now - this.#twinSince < TWIN_MS) return;
    this.#twinTold = true;
    this.#log.error(
      'node_name_taken',
      `another node is named ${name}, too: nobody sees both, and --wait waits for one of them; give each its own --node`,
    );
  }
}

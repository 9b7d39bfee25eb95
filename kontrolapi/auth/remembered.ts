/**
 * Live documents that are needed on every call (tokens, users, sessions): read from the store when what is
 * remembered is older than two seconds, answered from memory while the store is away. A change made here counts at
 * once; one made by another API process within two seconds.
 */
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { LiveCollection, LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { within } from '../within.ts';

const FRESH_MS = 2_000;
/** How long a caller waits for the store when something is remembered. */
const PATIENCE_MS = 500;
/** While the store is away it is asked once in this time, not by every call. */
const RETRY_MS = 1_000;
const MAX_REMEMBERED = 10_000;

interface Entry {
  readonly document: LiveDocument | null;
  readonly at: number;
}

export class Remembered {
  readonly #live: LiveStore;
  readonly #collection: LiveCollection;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #reading = new Map<string, Promise<LiveDocument | null>>();
  /** Counts changes made here: what was being read when one came may be of before it. */
  #changes = 0;
  #failedAt = Number.NEGATIVE_INFINITY;

  constructor(live: LiveStore, collection: LiveCollection, clock: Clock) {
    this.#live = live;
    this.#collection = collection;
    this.#clock = clock;
  }

  /** The document, at most two seconds old; older while the store is away. Throws `store_unavailable` when unknown. */
  async get(id: string): Promise<LiveDocument | null> {
    const known = this.#entries.get(id);
    const now = this.#clock.monotonic();
    if (known !== undefined && now - known.at < FRESH_MS) return known.document;
    if (known !== undefined && now - this.#failedAt < RETRY_MS) return known.document;
    const read = this.#read(id);
    if (known === undefined) return read;
    return within(read, PATIENCE_MS, this.#clock).catch(() => known.document);
  }

  /** Reads all documents, so that they are known when the store goes away. Failures are for the next time. */
  async preload(): Promise<void> {
    try {
      const at = this.#clock.monotonic();
      const changes = this.#changes;
      const documents = await this.#live.list(this.#collection);
      if (changes !== this.#changes) return;
      for (const document of documents) this.#keep(document._id, document, at);
    } catch {
      this.#failedAt = this.#clock.monotonic();
    }
  }

  /** Drops what is remembered or being read. To be called after a change, or what was there before is read again. */
  forget(id: string): void {
    this.#changes++;
    this.#entries.delete(id);
    this.#reading.delete(id);
  }

  #read(id: string): Promise<LiveDocument | null> {
    const running = this.#reading.get(id);
    if (running !== undefined) return running;
    const at = this.#clock.monotonic();
    const read: Promise<LiveDocument | null> = this.#live
      .get(this.#collection, id)
      .then((document) => {
        if (this.#reading.get(id) === read) this.#keep(id, document, at);
        return document;
      })
      .catch((error: unknown) => {
        this.#failedAt = this.#clock.monotonic();
        throw error instanceof KontrolError ? error : new KontrolError('store_unavailable');
      })
      .finally(() => {
        if (this.#reading.get(id) === read) this.#reading.delete(id);
      });
    this.#reading.set(id, read);
    return read;
  }

  #keep(id: string, document: LiveDocument | null, at: number): void {
    this.#entries.delete(id);
    // What is not there is asked for again: guessed tokens must not push out real ones.
    if (document === null) return;
    if (this.#entries.size >= MAX_REMEMBERED) {
      const oldest = this.#entries.keys().next().value;
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    this.#entries.set(id, { document, at });
  }
}

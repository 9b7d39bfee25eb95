/**
 * The worker backends of every service, as the live collection has them. A hint names one service; whatever hints
 * missed is found by the counter that every write advances, and by comparing versions at each tick.
 */
import type { Clock } from '../../shared/clock.ts';
import type { EmptinessGuard } from '../../shared/emptiness-guard.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import type { PlainDocument } from './documents.ts';
import type { ObjectChange } from './guard.ts';

const COUNTER = 'membership';
/** More named services than this at once are read with one list. */
const MAX_NAMED = 50;
/** Lists that only the counter asks for are at least so far apart, and ten times as far as the last one took. */
const MIN_LIST_GAP_MS = 250;

interface Known {
  readonly v: number;
  readonly doc: PlainDocument;
}

export class MembersFollower {
  readonly #live: LiveStore;
  readonly #guard: EmptinessGuard;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  #counter = -1;
  #named = new Set<string>();
  #all = true;
  /** The counter says that something was missed; it is listed when it is time. */
  #missed = false;
  #listNotBefore = 0;

  constructor(live: LiveStore, guard: EmptinessGuard, clock: Clock) {
    this.#live = live;
    this.#clock = clock;
    this.#guard = guard;
  }

  /** Takes over members as they were served before. */
  seed(service: string, doc: PlainDocument): void {
    this.#known.set(service, { v: -1, doc });
  }

  /** The members of a service are said to have changed. */
  hint(service: string): void {
    if (this.#named.size >= MAX_NAMED) this.#all = true;
    else this.#named.add(service);
  }

  /** Everything is compared at the next look. */
  hintAll(): void {
    this.#all = true;
  }

  /** Reads what was hinted, or everything when the counter says that there is more. Rejects when the store is away. */
  async look(): Promise<ObjectChange[]> {
    const named = this.#named;
    this.#named = new Set();
    const all = this.#all;
    this.#all = false;
    try {
      if (all) return await this.#list();
      const read = await Promise.all(
        [...named].map(async (service) => [service, await this.#live.get('members', service)] as const),
      );
      // Read after the documents: what advances it later is found at the next look.
      const counter = await this.#readCounter();
      let advance = 0;
      const changes: ObjectChange[] = [];
      for (const [service, document] of read) {
        if (document === null) continue;
        const before = this.#known.get(service)?.v ?? 0;
        if (before >= 0) advance += document.v - before;
        changes.push(...this.#take(document));
      }
      if (counter === this.#counter + advance) {
        this.#counter = counter;
        return changes;
      }
      if (counter !== this.#counter) this.#missed = true;
      if (!this.#missed || this.listsInMs !== 0) return changes;
      // What was taken is known from here on and not told again: a list that fails must not take it along.
      return changes.concat(await this.#list().catch(() => []));
    } catch (error) {
      for (const service of named) this.#named.add(service);
      this.#all ||= all;
      throw error;
    }
  }

  /** In how many milliseconds a look will list what was missed; null when nothing was. */
  get listsInMs(): number | null {
    return this.#missed ? Math.max(0, this.#listNotBefore - this.#clock.monotonic()) : null;
  }

  /** Makes the deletions that were held back and are confirmed now. */
  remove(services: readonly string[]): ObjectChange[] {
    return services.flatMap((name) =>
      this.#known.delete(name) ? [{ kind: 'members', name, doc: null }] : [],
    );
  }

  async #list(): Promise<ObjectChange[]> {
    const begun = this.#clock.monotonic();
    const counter = await this.#readCounter();
    const documents = await this.#live.list('members');
    const changes = documents.flatMap((document) => this.#take(document));
    const present = new Set(documents.map((document) => document._id));
    const missing = [...this.#known.keys()].filter((service) => !present.has(service));
    changes.push(...this.remove(this.#guard.judge('members', this.#known.size, missing)));
    this.#counter = counter;
    this.#missed = false;
    const now = this.#clock.monotonic();
    this.#listNotBefore = now + Math.max(MIN_LIST_GAP_MS, 10 * (now - begun));
    return changes;
  }

  #take(document: LiveDocument): ObjectChange[] {
    const name = document._id;
    const known = this.#known.get(name);
    if (known?.v === document.v) return [];
    this.#known.set(name, { v: document.v, doc: document });
    return [{ kind: 'members', name, doc: document }];
  }

  async #readCounter(): Promise<number> {
    return (await this.#live.get('counters', COUNTER))?.v ?? 0;
  }
}

/**
 * What is known to be wrong, in live documents that every kontrolapi sees: one per thing, raised by a unique insert and
 * taken by compare-and-set before it is told, so of several processes one tells it, and a restart forgets nothing.
 *
 * `raised` untold → taken → told → `cleared` untold → taken → deleted. What clears before it was told is deleted.
 */
import type { Clock } from '../../shared/clock.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import type { Condition } from './conditions.ts';

/** Something to be told. */
export interface Notice {
  readonly key: string;
  readonly state: 'raised' | 'recovered';
  readonly urgent: boolean;
  readonly title: string;
  readonly detail: string;
  /** Milliseconds since 1970: since when it is so. */
  readonly since: number;
}

interface Entry extends LiveDocument {
  readonly state: 'raised' | 'cleared';
  readonly level: number;
  readonly urgent: boolean;
  readonly title: string;
  readonly detail: string;
  readonly since: number;
  readonly told: boolean;
  /** Who is telling it; null for nobody. */
  readonly owner: string | null;
}

/** Whoever took a notice and has not told it for this long has died. Above all attempts to deliver together. */
const STALE_MS = 300_000;
const MAX_ENTRIES = 500;
/** Things of one kind that are told one by one. What was told stays, whatever else goes wrong meanwhile. */
const MAX_OF_KIND = 100;

export interface CycleOptions {
  /** What happens within this time is one message, in ms. */
  readonly groupMs: number;
  /** Only what is urgent is told now. */
  readonly quiet: boolean;
}

export class Board {
  readonly #live: LiveStore;
  readonly #clock: Clock;
  readonly #id: string;
  /** Since when a thing is (or is no longer) so, on the monotonic clock. */
  readonly #wrongSince = new Map<string, number>();
  readonly #rightSince = new Map<string, number>();
  /** When a document was first seen in its version. */
  readonly #versions = new Map<string, { readonly v: number; readonly at: number }>();
  /** What this process is telling. */
  readonly #telling = new Set<string>();
  /** What it has told and the store does not know yet. */
  readonly #saving = new Set<string>();

  /** `id` is unique among the processes that ever were. */
  constructor(live: LiveStore, clock: Clock, id: string) {
    this.#live = live;
    this.#clock = clock;
    this.#id = id;
  }

  /** Brings the documents up to what is wrong now, and takes what is to be told. Rejects when the store is away. */
  async cycle(conditions: readonly Condition[], options: CycleOptions): Promise<Notice[]> {
    await this.#save();
    const entries = (await this.#live.list('alerts')).filter(isEntry);
    const now = this.#clock.monotonic();
    const wrong = new Map(conditions.map((condition) => [condition.key, condition]));
    this.#time(wrong, entries, now);
    await this.#raise(wrong.values(), entries, now);
    for (const entry of entries) await this.#follow(entry, wrong.get(entry._id), now);
    return this.#take(options);
  }

  /** Notices were told, or given up. What the store does not take now is kept for the next cycle. */
  async told(notices: readonly Notice[]): Promise<void> {
    for (const { key } of notices) this.#saving.add(key);
    await this.#save().catch(() => {});
  }

  async #save(): Promise<void> {
    for (const key of this.#saving) {
      const entry = await this.#live.get('alerts', key);
      if (entry !== null && isEntry(entry) && entry.owner === this.#id) {
        if (entry.state === 'cleared') await this.#live.delete('alerts', key, entry.v);
        else await this.#live.replace('alerts', key, entry.v, { ...entry, told: true, owner: null });
      }
      this.#saving.delete(key);
      this.#telling.delete(key);
    }
  }

  #time(wrong: ReadonlyMap<string, Condition>, entries: readonly Entry[], now: number): void {
    for (const key of this.#wrongSince.keys()) if (!wrong.has(key)) this.#wrongSince.delete(key);
    for (const key of wrong.keys()) if (!this.#wrongSince.has(key)) this.#wrongSince.set(key, now);
    const ids = new Set(entries.map(({ _id }) => _id));
    for (const key of this.#rightSince.keys())
      if (wrong.has(key) || !ids.has(key)) this.#rightSince.delete(key);
    for (const id of ids) if (!wrong.has(id) && !this.#rightSince.has(id)) this.#rightSince.set(id, now);
    for (const id of this.#versions.keys()) if (!ids.has(id)) this.#versions.delete(id);
    for (const { _id, v } of entries)
      if (this.#versions.get(_id)?.v !== v) this.#versions.set(_id, { v, at: now });
  }

  async #raise(wrong: Iterable<Condition>, entries: readonly Entry[], now: number): Promise<void> {
    const known = new Set(entries.map(({ _id }) => _id));
    const ofKind = new Map<string, number>();
    for (const id of known) ofKind.set(kindOf(id), (ofKind.get(kindOf(id)) ?? 0) + 1);
    let room = MAX_ENTRIES - known.size;
    for (const condition of wrong) {
      const kind = kindOf(condition.key);
      const others = ofKind.get(kind) ?? 0;
      if (known.has(condition.key) || others >= MAX_OF_KIND || !this.#raises(condition, now)) continue;
      if (room-- <= 0) return;
      ofKind.set(kind, others + 1);
      await this.#live.insert('alerts', condition.key, raisedEntry(condition, this.#clock.now()));
    }
  }

  #raises({ key, raiseMs }: Condition, now: number): boolean {
    return now - (this.#wrongSince.get(key) ?? now) >= raiseMs;
  }

  async #follow(entry: Entry, condition: Condition | undefined, now: number): Promise<void> {
    if (this.#isTaken(entry, now)) return;
    const { _id, v } = entry;
    if (condition === undefined) {
      if (entry.state === 'cleared' || now - (this.#rightSince.get(_id) ?? now) < clearMs(entry)) return;
      if (!entry.told) await this.#live.delete('alerts', _id, v);
      else
        await this.#live.replace('alerts', _id, v, {
          ...entry,
          state: 'cleared',
          told: false,
          owner: null,
          since: this.#clock.now(),
        });
    } else if (entry.state === 'cleared') {
      // Nobody has heard of the recovery: it goes on.
      await this.#live.replace('alerts', _id, v, { ...entry, state: 'raised', told: true, owner: null });
    } else if (condition.level > entry.level) {
      await this.#live.replace('alerts', _id, v, raisedEntry(condition, this.#clock.now()));
    } else if (condition.level < entry.level) {
      // Less bad than it was: nobody is told, but of the next time that it gets worse.
      const { level, urgent, title, detail } = condition;
      await this.#live.replace('alerts', _id, v, { ...entry, level, urgent, title, detail });
    }
  }

  async #take({ groupMs, quiet }: CycleOptions): Promise<Notice[]> {
    const now = this.#clock.monotonic();
    const due = (await this.#live.list('alerts'))
      .filter(isEntry)
      .filter((entry) => !entry.told && !this.#isTaken(entry, now) && (entry.urgent || !quiet));
    const oldest = Math.min(...due.map(({ since }) => since));
    if (due.length === 0 || this.#clock.now() - oldest < groupMs) return [];
    const notices: Notice[] = [];
    for (const entry of due) {
      if (!(await this.#live.replace('alerts', entry._id, entry.v, { ...entry, owner: this.#id }))) continue;
      this.#telling.add(entry._id);
      const { _id: key, urgent, title, detail, since } = entry;
      const state = entry.state === 'raised' ? 'raised' : 'recovered';
      notices.push({ key, state, urgent, title, detail, since });
    }
    return notices;
  }

  /** By a process that lives, as far as can be seen. */
  #isTaken(entry: Entry, now: number): boolean {
    if (entry.owner === null || entry.told) return false;
    if (entry.owner === this.#id) return this.#telling.has(entry._id);
    return now - (this.#versions.get(entry._id)?.at ?? now) < STALE_MS;
  }
}

function raisedEntry({ level, urgent, title, detail, clearMs }: Condition, at: number) {
  return { state: 'raised', level, urgent, title, detail, clearMs, since: at, told: false, owner: null };
}

/** What a key begins with says what kind of thing it is. */
function kindOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('/')));
}

function clearMs(entry: Entry): number {
  const ms = entry['clearMs'];
  return typeof ms === 'number' ? ms : 15_000;
}

function isEntry(document: LiveDocument): document is Entry {
  const { state, told, since, title } = document;
  return (
    (state === 'raised' || state === 'cleared') &&
    typeof told === 'boolean' &&
    typeof since === 'number' &&
    typeof title === 'string'
  );
}

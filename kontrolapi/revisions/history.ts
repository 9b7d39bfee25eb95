/**
 * The log read for people: pages from the newest to the oldest, one revision, and the objects as they were at any
 * revision that retention has left.
 */
import { KontrolError } from '../../shared/errors.ts';
import { KINDS } from '../../shared/model/kinds.ts';
import type { Change, Revision } from '../../shared/model/revision.ts';
import type { Store } from '../../shared/store/contract.ts';
import type { Present } from './present.ts';
import type { Doc, Named } from './view.ts';

const PAGE = 200;
/** A search in a long history stops after so many revisions and says how far it came. */
const MAX_LOOKED_AT = 20_000;

/** Objects by `kind/name`, as they were. */
export type Past = ReadonlyMap<string, Named>;

/** What objects were before a revision. */
export interface Former {
  /** By `kind/name`; null when it was not there, undefined when the search does not tell. */
  readonly documents: ReadonlyMap<string, Doc | null | undefined>;
  /**
   * The oldest revision that was looked at, when the search stopped there for its length: what an object was is told
   * by its newest revision before that one. Null when all was found, or the history that is kept begins there.
   */
  readonly lookedTo: number | null;
}

export class History {
  readonly #store: Store;
  readonly #present: Present;
  /** Revisions that one search looks at. */
  readonly maxLookedAt: number;

  constructor(store: Store, present: Present, maxLookedAt = MAX_LOOKED_AT) {
    this.#store = store;
    this.#present = present;
    this.maxLookedAt = maxLookedAt;
  }

  /** Throws `not_found`; `history_trimmed` for what retention has removed. */
  async get(seq: number): Promise<Revision> {
    const revision = await this.#at(seq);
    if (revision !== null) return revision;
    const oldest = seq >= 1 && seq <= this.#present.seq ? await this.oldest() : 0;
    throw seq < oldest ? trimmed(oldest) : new KontrolError('not_found', `There is no revision ${seq}`);
  }

  /** Revisions before `before` (all with null), newest first. Reads only as far as the caller goes on. */
  async *descending(before: number | null): AsyncGenerator<Revision> {
    let upTo = before === null ? this.#present.seq : Math.min(before - 1, this.#present.seq);
    const oldest = await this.oldest();
    let page = PAGE;
    while (upTo >= oldest) {
      const from = Math.max(oldest - 1, upTo - page);
      const since = await this.#store.since(from, upTo - from);
      if (since.trimmed) return;
      const { revisions } = since;
      // Large ones come in part, the older part: the newer ones are not to be passed over.
      if (revisions.length > 0 && revisions.length < upTo - from && page > 1) {
        page = Math.max(1, Math.min(revisions.length, page >> 2));
        continue;
      }
      page = Math.min(PAGE, page * 2);
      for (const revision of revisions.toReversed()) if (revision.seq <= upTo) yield revision;
      upTo = from;
    }
  }

  /** Revisions after `after`, oldest first. Throws `history_trimmed` when retention has removed some of them. */
  async *ascending(after: number): AsyncGenerator<Revision> {
    for (let seq = after; ; ) {
      const since = await this.#store.since(seq, PAGE);
      if (since.trimmed) throw trimmed(await this.oldest());
      if (since.revisions.length === 0) return;
      for (const revision of since.revisions) {
        yield revision;
        seq = revision.seq;
      }
    }
  }

  /** The oldest revision that is kept; one more than the newest when there is none. */
  async oldest(): Promise<number> {
    let low = 1;
    let high = this.#present.seq + 1;
    // Retention removes from the old end only, so "is it there" turns once.
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      if ((await this.#at(middle)) === null) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The newest revision that is kept, up to `upTo`, and older than `time`; null when there is none. */
  async lastBefore(time: number, upTo: number): Promise<number | null> {
    let low = await this.oldest();
    const first = low;
    let high = Math.min(upTo, this.#present.seq) + 1;
    // Times of revisions may step back with a clock, but not so far that days matter.
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      const revision = await this.#at(middle);
      if (revision !== null && revision.at < time) low = middle + 1;
      else high = middle;
    }
    return low > first ? low - 1 : null;
  }

  /** What the objects of `wanted` were before a revision. */
  async before(seq: number, wanted: readonly Change[]): Promise<Former> {
    const found = new Map<string, Doc | null | undefined>();
    const open = new Set<string>();
    for (const { kind, name, created } of wanted) {
      if (created === true) found.set(`${kind}/${name}`, null);
      else open.add(`${kind}/${name}`);
    }
    let reached = seq;
    let lookedTo: number | null = null;
    let lookedAt = 0;
    for await (const revision of this.descending(seq)) {
      if (open.size === 0) break;
      if (lookedAt++ >= this.maxLookedAt) {
        lookedTo = reached;
        break;
      }
      reached = revision.seq;
      for (const { kind, name, doc } of revision.changes) {
        const key = `${kind}/${name}`;
        if (open.delete(key)) found.set(key, doc);
      }
    }
    for (const key of open) found.set(key, reached <= 1 ? null : undefined);
    return { documents: found, lookedTo };
  }

  /**
   * All objects as they were after revision `seq`, or those that are wanted. Throws `history_trimmed` when the history
   * does not reach that far for one that was changed since.
   */
  async at(seq: number, wanted: (object: Pick<Change, 'kind' | 'name'>) => boolean = all): Promise<Past> {
    if (seq > this.#present.seq) throw new KontrolError('not_found', `There is no revision ${seq} yet`);
    const oldest = await this.oldest();
    if (seq < oldest - 1) throw trimmed(oldest);
    const past = new Map<string, Named>();
    const state = this.#present.state;
    const newest = this.#present.seq;
    for (const object of state.all()) {
      if (object.rev <= seq && wanted(object)) past.set(`${object.kind}/${object.name}`, object);
    }
    // What was changed later: its last version up to `seq`, looked for from there back.
    const open = new Set<string>();
    for await (const revision of this.descending(newest + 1)) {
      if (revision.seq <= seq) break;
      for (const change of revision.changes) {
        if (!wanted(change)) continue;
        const { kind, name, created } = change;
        if (created === true) open.delete(`${kind}/${name}`);
        else open.add(`${kind}/${name}`);
      }
    }
    for await (const revision of this.descending(seq + 1)) {
      if (open.size === 0) break;
      for (const { kind, name, doc } of revision.changes) {
        if (!open.delete(`${kind}/${name}`)) continue;
        if (doc !== null) past.set(`${kind}/${name}`, { kind, name, rev: revision.seq, doc });
      }
    }
    if (open.size > 0 && oldest > 1) {
      const [first] = open;
      throw new KontrolError(
        'history_trimmed',
        `The history that is kept does not tell what ${first} was at revision ${seq}`,
      );
    }
    return past;
  }

  /** The same, in an order in which references point backwards. */
  async objectsAt(seq: number): Promise<Named[]> {
    const order = (object: Named) => KINDS.indexOf(object.kind);
    return [...(await this.at(seq)).values()].sort(
      (a, b) => order(a) - order(b) || (a.name < b.name ? -1 : 1),
    );
  }

  async #at(seq: number): Promise<Revision | null> {
    if (seq < 1 || seq > this.#present.seq) return null;
    const since = await this.#store.since(seq - 1, 1);
    const revision = since.trimmed ? undefined : since.revisions[0];
    return revision !== undefined && revision.seq === seq ? revision : null;
  }
}

function all(): boolean {
  return true;
}

function trimmed(oldest: number): KontrolError {
  return new KontrolError(
    'history_trimmed',
    `The history that is kept begins with revision ${oldest}; settings.history says how much is kept`,
  );
}

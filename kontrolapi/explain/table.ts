/**
 * The table that nodes decide by, made here from the same objects with the same code. The present one is kept and
 * patched; nothing is made before somebody asks for the first time.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { KontrolError } from '../../shared/errors.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { EntryKind, TableEntry } from '../../shared/routing/entry.ts';
import { country } from '../../shared/routing/geo.ts';
import { Table, type TableOptions } from '../../shared/routing/table.ts';
import { COOKIE_KEY_SECRET } from '../../shared/signed-cookie.ts';
import type { ApiContext } from '../context.ts';
import type { Doc } from '../revisions/view.ts';

/** Objects that are compiled before other calls have their turn. */
const SLICE = 100;

interface Source {
  readonly kind: Kind;
  readonly name: string;
  readonly rev: number;
  readonly doc: Doc;
}

/** No visitor has a cookie signed with it: who must confirm first is asked. */
const COOKIE_KEY: TableEntry = {
  kind: 'secret',
  name: COOKIE_KEY_SECRET,
  doc: { value: randomBytes(32).toString('base64url') },
};

export class ExplainTables {
  readonly #context: ApiContext;
  readonly #options: TableOptions;
  #present: KeptTable | null = null;
  #reloads = 0;
  #past: KeptTable | null = null;
  #pastReloads = 0;
  /** As they were read last: nodes, too, keep them while the store is away. */
  #lastMembers: readonly TableEntry[] = [];
  #working: Promise<unknown> = Promise.resolve();

  constructor(context: ApiContext) {
    this.#context = context;
    const publicHttpsPort = context.settings.publicHttpsPort ?? context.settings.https[0]?.port;
    this.#options = { country, ...(publicHttpsPort === undefined ? {} : { publicHttpsPort }) };
  }

  /** Answers `use` by the newest objects and the members as they are. One at a time: the table changes afterwards. */
  present<T>(use: (table: Table) => T): Promise<T> {
    const made = this.#working.then(async () => {
      const { present, clock } = this.#context;
      const state = await present.fresh(clock);
      if (this.#present === null || this.#reloads !== present.reloads)
        this.#present = new KeptTable(this.#options);
      this.#reloads = present.reloads;
      await this.#present.take(state.all(), await this.#members());
      return use(this.#present.table);
    });
    this.#working = made.catch(() => {
      // Half made: the next one begins afresh.
      this.#present = null;
    });
    return made;
  }

  /**
   * The same by the objects at an earlier revision; the members are those of now. The last one is kept and patched, one is made
   * at a time: however often it is asked for, it takes one table's memory. Throws `history_trimmed`, `not_found`.
   */
  at<T>(seq: number, use: (table: Table) => T): Promise<T> {
    const made = this.#working.then(async () => {
      const objects = await this.#context.history.objectsAt(seq);
      if (this.#past === null || this.#pastReloads !== this.#context.present.reloads)
        this.#past = new KeptTable(this.#options);
      this.#pastReloads = this.#context.present.reloads;
      const { table } = this.#past;
      await this.#past.take(objects, await this.#members());
      return use(table);
    });
    this.#working = made.catch((error: unknown) => {
      if (!(error instanceof KontrolError)) this.#past = null;
    });
    return made;
  }

  async #members(): Promise<readonly TableEntry[]> {
    const documents = await this.#context.store.live.list('members').catch(() => null);
    if (documents !== null)
      this.#lastMembers = documents.map((doc) => ({ kind: 'members', name: doc._id, doc }));
    return this.#lastMembers;
  }
}

/** A table, and which version of each object it has. */
class KeptTable {
  readonly table: Table;
  readonly #versions = new Map<
    string,
    { readonly kind: EntryKind; readonly name: string; version: number }
  >();

  constructor(options: TableOptions) {
    this.table = new Table(options);
    this.table.apply([COOKIE_KEY]);
  }

  async take(objects: Iterable<Source>, members: readonly TableEntry[]): Promise<void> {
    const met = new Set<string>();
    const changed: TableEntry[] = [];
    const note = (entry: TableEntry, version: number) => {
      const key = `${entry.kind}/${entry.name}`;
      met.add(key);
      if (this.#versions.get(key)?.version === version) return;
      this.#versions.set(key, { kind: entry.kind, name: entry.name, version });
      changed.push(entry);
    };
    for (const { kind, name, rev, doc } of objects) note({ kind, name, doc }, rev);
    for (const entry of members) note(entry, Number(entry.doc?.['v'] ?? 0));
    for (const [key, { kind, name }] of this.#versions) {
      if (met.has(key)) continue;
      this.#versions.delete(key);
      changed.push({ kind, name, doc: null });
    }
    for (let from = 0; from < changed.length; from += SLICE) {
      this.table.apply(changed.slice(from, from + SLICE));
      await nextTurn();
    }
  }
}

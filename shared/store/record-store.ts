/** The `Store` on top of the records of an adapter: one implementation of its promises for all of them. */
import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../clock.ts';
import { KontrolError } from '../errors.ts';
import { KINDS, type Kind } from '../model/kinds.ts';
import type { Revision } from '../model/revision.ts';
import type { Head, Loaded, Since, Store, StoredDocument } from './contract.ts';
import { LiveRecords } from './live.ts';
import { type ProjectionStep, Projector, unescapedFields } from './projection.ts';
import { asRead, Deadline, isVersion, type Records, type StoredRecord } from './records.ts';
import { Mark, Revisions } from './revisions.ts';
import { checkedId, checkedSeq, documentTable, META } from './tables.ts';

/** Within the 5 s that a call may take, with room for the event loop. */
const CALL_MS = 4_500;
const PER_CHANGE_MS = 1;
/** Longer than any call: a projector that began before a trim is done when the next one removes tombstones. */
const TOMBSTONE_MS = 60_000;
const DEFAULT_LIMIT = 1_000;
const TRIMMED_AT_ONCE = 1_000;

/** `parts` written · `appended` · some `documents` written · all `projected`, mark not yet advanced · `marked`. */
export type StoreStep = ProjectionStep | 'parts' | 'appended' | 'marked';

/** For tests. */
export interface RecordStoreOptions {
  readonly clock?: Clock;
  /** Called, and awaited, at each step between append and project: there a process may end. */
  readonly onStep?: (step: StoreStep) => void | Promise<void>;
  /** Documents that are projected in one go; default 1 000. */
  readonly batch?: number;
  /** Milliseconds that a call may take; default 4 500. */
  readonly callMs?: number;
}

export class RecordStore implements Store {
  readonly type: Store['type'];
  readonly live: LiveRecords;
  readonly #records: Records;
  readonly #clock: Clock;
  readonly #onStep: (step: StoreStep) => void | Promise<void>;
  readonly #revisions: Revisions;
  readonly #mark: Mark;
  readonly #projector: Projector;
  readonly #callMs: number;
  #reachable = true;
  #closing: Promise<void> | null = null;
  #trims: { readonly seq: number; readonly at: number }[] = [];

  constructor(type: Store['type'], records: Records, options: RecordStoreOptions = {}) {
    const { clock = systemClock, onStep = () => {}, batch = 1_000, callMs = CALL_MS } = options;
    this.#callMs = callMs;
    this.type = type;
    this.#records = records;
    this.#clock = clock;
    this.#onStep = onStep;
    this.#revisions = new Revisions(records, onStep);
    this.#mark = new Mark(records, this.#revisions);
    this.#projector = new Projector(records, this.#revisions, this.#mark, { batch, onStep });
    this.live = new LiveRecords(records, (work) => this.#call(work));
  }

  get reachable(): boolean {
    return this.#reachable;
  }

  identity(): Promise<string> {
    return this.#call(async (deadline) => {
      for (;;) {
        deadline.check();
        const record = await this.#records.get(META, 'store', deadline);
        const id = record?.fields['id'];
        if (typeof id === 'string' && id !== '') return id;
        const fields = { id: randomBytes(12).toString('hex') };
        await this.#records.write(
          META,
          { id: 'store', expected: asRead(record), version: 1, fields },
          deadline,
        );
      }
    });
  }

  head(): Promise<Head> {
    return this.#call((deadline) => this.#revisions.head(deadline));
  }

  async since(seq: number, limit = DEFAULT_LIMIT): Promise<Since> {
    checkedSeq(seq, 0);
    checkedSeq(limit, 1);
    return this.#call((deadline) => this.#revisions.since(seq, limit, deadline));
  }

  async append(revision: Revision): Promise<'appended' | 'taken'> {
    checkedRevision(revision);
    return this.#call(async (deadline) => {
      const result = await this.#revisions.append(revision, deadline);
      if (result === 'appended') await this.#onStep('appended');
      return result;
    }, revision.changes.length);
  }

  mark(): Promise<number> {
    return this.#call((deadline) => this.#mark.read(deadline));
  }

  async project(revision: Revision): Promise<void> {
    checkedRevision(revision);
    const changes = revision.changes.length;
    await this.#call((deadline) => this.#projector.project(revision, deadline), changes);
    await this.#onStep('marked');
  }

  async load(kind: Kind): Promise<Loaded> {
    const table = documentTable(kind);
    return this.#call(async (deadline) => {
      const mark = await this.#mark.read(deadline);
      const records = await this.#records.list(table, '', deadline);
      // Read after the documents: no revision has written a number beyond it.
      const head = await this.#revisions.head(deadline);
      return { mark, documents: records.map((record) => storedDocument(record, head.seq)) };
    });
  }

  async trim(seq: number): Promise<void> {
    checkedSeq(seq, 0);
    await this.#call(async (deadline) => {
      const mark = await this.#mark.read(deadline);
      const head = await this.#revisions.head(deadline);
      // The head itself stays: it is the number from which the log goes on.
      const last = Math.min(seq, mark, head.seq - 1);
      if (last <= 0) return;
      await this.#revisions.drop(last, deadline);
      await this.#dropTombstones(last, deadline);
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#records.close();
    return this.#closing;
  }

  /**
   * Removes tombstones that an earlier trim already found old. One that began to project them before that trim has
   * ended by now; whoever begins later sees the mark and leaves them alone.
   */
  async #dropTombstones(seq: number, deadline: Deadline): Promise<void> {
    const now = this.#clock.monotonic();
    const old = this.#trims.filter((trim) => trim.at <= now - TOMBSTONE_MS);
    const upTo = Math.min(seq, Math.max(0, ...old.map((trim) => trim.seq)));
    if (upTo > 0) {
      for (const kind of KINDS) await this.#dropTombstonesOf(kind, upTo, deadline);
    }
    const newest = old.at(-1);
    this.#trims = this.#trims.filter((trim) => !old.includes(trim) || trim === newest);
    this.#trims.push({ seq, at: now });
  }

  async #dropTombstonesOf(kind: Kind, upTo: number, deadline: Deadline): Promise<void> {
    const table = documentTable(kind);
    for (;;) {
      deadline.check();
      const found = await this.#records.tombstones(table, upTo, TRIMMED_AT_ONCE, deadline);
      if (found.length > 0) await this.#records.removeMany(table, found, deadline);
      if (found.length < TRIMMED_AT_ONCE) return;
    }
  }

  /** `changes` of a revision that the call carries lengthen its time. */
  async #call<T>(work: (deadline: Deadline) => Promise<T>, changes = 0): Promise<T> {
    if (this.#closing !== null) throw new KontrolError('store_unavailable', 'The store is closed');
    try {
      const result = await work(new Deadline(this.#callMs + changes * PER_CHANGE_MS, this.#clock));
      this.#reachable = true;
      return result;
    } catch (error) {
      const code = error instanceof KontrolError ? error.code : null;
      if (code === 'store_unavailable' || code === 'outcome_unknown') this.#reachable = false;
      throw error;
    }
  }
}

function storedDocument(record: StoredRecord, head: number): StoredDocument {
  const { deleted, ...fields } = record.fields;
  const rev = isVersion(record.version) && record.version <= head ? record.version : null;
  return { name: record.id, rev, deleted: deleted === true, doc: unescapedFields(fields) };
}

function checkedRevision(revision: Revision): void {
  checkedSeq(revision.seq, 1);
  checkedId(revision.id);
  if (typeof revision.previous !== 'string')
    throw new KontrolError('invalid', 'A revision names its predecessor, or an empty string');
  for (const change of revision.changes) {
    documentTable(change.kind);
    checkedId(change.name);
  }
}

/**
 * What Kontrol needs of a store, and nothing else. Two adapters (MongoDB, embedded LMDB) pass one conformance suite
 * (`conformance.ts`). Only what every MongoDB-compatible server since 4.4 does atomically is relied on: a unique
 * `_id`, and insert / replace / delete of one document by `_id` and one equal field.
 *
 * Every call ends within 5 s, one with a revision a second later for every thousand objects in it. A call that could
 * not reach the store rejects with KontrolError `store_unavailable` (nothing was written) or `outcome_unknown` (a write
 * broke off and could not be read back).
 */
import type { Kind } from '../model/kinds.ts';
import type { Revision } from '../model/revision.ts';

export interface Head {
  /** 0 when there is no revision yet. */
  readonly seq: number;
  /** `id` of that revision; empty when there is none. */
  readonly id: string;
}

/** Revisions after a number, in order and without a gap; or word that retention has removed some of them. */
export type Since =
  | { readonly trimmed: false; readonly revisions: readonly Revision[] }
  | { readonly trimmed: true };

/** A document as it stands in its collection. `rev` is null for one that was written by hand without a valid `rev`. */
export interface StoredDocument {
  readonly name: string;
  readonly rev: number | null;
  readonly deleted: boolean;
  /** The object itself, without `_id`, `rev` and `deleted`. */
  readonly doc: Readonly<Record<string, unknown>>;
}

/** The documents of one kind, read after `mark`: every revision up to `mark` is in them. */
export interface Loaded {
  readonly mark: number;
  readonly documents: readonly StoredDocument[];
}

/** Live collections: one document each, changed by compare-and-set. */
export type LiveCollection =
  | 'members'
  | 'workers'
  | 'leases'
  | 'claims'
  | 'nodes'
  | 'tokens'
  | 'users'
  | 'sessions'
  | 'secrets'
  | 'alerts'
  | 'counters'
  | 'confirmations';

/** A live document. `v` starts at 1 with its insert and grows by one with every replace. */
export interface LiveDocument {
  readonly _id: string;
  readonly v: number;
  readonly [field: string]: unknown;
}

export interface LiveStore {
  /** True when inserted, with `v: 1`; false when `_id` exists already. */
  insert(collection: LiveCollection, id: string, fields: Readonly<Record<string, unknown>>): Promise<boolean>;
  get(collection: LiveCollection, id: string): Promise<LiveDocument | null>;
  /** All documents whose `_id` begins with `prefix`, in order of `_id`. */
  list(collection: LiveCollection, prefix?: string): Promise<LiveDocument[]>;
  /** Replaces the document if its `v` still is `expected`, setting `v` to `expected + 1`; false when it is not or is gone. */
  replace(
    collection: LiveCollection,
    id: string,
    expected: number,
    fields: Readonly<Record<string, unknown>>,
  ): Promise<boolean>;
  /** Writes without comparing, inserting if need be; for documents with one writer (node records, leases). */
  put(collection: LiveCollection, id: string, fields: Readonly<Record<string, unknown>>): Promise<void>;
  /** True when it was there (and, if `expected` is given, had that `v`) and is gone now. */
  delete(collection: LiveCollection, id: string, expected?: number): Promise<boolean>;
}

export interface Store {
  /** `mongodb` or `embedded`; for people. */
  readonly type: 'mongodb' | 'embedded';
  /** Random identity, written once when the store is first opened; another one means another store. */
  identity(): Promise<string>;
  head(): Promise<Head>;
  /**
   * Revisions with a number greater than `seq`, at most `limit` (default 1 000), and fewer when they are large: there
   * are no more only when the list is empty.
   */
  since(seq: number, limit?: number): Promise<Since>;
  /**
   * Writes `revision` under its number, durably. `appended`, also when an ambiguous failure was read back as
   * written; `taken` when another revision has the number, or the log does not hold its predecessor (any more): read
   * what is there and try the next number. A revision larger than a document is stored in parts,
   * written before it, and is there wholly or not at all.
   */
  append(revision: Revision): Promise<'appended' | 'taken'>;
  /** Projected up to here without a gap: every document carries at least the changes up to this number. */
  mark(): Promise<number>;
  /**
   * Brings the documents up to `revision`: never over a newer `rev`, deletes leave `{_id, rev, deleted: true}`.
   * First projects everything between the mark and it, as the log has it, then advances the mark; safe to repeat,
   * to race, and to call for a revision that lost its number.
   */
  project(revision: Revision): Promise<void>;
  /** Reads the mark, then the documents of `kind`, tombstones included. */
  load(kind: Kind): Promise<Loaded>;
  /** Drops revisions up to and with `seq` (never beyond the mark) and tombstones that are older. */
  trim(seq: number): Promise<void>;
  readonly live: LiveStore;
  /** Whether the last call reached the store; false does not keep the next call from trying. */
  readonly reachable: boolean;
  close(): Promise<void>;
}

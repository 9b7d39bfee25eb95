/** Where a conformance test has its store, and short ways to write revisions. */
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { Kind } from '../model/kinds.ts';
import type { Change, Revision } from '../model/revision.ts';
import type { Head, Store } from './contract.ts';
import type { RecordStore, RecordStoreOptions } from './record-store.ts';

/** An empty store of one test. */
export interface Place {
  /** Tells `conformance-process.ts` which store to open. */
  readonly address: PlaceAddress;
  /** Opens it once more; all are closed at the end of the test. */
  open(options?: RecordStoreOptions): Promise<RecordStore>;
  /** What people do with other tools, behind the store's back. `id` and `document` may be anything. */
  edit(collection: string, id: unknown, document: Readonly<Record<string, unknown>> | null): Promise<void>;
  /** All ids in a collection. */
  keys(collection: string): Promise<unknown[]>;
}

export type PlaceAddress =
  | { readonly type: 'embedded'; readonly folder: string }
  | { readonly type: 'mongodb'; readonly url: string };

/** Runs a test on an empty store. */
export type OnStore = (title: string, body: (place: Place) => Promise<void>) => void;

export interface Adapter {
  readonly name: string;
  /** An empty store, and how to leave nothing of it. */
  place(): Promise<{ readonly place: Place; dispose(): Promise<void> }>;
}

export function onStoreOf(adapter: Adapter): OnStore {
  return (title, body) => {
    test(`${adapter.name}: ${title}`, async () => {
      const { place, dispose } = await adapter.place();
      try {
        await body(place);
      } finally {
        await dispose();
      }
    });
  };
}

/** The head of an empty log. */
export const NOTHING: Head = { seq: 0, id: '' };

/** Something changed: `change('rule', 'a', {…})`; null deletes. */
export function change(kind: Kind, name: string, doc: Record<string, unknown> | null): Change {
  return { kind, name, doc };
}

/** The revision after `previous`. */
export function revisionAfter(previous: Head, ...changes: readonly Change[]): Revision {
  return {
    seq: previous.seq + 1,
    id: randomBytes(8).toString('hex'),
    previous: previous.id,
    store: 'test',
    at: 1_700_000_000_000,
    author: 'test',
    message: '',
    changes,
  };
}

/** Appends and projects one revision with `changes` at the head; for tests that are alone with their store. */
export async function commit(store: Store, ...changes: readonly Change[]): Promise<Revision> {
  const revision = revisionAfter(await store.head(), ...changes);
  if ((await store.append(revision)) !== 'appended') throw new Error(`revision ${revision.seq} was taken`);
  await store.project(revision);
  return revision;
}

/** `[name, rev, doc]` of each document; tombstones have null for a doc. */
export async function documentsOf(store: Store, kind: Kind): Promise<[string, number | null, unknown][]> {
  const { documents } = await store.load(kind);
  return documents.map(({ name, rev, deleted, doc }) => [name, rev, deleted ? null : doc]);
}

/** The collections of a store, by the names that people see in a MongoDB client. */
import { KontrolError } from '../errors.ts';
import { COLLECTIONS, type Kind } from '../model/kinds.ts';
import type { LiveCollection } from './contract.ts';
import type { Table } from './records.ts';

/** `{_id: seq, id, previous, …}`; the random `id` tells whose revision it is. */
export const REVISIONS: Table = { name: 'revisions', version: 'version', token: 'id' };
/** `{_id: "<seq>/<revision id>/<n>", text}`: the changes of revisions that are larger than a document may be. */
export const REVISION_PARTS: Table = { name: 'revisionParts', version: 'version', token: null };
/** `store` (its identity) and `mark` (projected up to `seq`). */
export const META: Table = { name: 'meta', version: 'seq', token: null };

const DOCUMENTS = new Map<Kind, Table>(
  (Object.keys(COLLECTIONS) as Kind[]).map((kind) => [
    kind,
    { name: COLLECTIONS[kind], version: 'rev', token: null },
  ]),
);

// `w` is a random value, new with every write: it tells after a broken connection whether a write took hold.
const LIVE = new Map<LiveCollection, Table>(
  (
    [
      'members',
      'workers',
      'leases',
      'claims',
      'nodes',
      'tokens',
      'users',
      'sessions',
      'secrets',
      'counters',
      'confirmations',
      'alerts',
    ] as const
  ).map((name) => [name, { name, version: 'v', token: 'w' }]),
);

/** The collection of a kind. An unknown kind, which only plain JavaScript can pass, throws. */
export function documentTable(kind: Kind): Table {
  const table = DOCUMENTS.get(kind);
  if (table === undefined)
    throw new KontrolError('invalid', `There is no kind of object called ${String(kind)}`);
  return table;
}

export function liveTable(collection: LiveCollection): Table {
  const table = LIVE.get(collection);
  if (table === undefined)
    throw new KontrolError('invalid', `There is no live collection ${String(collection)}`);
  return table;
}

const MAX_ID_BYTES = 1_500;

/**
 * Whether this is a plain string that every store can have as an id: an object could be taken for a query operator,
 * and strings with zero bytes or half surrogates are not kept apart by all of them.
 */
export function isId(id: unknown): id is string {
  if (typeof id !== 'string' || id === '') return false;
  return Buffer.byteLength(id) <= MAX_ID_BYTES && !/[\0\p{Surrogate}]/u.test(id);
}

export function checkedId(id: unknown): string {
  if (isId(id)) return id;
  throw new KontrolError('invalid', `An id is a string of 1 to ${MAX_ID_BYTES} bytes without zero bytes`);
}

/** Refuses anything but a whole number from `least` on. */
export function checkedSeq(seq: unknown, least: number): number {
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < least)
    throw new KontrolError('invalid', `A revision number is a whole number from ${least} on`);
  return seq;
}

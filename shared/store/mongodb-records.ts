/**
 * Records in a MongoDB, by the official driver: with nothing but inserts, replaces and deletes of one document by
 * `_id` and one equal field. A write that broke off is repeated, and read back by its token.
 */
import { randomBytes } from 'node:crypto';
import {
  type AnyBulkWriteOperation,
  BSON,
  type Collection,
  type Filter,
  MongoClient,
  MongoTopologyClosedError,
} from 'mongodb';
import { KontrolError } from '../errors.ts';
import { fromBson, toBson, toRecord } from './mongodb-codec.ts';
import { failureOf, isFailure, LateError, storeError } from './mongodb-errors.ts';
import {
  ABSENT,
  ANY,
  type Deadline,
  type Fields,
  type NumberedRecord,
  type Records,
  type Removal,
  type StoredRecord,
  type Table,
  type Version,
  type Write,
} from './records.ts';

type Id = string | number;
interface Stored {
  _id: Id;
  [field: string]: unknown;
}

/** Of 16 MB, with room for the id and the version. */
const MAX_DOCUMENT_BYTES = 16_000_000;
const FIRST_PAUSE_MS = 20;
const SELECTION_MS = 3_000;
const SOCKET_MS = 4_000;

/** `unsure`: an earlier attempt of the same call broke off, and may have been done. */
type Attempt<T> = (unsure: boolean) => Promise<T>;

export class MongoRecords implements Records {
  readonly #connect: () => MongoClient;
  #client: MongoClient;
  #closed = false;
  readonly #database: string;
  readonly #redact: (text: string) => string;

  /** Does not connect: each call does, until one succeeds. Throws when `url` is not one. */
  constructor(url: string) {
    this.#redact = redactor(url);
    this.#database = databaseOf(url);
    try {
      this.#connect = () =>
        new MongoClient(url, {
          appName: 'kontrol',
          serverSelectionTimeoutMS: SELECTION_MS,
          connectTimeoutMS: SELECTION_MS,
          waitQueueTimeoutMS: SELECTION_MS,
          socketTimeoutMS: SOCKET_MS,
          maxPoolSize: 20,
          // Both are done here, within the time of the call and with the outcome read back.
          retryReads: false,
          retryWrites: false,
          writeConcern: { w: 'majority', wtimeoutMS: SELECTION_MS },
          readPreference: 'primary',
          ignoreUndefined: true,
          // Text that somebody stored in another encoding must not make its whole collection unreadable.
          enableUtf8Validation: false,
        });
      this.#client = this.#connect();
    } catch (error) {
      const reason = this.#redact(error instanceof Error ? error.message : String(error));
      throw new KontrolError('cannot_start', `MONGO_URL cannot be used: ${reason}`);
    }
  }

  async get(table: Table, id: string, deadline: Deadline): Promise<StoredRecord | null> {
    const found = await this.#read(deadline, () => this.#collection(table).findOne({ _id: id }));
    return found === null ? null : toRecord(table, found);
  }

  async list(table: Table, prefix: string, deadline: Deadline): Promise<StoredRecord[]> {
    const filter = prefix === '' ? {} : { _id: { $gte: prefix, $lt: `${prefix}\u{10ffff}` } };
    const found = await this.#read(deadline, () =>
      this.#collection(table)
        .find(filter as Filter<Stored>)
        .sort({ _id: 1 })
        .toArray(),
    );
    return found.map((document) => toRecord(table, document)).filter(({ id }) => id.startsWith(prefix));
  }

  async versions(table: Table, ids: readonly string[], deadline: Deadline): Promise<Map<string, Version>> {
    const projection = { [table.version]: 1 };
    const found = await this.#read(deadline, () =>
      this.#collection(table)
        .find({ _id: { $in: [...ids] } }, { projection })
        .toArray(),
    );
    return new Map(found.map((document) => [String(document._id), document[table.version]]));
  }

  async write(table: Table, write: Write, deadline: Deadline): Promise<boolean> {
    const collection = this.#collection(table);
    const token = table.token === null ? null : randomBytes(9).toString('base64url');
    const document = stored(table, write, token);
    return this.#write(deadline, async (unsure) => {
      if (write.expected === ABSENT) {
        if (await inserted(collection, document)) return true;
      } else {
        const { matchedCount } = await collection.replaceOne(
          withVersion(table, write.id, write.expected),
          document,
        );
        if (matchedCount === 1) return true;
      }
      return unsure && (await this.#tookHold(table, write, token));
    });
  }

  async writeMany(table: Table, writes: readonly Write[], deadline: Deadline): Promise<number> {
    const operations = writes.map((write): AnyBulkWriteOperation<Stored> => {
      const document = stored(table, write, null);
      if (write.expected === ABSENT) return { insertOne: { document } };
      return { replaceOne: { filter: withVersion(table, write.id, write.expected), replacement: document } };
    });
    return this.#write(deadline, async () => {
      try {
        const result = await this.#collection(table).bulkWrite(operations, { ordered: false });
        return result.insertedCount + result.matchedCount;
      } catch (error) {
        // Others inserted some of them first; the caller looks which.
        if (failureOf(error) === 'duplicate') return 0;
        throw error;
      }
    });
  }

  remove(table: Table, { id, expected }: Removal, deadline: Deadline): Promise<boolean> {
    return this.#write(deadline, async (unsure) => {
      const { deletedCount } = await this.#collection(table).deleteOne(withVersion(table, id, expected));
      if (deletedCount === 1) return true;
      if (!unsure) return false;
      // Gone is all that was asked for, or else it is not known who removed it.
      if (expected === ANY) return true;
      if ((await this.#collection(table).findOne({ _id: id })) !== null) return false;
      throw new KontrolError('outcome_unknown', 'MongoDB broke off while removing; the document is gone');
    });
  }

  async removeMany(table: Table, removals: readonly Removal[], deadline: Deadline): Promise<void> {
    const operations = removals.map(
      ({ id, expected }): AnyBulkWriteOperation<Stored> => ({
        deleteOne: { filter: withVersion(table, id, expected) },
      }),
    );
    await this.#write(deadline, () => this.#collection(table).bulkWrite(operations, { ordered: false }));
  }

  async tombstones(table: Table, upTo: number, limit: number, deadline: Deadline): Promise<Removal[]> {
    const filter = { deleted: true, [table.version]: { $gt: 0, $lte: upTo } };
    const found = await this.#read(deadline, () =>
      this.#collection(table)
        .find(filter as Filter<Stored>, { projection: { [table.version]: 1 }, limit })
        .toArray(),
    );
    return found.map((document) => ({ id: document._id, expected: document[table.version] }));
  }

  async idsBefore<I extends Id>(table: Table, before: I, limit: number, deadline: Deadline): Promise<I[]> {
    const found = await this.#read(deadline, () =>
      this.#collection(table)
        .find({ _id: { $lt: before } } as Filter<Stored>, { projection: { _id: 1 }, limit })
        .toArray(),
    );
    return found.map(({ _id }) => _id as I).filter((id) => typeof id === typeof before);
  }

  async insertNumbered(table: Table, seq: number, fields: Fields, deadline: Deadline): Promise<boolean> {
    const document: Stored = { _id: seq, ...(toBson(fields) as Fields) };
    return this.#write(deadline, async () => {
      const collection = this.#collection(table);
      if (await inserted(collection, document)) return true;
      if (table.token === null) return false;
      // Its token tells whose it is: also our own, from an attempt that broke off. While that cannot be read it may
      // be ours: a part of the write, then, whose outcome is unknown.
      const projection = { [table.token]: 1 };
      const found = await collection.findOne({ _id: seq }, { projection });
      return found !== null && tokenIn(table, found) === fields[table.token];
    });
  }

  async numbered(
    table: Table,
    after: number,
    limit: number,
    bytes: number,
    deadline: Deadline,
  ): Promise<NumberedRecord[]> {
    return this.#read(deadline, async () => {
      const filter = { _id: { $gt: after } } as Filter<Stored>;
      const cursor = this.#collection(table).find(filter, { raw: true, sort: { _id: 1 }, limit });
      const records: NumberedRecord[] = [];
      let total = 0;
      try {
        for await (const document of cursor) {
          const bson = document as unknown as Buffer;
          const { _id, ...rest } = BSON.deserialize(bson, { validation: { utf8: false } });
          if (!Number.isSafeInteger(_id)) continue;
          records.push({ seq: _id, fields: fromBson(rest) as Fields, bytes: bson.length });
          total += bson.length;
          if (total > bytes) break;
        }
      } finally {
        await cursor.close();
      }
      return records;
    });
  }

  async next(table: Table, after: number, deadline: Deadline): Promise<number | null> {
    return (await this.#end(table, { $gt: after }, 1, deadline))?.seq ?? null;
  }

  last(table: Table, deadline: Deadline): Promise<{ seq: number; token: string } | null> {
    return this.#end(table, { $gt: 0 }, -1, deadline);
  }

  async tokenOf(table: Table, seq: number, deadline: Deadline): Promise<string | null> {
    const projection = { [table.token ?? '_id']: 1 };
    const found = await this.#read(deadline, () =>
      this.#collection(table).findOne({ _id: seq }, { projection }),
    );
    return found === null ? null : tokenIn(table, found);
  }

  fits(fields: Fields): boolean {
    return BSON.calculateObjectSize(toBson(fields) as Stored) <= MAX_DOCUMENT_BYTES;
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#client.close();
  }

  /** The first number in one direction; ids that are no whole numbers were made by hand and are passed over. */
  async #end(table: Table, range: { $gt: number; $lt?: number }, direction: 1 | -1, deadline: Deadline) {
    for (let bounds = range; ; ) {
      const found = await this.#read(deadline, () =>
        this.#collection(table).findOne({ _id: bounds } as Filter<Stored>, {
          sort: { _id: direction },
          projection: { [table.token ?? '_id']: 1 },
        }),
      );
      if (found === null || typeof found._id !== 'number') return null;
      if (Number.isSafeInteger(found._id)) return { seq: found._id, token: tokenIn(table, found) };
      bounds = direction === 1 ? { ...bounds, $gt: found._id } : { ...bounds, $lt: found._id };
    }
  }

  #collection({ name }: Table): Collection<Stored> {
    return this.#client.db(this.#database).collection<Stored>(name);
  }

  /** After a write with an unknown outcome found nothing to do: was it the earlier attempt that did it? */
  async #tookHold(table: Table, write: Write, token: string | null): Promise<boolean> {
    // Without a token the caller looks at what is there by itself.
    if (table.token === null) return false;
    const found = await this.#collection(table).findOne({ _id: write.id });
    if (found !== null && found[table.token] === token) return true;
    if (found !== null && found[table.version] === write.version) return false;
    throw new KontrolError(
      'outcome_unknown',
      'MongoDB broke off while writing; the document changed again since',
    );
  }

  #read<T>(deadline: Deadline, work: () => Promise<T>): Promise<T> {
    return this.#attempt(deadline, work, false);
  }

  #write<T>(deadline: Deadline, work: Attempt<T>): Promise<T> {
    return this.#attempt(deadline, work, true);
  }

  /**
   * A client whose first connects failed side by side keeps a closed topology for ever (driver 7.8): the next call
   * gets a new one.
   */
  #renew(used: MongoClient): void {
    if (this.#closed || this.#client !== used) return;
    this.#client = this.#connect();
    used.close().catch(() => {});
  }

  async #attempt<T>(deadline: Deadline, work: Attempt<T>, writes: boolean): Promise<T> {
    let unsure = false;
    for (let pause = FIRST_PAUSE_MS; ; pause *= 2) {
      // The driver would connect anew, and nobody would close that.
      if (this.#closed) throw new KontrolError('store_unavailable', 'The store is closed');
      const client = this.#client;
      try {
        return await deadline.race(work(unsure), () => new LateError('it took too long'));
      } catch (error) {
        // Neither the driver's nor out of time: a mistake of ours, or an answer already.
        if (!isFailure(error)) throw error;
        if (error instanceof MongoTopologyClosedError) this.#renew(client);
        const failure = failureOf(error);
        unsure ||= writes && (failure === 'broken' || failure === 'late');
        const again = failure === 'broken' || failure === 'again';
        if (!again || deadline.remaining < 2 * pause) throw storeError(error, unsure, this.#redact);
      }
      await deadline.pause(pause);
    }
  }
}

function stored(table: Table, write: Write, token: string | null): Stored {
  const document: Stored = {
    _id: write.id,
    [table.version]: write.version,
    ...(toBson(write.fields) as Fields),
  };
  if (table.token !== null && token !== null) document[table.token] = token;
  // Some servers close the connection instead of saying so.
  if (BSON.calculateObjectSize(document) > MAX_DOCUMENT_BYTES)
    throw new KontrolError('too_large', 'A document of MongoDB holds at most 16 MB; make it smaller');
  return document;
}

/** Matches the document if it has the version that was read; a field that is missing equals null. */
function withVersion(table: Table, id: Id, expected: Version): Filter<Stored> {
  if (expected === ANY) return { _id: id };
  return { _id: id, [table.version]: { $eq: expected ?? null } } as Filter<Stored>;
}

async function inserted(collection: Collection<Stored>, document: Stored): Promise<boolean> {
  try {
    await collection.insertOne(document);
    return true;
  } catch (error) {
    if (failureOf(error) === 'duplicate') return false;
    throw error;
  }
}

function tokenIn(table: Table, document: Stored): string {
  const token = table.token === null ? undefined : document[table.token];
  return typeof token === 'string' ? token : '';
}

function databaseOf(url: string): string {
  const path = /^mongodb(?:\+srv)?:\/\/[^/]+\/([^?]+)/.exec(url)?.[1];
  return path === undefined ? 'kontrol' : decodeURIComponent(path);
}

/** Takes user and password of the URL out of messages. */
function redactor(url: string): (text: string) => string {
  const credentials = /^[^/]*\/\/([^@/]*)@/.exec(url)?.[1];
  const secrets = [
    url,
    ...(credentials === undefined ? [] : [credentials, ...credentials.split(':').slice(1)]),
  ]
    .flatMap((secret) => [secret, decoded(secret)])
    .filter((secret) => secret !== '');
  return (text) => secrets.reduce((shown, secret) => shown.replaceAll(secret, '***'), text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

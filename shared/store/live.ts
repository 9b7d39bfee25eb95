/** Live documents on top of records: inserted once, then changed by compare-and-set on `v`. */
import { KontrolError } from '../errors.ts';
import type { LiveCollection, LiveDocument, LiveStore } from './contract.ts';
import {
  ABSENT,
  ANY,
  asRead,
  type Deadline,
  type Fields,
  isVersion,
  type Records,
  type StoredRecord,
  type Table,
  type Version,
} from './records.ts';
import { checkedId, liveTable } from './tables.ts';

type Run = <T>(work: (deadline: Deadline) => Promise<T>) => Promise<T>;

export class LiveRecords implements LiveStore {
  readonly #records: Records;
  readonly #run: Run;

  constructor(records: Records, run: Run) {
    this.#records = records;
    this.#run = run;
  }

  async insert(collection: LiveCollection, id: string, fields: Fields): Promise<boolean> {
    const write = { id: checkedId(id), expected: ABSENT, version: 1, fields: ownFields(fields) };
    const table = liveTable(collection);
    return this.#run((deadline) => this.#records.write(table, write, deadline));
  }

  async get(collection: LiveCollection, id: string): Promise<LiveDocument | null> {
    const table = liveTable(collection);
    checkedId(id);
    const record = await this.#run((deadline) => this.#records.get(table, id, deadline));
    return record === null ? null : liveDocument(record);
  }

  async list(collection: LiveCollection, prefix = ''): Promise<LiveDocument[]> {
    const table = liveTable(collection);
    if (prefix !== '') checkedId(prefix);
    const records = await this.#run((deadline) => this.#records.list(table, prefix, deadline));
    return records.map(liveDocument);
  }

  async replace(collection: LiveCollection, id: string, expected: number, fields: Fields): Promise<boolean> {
    const version = checkedVersion(expected) + 1;
    const table = liveTable(collection);
    checkedId(id);
    return this.#run(async (deadline) => {
      const compared = await this.#comparable(table, id, expected, deadline);
      if (compared === undefined) return false;
      const write = { id, expected: compared.version, version, fields: ownFields(fields) };
      return this.#records.write(table, write, deadline);
    });
  }

  async put(collection: LiveCollection, id: string, fields: Fields): Promise<void> {
    const table = liveTable(collection);
    checkedId(id);
    await this.#run(async (deadline) => {
      for (;;) {
        deadline.check();
        const record = await this.#records.get(table, id, deadline);
        const version = isVersion(record?.version) ? record.version + 1 : 1;
        const write = { id, expected: asRead(record), version, fields: ownFields(fields) };
        if (await this.#records.write(table, write, deadline)) return;
      }
    });
  }

  async delete(collection: LiveCollection, id: string, expected?: number): Promise<boolean> {
    const table = liveTable(collection);
    checkedId(id);
    if (expected === undefined)
      return this.#run((deadline) => this.#records.remove(table, { id, expected: ANY }, deadline));
    checkedVersion(expected);
    return this.#run(async (deadline) => {
      const compared = await this.#comparable(table, id, expected, deadline);
      if (compared === undefined) return false;
      return this.#records.remove(table, { id, expected: compared.version }, deadline);
    });
  }

  /** The version to compare with; 0 stands for whatever somebody wrote by hand instead of one. */
  async #comparable(
    table: Table,
    id: string,
    expected: number,
    deadline: Deadline,
  ): Promise<{ readonly version: Version } | undefined> {
    if (expected > 0) return { version: expected };
    const record = await this.#records.get(table, id, deadline);
    return record === null || isVersion(record.version) ? undefined : { version: record.version };
  }
}

/** Without the store's own fields, which are there when somebody spreads a document that was read. */
function ownFields(fields: Fields): Fields {
  const { _id, v, w, ...own } = fields;
  return own;
}

function liveDocument(record: StoredRecord): LiveDocument {
  return { ...record.fields, _id: record.id, v: isVersion(record.version) ? record.version : 0 };
}

/** 0 stands for a document without a valid `v`, which was written by hand. */
function checkedVersion(version: unknown): number {
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 0)
    throw new KontrolError('invalid', 'The expected version is a whole number');
  return version;
}

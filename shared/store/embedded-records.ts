/**
 * Records in an LMDB folder that several processes of one machine open together. What is acknowledged is on disk;
 * no process that is killed, stopped or out of disk space harms another one's.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { IF_EXISTS, open, type RootDatabase } from 'lmdb';
import { KontrolError } from '../errors.ts';
import {
  ABSENT,
  ANY,
  Deadline,
  type Fields,
  isVersion,
  type NumberedRecord,
  type Records,
  type Removal,
  type StoredRecord,
  type Table,
  type Version,
  type Write,
} from './records.ts';

const CLOSE_MS = 4_000;

type Key = [table: string, id: string | number];

/** The one way to open the folder: every process has to use the same options. */
export function openDatabase(folder: string): RootDatabase<string, Key> {
  return open<string, Key>(folder, {
    // A folder, even if its name has a dot in it.
    noSubdir: false,
    encoding: 'string',
    useVersions: true,
    // With the default, kill -9 of one process makes the next commit of another fail, and acknowledged writes are lost.
    overlappingSync: false,
  });
}

export class EmbeddedRecords implements Records {
  readonly #db: RootDatabase<string, Key>;
  readonly #release: () => Promise<void>;
  /** The data file as it was opened: its path, device and number. */
  readonly #file: { readonly path: string; readonly identity: string | null };
  #closed = false;
  #last: { readonly seq: number; readonly token: string } | null = null;

  /** `release` is called once the folder is closed. */
  constructor(folder: string, release: () => Promise<void>) {
    this.#release = release;
    this.#db = openDatabase(folder);
    const path = join(folder, 'data.mdb');
    this.#file = { path, identity: identityOf(path) };
    this.checkReaders();
  }

  /** Frees what readers of killed processes hold; else the file grows with each write. */
  checkReaders(): void {
    if (!this.#closed) this.#db.readerCheck();
  }

  async get(table: Table, id: string): Promise<StoredRecord | null> {
    const entry = this.#entry([table.name, id]);
    return entry === undefined ? null : { id, version: entry.version ?? 0, fields: parsed(entry.value) };
  }

  async list(table: Table, prefix: string): Promise<StoredRecord[]> {
    const records: StoredRecord[] = [];
    for (const { key, value, version } of this.#range([table.name, prefix])) {
      const id = key[1];
      if (key[0] !== table.name || typeof id !== 'string' || !id.startsWith(prefix)) break;
      records.push({ id, version: version ?? 0, fields: parsed(value) });
    }
    return records;
  }

  async versions(table: Table, ids: readonly string[]): Promise<Map<string, Version>> {
    this.#db.resetReadTxn();
    const versions = new Map<string, Version>();
    for (const id of ids) {
      const entry = this.#db.getEntry([table.name, id]);
      if (entry !== undefined) versions.set(id, entry.version ?? 0);
    }
    return versions;
  }

  async write(table: Table, write: Write, deadline: Deadline): Promise<boolean> {
    this.#ensureInPlace();
    return this.#durable(this.#put(table, write), deadline);
  }

  async writeMany(table: Table, writes: readonly Write[], deadline: Deadline): Promise<number> {
    this.#ensureInPlace();
    // Queued in one turn of the event loop, they are committed together.
    const all = Promise.all(writes.map((write) => this.#put(table, write)));
    return (await this.#durable(all, deadline)).filter((held) => held).length;
  }

  async remove(table: Table, removal: Removal, deadline: Deadline): Promise<boolean> {
    this.#ensureInPlace();
    return this.#durable(this.#remove(table, removal), deadline);
  }

  async removeMany(table: Table, removals: readonly Removal[], deadline: Deadline): Promise<void> {
    this.#ensureInPlace();
    await this.#durable(Promise.all(removals.map((removal) => this.#remove(table, removal))), deadline);
  }

  async tombstones(table: Table, upTo: number, limit: number): Promise<Removal[]> {
    const found: Removal[] = [];
    for (const { key, value, version } of this.#range([table.name, ''])) {
      if (key[0] !== table.name || found.length === limit) break;
      if (!isVersion(version) || version > upTo || !value.startsWith('{"deleted":true')) continue;
      found.push({ id: key[1], expected: version });
    }
    return found;
  }

  async idsBefore<I extends string | number>(table: Table, before: I, limit: number): Promise<I[]> {
    this.#db.resetReadTxn();
    const start: Key = [table.name, typeof before === 'number' ? 0 : ''];
    const keys = this.#db.getKeys({ start, end: [table.name, before], limit });
    return [...keys].map((key) => key[1] as I);
  }

  async insertNumbered(table: Table, seq: number, fields: Fields, deadline: Deadline): Promise<boolean> {
    this.#ensureInPlace();
    const key: Key = [table.name, seq];
    const held = await this.#durable(this.#db.put(key, JSON.stringify(fields), 1, null as never), deadline);
    if (held) return true;
    return table.token !== null && (await this.tokenOf(table, seq)) === fields[table.token];
  }

  async numbered(table: Table, after: number, limit: number, bytes: number): Promise<NumberedRecord[]> {
    const records: NumberedRecord[] = [];
    let total = 0;
    for (const { key, value } of this.#range([table.name, after + 1])) {
      const seq = key[1];
      if (key[0] !== table.name || typeof seq !== 'number') break;
      records.push({ seq, fields: parsed(value), bytes: value.length });
      total += value.length;
      if (records.length === limit || total > bytes) break;
    }
    return records;
  }

  async next(table: Table, after: number): Promise<number | null> {
    this.#db.resetReadTxn();
    const end: Key = [table.name, Number.POSITIVE_INFINITY];
    for (const key of this.#db.getKeys({ start: [table.name, after + 1], end, limit: 1 }))
      return Number(key[1]);
    return null;
  }

  async last(table: Table): Promise<{ seq: number; token: string } | null> {
    this.#ensureInPlace();
    this.#db.resetReadTxn();
    const start: Key = [table.name, Number.POSITIVE_INFINITY];
    for (const key of this.#db.getKeys({ start, end: [table.name, 0], reverse: true, limit: 1 })) {
      const seq = Number(key[1]);
      // Numbers are never written twice, and this one is asked for all the time.
      if (this.#last?.seq !== seq) this.#last = { seq, token: (await this.tokenOf(table, seq)) ?? '' };
      return this.#last;
    }
    return null;
  }

  async tokenOf(table: Table, seq: number): Promise<string | null> {
    const entry = this.#entry([table.name, seq]);
    if (entry === undefined || table.token === null) return null;
    const token = parsed(entry.value)[table.token];
    return typeof token === 'string' ? token : '';
  }

  fits(): boolean {
    return true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    // Waits for writes in flight, which another process that was stopped may hold up for ever.
    const timeout = new Deadline(CLOSE_MS);
    await timeout.race(this.#db.close(), () => new Error('locked')).catch(() => {});
    await this.#release();
  }

  /** What is written to a file that was deleted is gone with the process, however well it was acknowledged. */
  #ensureInPlace(): void {
    const { path, identity } = this.#file;
    if (identityOf(path) === identity) return;
    const message = `${path} was removed or replaced while it was open: put it back if you can, then restart Kontrol`;
    throw new KontrolError('store_unavailable', message);
  }

  /** What other processes wrote is seen only by a read transaction that begins after it. */
  #entry(key: Key): { value: string; version?: number } | undefined {
    this.#db.resetReadTxn();
    return this.#db.getEntry(key);
  }

  #range(start: Key): Iterable<{ key: Key; value: string; version?: number }> {
    this.#db.resetReadTxn();
    return this.#db.getRange({ start, versions: true }) as Iterable<{
      key: Key;
      value: string;
      version?: number;
    }>;
  }

  #put(table: Table, { id, expected, version, fields }: Write): Promise<boolean> {
    // The type does not know that null stands for "does not exist".
    const condition = (expected === ABSENT ? null : comparable(expected)) as number;
    return this.#db.put([table.name, id], JSON.stringify(fields), version, condition);
  }

  #remove(table: Table, { id, expected }: Removal): Promise<boolean> {
    return this.#db.remove([table.name, id], comparable(expected));
  }

  /** The outcome of a write once it is on disk. */
  async #durable<T>(write: Promise<T>, deadline: Deadline): Promise<T> {
    const late = (): Error =>
      new KontrolError(
        'outcome_unknown',
        'Another process holds the lock of the embedded store; is one stopped?',
      );
    try {
      const outcome = await deadline.race(write, late);
      // A commit may be visible before it is on disk. One after it that fails is not ours.
      await deadline.race(
        Promise.resolve(this.#db.flushed).catch(() => {}),
        late,
      );
      return outcome;
    } catch (error) {
      if (error instanceof KontrolError) throw error;
      return commitFailure(error);
    }
  }
}

/** Null when it cannot be seen any more, whyever. */
function identityOf(path: string): string | null {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return null;
  }
}

/** A failed commit has written nothing; why it failed comes in a promise of its own. */
async function commitFailure(error: unknown): Promise<never> {
  const { commitError } = error as { commitError?: PromiseLike<unknown> };
  const cause = await Promise.resolve(commitError).then(
    () => error,
    (reason: unknown) => reason,
  );
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `The embedded store could not write (${reason}); is the disk full?`;
  throw new KontrolError('store_unavailable', message, [], { cause: error });
}

/** `IF_EXISTS` compares nothing, and fails when there is nothing. */
function comparable(expected: Version | typeof ANY): number {
  return expected === ANY ? IF_EXISTS : Number(expected);
}

function parsed(value: string): Fields {
  const fields: unknown = JSON.parse(value);
  return typeof fields === 'object' && fields !== null ? (fields as Fields) : {};
}

/**
 * What an adapter brings: collections of records with a version each, changed one at a time by comparing that
 * version. Everything a `Store` promises beyond it is built on these few operations once, for all adapters.
 *
 * Every operation takes a `Deadline` and rejects with KontrolError `store_unavailable` (nothing was written) or
 * `outcome_unknown`.
 */
import { type Clock, systemClock } from '../clock.ts';
import { KontrolError } from '../errors.ts';

/** The end of a call of the store, on a clock that never goes back. */
export class Deadline {
  readonly #clock: Clock;
  readonly #end: number;

  constructor(ms: number, clock: Clock = systemClock) {
    this.#clock = clock;
    this.#end = clock.monotonic() + ms;
  }

  /** Milliseconds left, never negative. */
  get remaining(): number {
    return Math.max(0, this.#end - this.#clock.monotonic());
  }

  /** Throws when the time is over; called right before each write of a longer piece of work. */
  check(): void {
    if (this.remaining > 0) return;
    throw new KontrolError('store_unavailable', 'The store did not finish in time; try again');
  }

  /** Waits for `ms`, or until the time is over. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(Math.min(ms, this.remaining), resolve);
    });
  }

  /** `promise`, or what `late` makes of a time-out; the promise itself runs on and is forgotten. */
  async race<T>(promise: PromiseLike<T>, late: () => Error): Promise<T> {
    let cancel: () => void = () => {};
    const timeout = new Promise<never>((_, reject) => {
      cancel = this.#clock.after(this.remaining, () => reject(late()));
    });
    try {
      return await Promise.race([promise, timeout]);
    } finally {
      cancel();
    }
  }
}

/**
 * A collection. `version` is the field that holds the version of its records; `token` one whose random value tells
 * whose write a record is, so that a write with an unknown outcome can be read back.
 */
export interface Table {
  readonly name: string;
  readonly version: string;
  readonly token: string | null;
}

/** As read; whatever somebody wrote by hand may be in it, so it is compared but never trusted. */
export type Version = unknown;

export type Fields = Readonly<Record<string, unknown>>;

export interface StoredRecord {
  readonly id: string;
  readonly version: Version;
  /** Without the id and the version. Plain JSON, whatever was stored. */
  readonly fields: Fields;
}

/** A record under a number. */
export interface NumberedRecord {
  readonly seq: number;
  readonly fields: Fields;
  /** About how many bytes it takes. */
  readonly bytes: number;
}

/** Insert when `expected` is `ABSENT`, else replace the record that is there, if it has that version (or `ANY`). */
export interface Write {
  readonly id: string;
  readonly expected: Version | typeof ABSENT | typeof ANY;
  readonly version: number;
  readonly fields: Fields;
}
export const ABSENT = Symbol('absent');

export interface Removal {
  readonly id: string | number;
  readonly expected: Version | typeof ANY;
}
export const ANY = Symbol('any version');

export interface Records {
  get(table: Table, id: string, deadline: Deadline): Promise<StoredRecord | null>;
  /** Records whose id is a string that begins with `prefix`, in order of id; with '' those with another id too. */
  list(table: Table, prefix: string, deadline: Deadline): Promise<StoredRecord[]>;
  /** The versions of those of `ids` that exist. */
  versions(table: Table, ids: readonly string[], deadline: Deadline): Promise<Map<string, Version>>;
  /** True when the condition held and the record is written, durably. */
  write(table: Table, write: Write, deadline: Deadline): Promise<boolean>;
  /** Many of them, in any order, each by itself; answers how many held. */
  writeMany(table: Table, writes: readonly Write[], deadline: Deadline): Promise<number>;
  /** True when the record was there with that version and is gone. */
  remove(table: Table, removal: Removal, deadline: Deadline): Promise<boolean>;
  removeMany(table: Table, removals: readonly Removal[], deadline: Deadline): Promise<void>;
  /** At most `limit` records with `deleted: true` and a version up to and with `upTo`. */
  tombstones(table: Table, upTo: number, limit: number, deadline: Deadline): Promise<Removal[]>;
  /** At most `limit` ids that sort before `before`, which is of their type. */
  idsBefore<I extends string | number>(
    table: Table,
    before: I,
    limit: number,
    deadline: Deadline,
  ): Promise<I[]>;

  /** Inserts under a number; false when another record (told apart by the table's token) has it. */
  insertNumbered(table: Table, seq: number, fields: Fields, deadline: Deadline): Promise<boolean>;
  /** Numbers greater than `after`, in order: at most `limit` records, and no more after `bytes` are exceeded. */
  numbered(
    table: Table,
    after: number,
    limit: number,
    bytes: number,
    deadline: Deadline,
  ): Promise<NumberedRecord[]>;
  /** The smallest number greater than `after`; null when there is none. */
  next(table: Table, after: number, deadline: Deadline): Promise<number | null>;
  /** The greatest number, with its token; null when the table is empty. */
  last(table: Table, deadline: Deadline): Promise<{ readonly seq: number; readonly token: string } | null>;
  /** The token under a number; null when there is none. */
  tokenOf(table: Table, seq: number, deadline: Deadline): Promise<string | null>;
  /** Whether a record with these fields can be stored. */
  fits(fields: Fields): boolean;
  close(): Promise<void>;
}

/** Whether a version read is one that this code wrote. */
export function isVersion(version: Version): version is number {
  return typeof version === 'number' && Number.isSafeInteger(version) && version > 0;
}

/**
 * What to compare with to replace `record` as it was read. What somebody wrote by hand has no version that every
 * store can compare; it is replaced as it is.
 */
export function asRead(record: StoredRecord | null): Version | typeof ABSENT | typeof ANY {
  if (record === null) return ABSENT;
  return isVersion(record.version) ? record.version : ANY;
}

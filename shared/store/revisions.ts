/**
 * The log of revisions on top of records: appended under a unique number, read in order and without a gap, and
 * larger ones in parts that are written before them.
 */
import { KontrolError } from '../errors.ts';
import { COLLECTIONS, type Kind } from '../model/kinds.ts';
import type { Change, Revision } from '../model/revision.ts';
import type { Head, Since } from './contract.ts';
import {
  ABSENT,
  ANY,
  asRead,
  type Deadline,
  type Fields,
  isVersion,
  type NumberedRecord,
  type Records,
  type Version,
} from './records.ts';
import { isId, META, REVISION_PARTS, REVISIONS } from './tables.ts';

/** Changes with more characters of JSON than this are stored in parts; a document holds 16 MB. */
const INLINE_CHARACTERS = 2_000_000;
const PART_CHARACTERS = 2_000_000;
/** `since` stops after about this many bytes, so that an answer fits into memory whatever was stored. */
const SINCE_BYTES = 16_000_000;
const REMOVED_AT_ONCE = 1_000;

const EMPTY: Head = { seq: 0, id: '' };

export class Revisions {
  readonly #records: Records;
  readonly #onStep: (step: 'parts') => void | Promise<void>;

  constructor(records: Records, onStep: (step: 'parts') => void | Promise<void>) {
    this.#records = records;
    this.#onStep = onStep;
  }

  async head(deadline: Deadline): Promise<Head> {
    const last = await this.#records.last(REVISIONS, deadline);
    return last === null ? EMPTY : { seq: last.seq, id: last.token };
  }

  /** The number of the oldest revision after `seq` that is kept; null when there is none. */
  next(seq: number, deadline: Deadline): Promise<number | null> {
    return this.#records.next(REVISIONS, seq, deadline);
  }

  async append(revision: Revision, deadline: Deadline): Promise<'appended' | 'taken'> {
    if (!(await this.#follows(revision, deadline))) return 'taken';
    const { seq, changes, ...rest } = revision;
    const text = JSON.stringify(changes);
    let fields: Fields = { ...rest, changes };
    let parts = 0;
    if (text.length > INLINE_CHARACTERS) {
      this.#checkSizes(changes);
      parts = await this.#writeParts(revision, text, deadline);
      fields = { ...rest, parts };
      await this.#onStep('parts');
      // Writers that were stopped for long may meet a log that went on, and was trimmed, beneath this number.
      deadline.check();
    }
    if (await this.#records.insertNumbered(REVISIONS, seq, fields, deadline)) return 'appended';
    const orphans = Array.from({ length: parts }, (_, n) => ({
      id: partId(seq, revision.id, n),
      expected: ANY,
    }));
    // Whatever stays of them goes with the next trim.
    if (parts > 0) await this.#records.removeMany(REVISION_PARTS, orphans, deadline).catch(() => {});
    return 'taken';
  }

  /**
   * Whether the log ends with the predecessor of `revision`. A writer that has not noticed a restored backup would
   * else leave a hole, or fill a number that was trimmed.
   */
  async #follows(revision: Revision, deadline: Deadline): Promise<boolean> {
    if (revision.seq > 1)
      return (await this.#records.tokenOf(REVISIONS, revision.seq - 1, deadline)) === revision.previous;
    const oldest = await this.next(0, deadline);
    // An attempt whose outcome was unknown may be repeated: it meets itself.
    return revision.previous === '' && (oldest === null || oldest === 1);
  }

  async since(seq: number, limit: number, deadline: Deadline): Promise<Since> {
    const rows = await this.#records.numbered(REVISIONS, seq, limit, SINCE_BYTES, deadline);
    const revisions: Revision[] = [];
    let bytes = 0;
    for (const row of rows) {
      if (row.seq !== seq + revisions.length + 1 || bytes > SINCE_BYTES) break;
      const read = await this.#read(row, deadline);
      if (read === null) break;
      revisions.push(read.revision);
      bytes += read.bytes;
    }
    if (rows.length > 0 && revisions.length === 0) return { trimmed: true };
    return { trimmed: false, revisions };
  }

  /** Drops the revisions up to and with `seq`, and their parts with them. */
  async drop(seq: number, deadline: Deadline): Promise<void> {
    await this.#dropBefore(REVISIONS, seq + 1, deadline);
    await this.#dropBefore(REVISION_PARTS, padded(seq + 1), deadline);
  }

  async #dropBefore(table: typeof REVISIONS, before: string | number, deadline: Deadline): Promise<void> {
    for (;;) {
      deadline.check();
      const ids = await this.#records.idsBefore(table, before, REMOVED_AT_ONCE, deadline);
      if (ids.length === 0) return;
      const removals = ids.map((id) => ({ id, expected: ANY }));
      await this.#records.removeMany(table, removals, deadline);
      if (ids.length < REMOVED_AT_ONCE) return;
    }
  }

  /** An object that no document holds could be appended but never projected, and would hold up all after it. */
  #checkSizes(changes: readonly Change[]): void {
    for (const { kind, name, doc } of changes)
      if (doc !== null && !this.#records.fits(doc))
        throw new KontrolError(
          'too_large',
          `The ${kind} ${name} is larger than the store takes; make it smaller`,
        );
  }

  async #writeParts(revision: Revision, text: string, deadline: Deadline): Promise<number> {
    let parts = 0;
    for (let start = 0; start < text.length; parts++) {
      let end = Math.min(text.length, start + PART_CHARACTERS);
      // Never between the halves of a surrogate pair, which would both be lost.
      if (isHighSurrogate(text.charCodeAt(end - 1)) && end < text.length) end--;
      const fields = { text: text.slice(start, end) };
      const id = partId(revision.seq, revision.id, parts);
      deadline.check();
      await this.#records.write(REVISION_PARTS, { id, expected: ABSENT, version: 1, fields }, deadline);
      start = end;
    }
    return parts;
  }

  /** Null when its parts are gone. */
  async #read(
    row: NumberedRecord,
    deadline: Deadline,
  ): Promise<{ revision: Revision; bytes: number } | null> {
    const { fields, seq } = row;
    let { bytes } = row;
    let changes: unknown = fields['changes'];
    if (typeof fields['parts'] === 'number') {
      let text = '';
      for (let n = 0; n < fields['parts']; n++) {
        const part = await this.#records.get(REVISION_PARTS, partId(seq, textOf(fields['id']), n), deadline);
        if (typeof part?.fields['text'] !== 'string') return null;
        text += part.fields['text'];
      }
      changes = parsed(text);
      bytes += text.length;
    }
    const revision = {
      seq,
      id: textOf(fields['id']),
      previous: textOf(fields['previous']),
      store: textOf(fields['store']),
      at: typeof fields['at'] === 'number' ? fields['at'] : 0,
      author: textOf(fields['author']),
      message: textOf(fields['message']),
      changes: Array.isArray(changes) ? changes.filter(isChange) : [],
      ...numbersIn(fields, 'confirmWithinMs', 'undoes'),
    };
    return { revision, bytes };
  }
}

/** `mark`: every revision up to it is in the documents. */
export class Mark {
  readonly #records: Records;
  readonly #revisions: Revisions;

  constructor(records: Records, revisions: Revisions) {
    this.#records = records;
    this.#revisions = revisions;
  }

  /**
   * A mark beyond the head says nothing (somebody restored or removed a collection): then everything that is still
   * in the log is projected once more. Revisions that are missing after the mark cannot be waited for.
   */
  async read(deadline: Deadline): Promise<number> {
    const mark = validMark((await this.#records.get(META, 'mark', deadline))?.version);
    const next = await this.#revisions.next(mark, deadline);
    if (next !== null) return next - 1;
    const head = await this.#revisions.head(deadline);
    if (mark <= head.seq) return mark;
    return ((await this.#revisions.next(0, deadline)) ?? 1) - 1;
  }

  /** Moves the mark to `seq`; never back, unless it was beyond the head. */
  async advance(seq: number, deadline: Deadline): Promise<void> {
    for (;;) {
      deadline.check();
      const record = await this.#records.get(META, 'mark', deadline);
      const mark = validMark(record?.version);
      if (mark === seq) return;
      if (mark > seq && mark <= (await this.#revisions.head(deadline)).seq) return;
      const write = { id: 'mark', expected: asRead(record), version: seq, fields: {} };
      if (await this.#records.write(META, write, deadline)) return;
    }
  }
}

function validMark(version: Version): number {
  return isVersion(version) ? version : 0;
}

function padded(seq: number): string {
  return String(seq).padStart(16, '0');
}

function partId(seq: number, id: string, part: number): string {
  return `${padded(seq)}/${id}/${part}`;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Those of `names` that are there. */
function numbersIn<K extends string>(fields: Fields, ...names: readonly K[]): { readonly [N in K]?: number } {
  const found: { [N in K]?: number } = {};
  for (const name of names) {
    const value = fields[name];
    if (typeof value === 'number') found[name] = value;
  }
  return found;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new KontrolError(
      'store_unavailable',
      'A revision in parts is not readable; restore a backup of the store',
    );
  }
}

function isChange(value: unknown): value is Change {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, name, doc } = value as Partial<Change>;
  return (
    typeof kind === 'string' &&
    Object.hasOwn(COLLECTIONS, kind as Kind) &&
    isId(name) &&
    typeof doc === 'object' &&
    !Array.isArray(doc)
  );
}

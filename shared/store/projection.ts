/**
 * Brings documents up to the log: each document carries the number of the revision that wrote it, a newer one is
 * never overwritten, and a delete leaves a tombstone, so that a slow projector cannot bring the document back. Any
 * number of projectors may race, and any of them may end in the middle.
 */
import type { Kind } from '../model/kinds.ts';
import type { Revision } from '../model/revision.ts';
import {
  ABSENT,
  ANY,
  type Deadline,
  type Fields,
  isVersion,
  type Records,
  type Version,
  type Write,
} from './records.ts';
import type { Mark, Revisions } from './revisions.ts';
import { documentTable } from './tables.ts';

const REVISIONS_AT_ONCE = 100;
const COMPARED_ROUNDS = 3;

/** Where a projector is; tests stop it there. */
export type ProjectionStep = 'documents' | 'projected';

export interface ProjectorOptions {
  /** Documents written in one go. */
  readonly batch: number;
  readonly onStep: (step: ProjectionStep) => void | Promise<void>;
}

/** The last state of one object within a range of revisions. */
interface Target {
  readonly seq: number;
  readonly doc: Fields | null;
}

export class Projector {
  readonly #records: Records;
  readonly #revisions: Revisions;
  readonly #mark: Mark;
  readonly #options: ProjectorOptions;

  constructor(records: Records, revisions: Revisions, mark: Mark, options: ProjectorOptions) {
    this.#records = records;
    this.#revisions = revisions;
    this.#mark = mark;
    this.#options = options;
  }

  /** Projects everything between the mark and `revision`, and it. */
  async project(revision: Revision, deadline: Deadline): Promise<void> {
    let mark = await this.#mark.read(deadline);
    while (mark < revision.seq) {
      const next = await this.#next(mark, revision, deadline);
      const last = next.at(-1)?.seq;
      if (last === undefined) {
        // Revisions are missing: trimmed, after somebody projected them, or removed by hand.
        const moved = await this.#mark.read(deadline);
        if (moved <= mark) return;
        mark = moved;
        continue;
      }
      await this.#projectAll(next, deadline);
      await this.#options.onStep('projected');
      deadline.check();
      await this.#mark.advance(last, deadline);
      mark = last;
    }
  }

  /** As the log has them: a revision that lost its number is never projected. */
  async #next(mark: number, revision: Revision, deadline: Deadline): Promise<readonly Revision[]> {
    const limit = Math.min(REVISIONS_AT_ONCE, revision.seq - mark);
    const since = await this.#revisions.since(mark, limit, deadline);
    return since.trimmed ? [] : since.revisions;
  }

  async #projectAll(revisions: readonly Revision[], deadline: Deadline): Promise<void> {
    const kinds = new Map<Kind, Map<string, Target>>();
    for (const { seq, changes } of revisions) {
      for (const { kind, name, doc } of changes) {
        const targets = kinds.get(kind) ?? new Map<string, Target>();
        kinds.set(kind, targets.set(name, { seq, doc }));
      }
    }
    for (const [kind, targets] of kinds) {
      const names = [...targets.keys()];
      for (let start = 0; start < names.length; start += this.#options.batch) {
        await this.#projectSome(kind, targets, names.slice(start, start + this.#options.batch), deadline);
        await this.#options.onStep('documents');
      }
    }
  }

  async #projectSome(
    kind: Kind,
    targets: ReadonlyMap<string, Target>,
    names: readonly string[],
    deadline: Deadline,
  ): Promise<void> {
    const table = documentTable(kind);
    let pending = names;
    for (let round = 1; pending.length > 0; round++) {
      const versions = await this.#records.versions(table, pending, deadline);
      // Read after the versions: one beyond it was written by no revision, but by hand, and gives way.
      const head = (await this.#revisions.head(deadline)).seq;
      const writes: Write[] = [];
      for (const name of pending) {
        const target = targets.get(name);
        const version = versions.has(name) ? versions.get(name) : ABSENT;
        if (target === undefined || isAtLeast(version, target.seq, head)) continue;
        const fields = target.doc === null ? { deleted: true } : escapedFields(target.doc);
        // Not every value that somebody may write by hand can be compared; one document must not hold up all others.
        const hopeless = round > COMPARED_ROUNDS && version !== ABSENT && !isVersion(version);
        writes.push({ id: name, expected: hopeless ? ANY : version, version: target.seq, fields });
      }
      if (writes.length === 0) return;
      // Right before the write: a projector that was stopped for long must not bring back what was trimmed meanwhile.
      deadline.check();
      if ((await this.#records.writeMany(table, writes, deadline)) === writes.length) return;
      // Others wrote at the same time; see which of these they left to do.
      pending = writes.map((write) => write.id);
    }
  }
}

function isAtLeast(version: Version | typeof ABSENT, seq: number, head: number): boolean {
  return isVersion(version) && version >= seq && version <= Math.max(seq, head);
}

const RESERVED = /^%*(?:_id|rev|deleted)$/;

/** Fields of an object that would pass for those of the store itself get a `%` in front. */
export function escapedFields(doc: Fields): Fields {
  if (!Object.keys(doc).some((key) => RESERVED.test(key))) return doc;
  return Object.fromEntries(
    Object.entries(doc).map(([key, value]) => [RESERVED.test(key) ? `%${key}` : key, value]),
  );
}

export function unescapedFields(fields: Fields): Fields {
  if (!Object.keys(fields).some((key) => key.startsWith('%') && RESERVED.test(key))) return fields;
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key.startsWith('%') && RESERVED.test(key) ? key.slice(1) : key,
      value,
    ]),
  );
}

/**
 * Looks at the head of an LMDB data file before it is opened: the native code ends the process on a file that is
 * none or was cut off, or on a disk without room for a new one, where we want an error. Damage further inside is not
 * found.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

/** More than the files of a new folder take: 8 KB of locks, and the first pages of data. */
const NEW_FOLDER_BYTES = 65_536;
const META_BYTES = 168;
const MAGIC = 0xbeefc0de;
const NO_ROOT = 0xffff_ffff_ffff_ffffn;
/** Of a meta page; a page begins with 24 bytes of its own. */
const AT = { magic: 24, pageSize: 48, freeRoot: 88, mainRoot: 136, transaction: 152 } as const;

/** Another process that makes the file, or writes a page of its head, is done with it in less. */
const LOOKS = 5;
const PAUSE_MS = 20;

/** What is wrong with the file, however often one looks; null when nothing is, or when there is none yet. */
export async function dataFileProblem(path: string): Promise<string | null> {
  for (let look = 1; ; look++) {
    const problem = problemNow(path);
    if (problem === null || look === LOOKS) return problem;
    await setTimeout(PAUSE_MS);
  }
}

/** The same at one look, while others may be writing: what it says then may be gone at the next. */
export function problemNow(path: string): string | null {
  const file = openedIfThere(path);
  if (file === null) return null;
  try {
    if (fstatSync(file).size === 0) return null;
    const first = metaAt(file, 0);
    if (first === null) return 'data.mdb is not an LMDB file';
    const second = metaAt(file, first.pageSize);
    if (second === null) return 'data.mdb is damaged';
    const newest = second.transaction > first.transaction ? second : first;
    // After the pages that point into it: another process may be writing, and the file only grows.
    const { size } = fstatSync(file);
    return newest.roots.some((root) => (root + 1n) * BigInt(first.pageSize) > BigInt(size))
      ? 'data.mdb was cut off'
      : null;
  } finally {
    closeSync(file);
  }
}

/**
 * Throws the failure of the disk when it has no room for a new folder's files. Locks are written through memory: where
 * their file has no blocks yet and the disk none to give, the first of them ends the process (SIGBUS).
 */
export function demandRoom(folder: string): void {
  if (existsSync(join(folder, 'lock.mdb'))) return;
  const trial = join(folder, `room-${process.pid}`);
  try {
    writeFileSync(trial, Buffer.alloc(NEW_FOLDER_BYTES), { flush: true });
  } finally {
    rmSync(trial, { force: true });
  }
}

function openedIfThere(path: string): number | null {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

interface Meta {
  readonly pageSize: number;
  readonly transaction: bigint;
  readonly roots: readonly bigint[];
}

function metaAt(file: number, position: number): Meta | null {
  const page = Buffer.alloc(META_BYTES);
  if (readSync(file, page, 0, META_BYTES, position) < META_BYTES) return null;
  const pageSize = page.readUInt32LE(AT.pageSize);
  if (page.readUInt32LE(AT.magic) !== MAGIC || pageSize < 256 || (pageSize & (pageSize - 1)) !== 0)
    return null;
  const roots = [page.readBigUInt64LE(AT.freeRoot), page.readBigUInt64LE(AT.mainRoot)];
  return {
    pageSize,
    transaction: page.readBigUInt64LE(AT.transaction),
    roots: roots.filter((root) => root !== NO_ROOT),
  };
}

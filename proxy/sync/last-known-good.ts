/**
 * The last-known-good copy of a node's table on its disk: two generations, each with a checksum, written whole
 * (fsync, then rename) and readable by the owner only. A copy that is cut short or damaged is never believed; the
 * older one is. No failure of the disk ever reaches anything else.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { TableEntry } from '../../shared/routing/entry.ts';
import type { PlainDocument } from './documents.ts';
import { entryJson } from './entry-json.ts';

/** Grows when a copy of an earlier version can no longer be read. */
const SCHEMA = 1;
const CURRENT = 'last-known-good.json';
const OLDER = 'last-known-good.previous.json';
const MIN_INTERVAL_MS = 1_000;
const MAX_RETRY_MS = 60_000;

export interface Copy {
  /** Identity of the store; empty when it was never reached. */
  readonly store: string;
  readonly seq: number;
  /** `id` of revision `seq`. */
  readonly id: string;
  readonly hash: string;
  /** Milliseconds since 1970 when it was written. */
  readonly at: number;
  /** Number of the revision that the entries have: less than `seq` while changes are on their way. Else left out. */
  readonly served?: number;
  /** Objects and members, as served. */
  readonly entries: readonly TableEntry[];
  /** The objects as the log has them; without `doc` where that is the one of the entry. */
  readonly log: readonly LoggedObject[];
  /** Secrets that the objects need, sealed. */
  readonly secrets: readonly { readonly name: string; readonly sealed: string }[];
  /** What names of backends stood for. */
  readonly names: readonly { readonly name: string; readonly addresses: readonly string[] }[];
}

export interface LoggedObject {
  readonly kind: Kind;
  readonly name: string;
  readonly rev: number;
  readonly doc?: PlainDocument;
}

interface Header {
  readonly kontrol: 'last-known-good';
  readonly schema: number;
  readonly sha256: string;
}

/**
 * The newest copy that is whole, or null. Says in the log what it could not use. Behind a damaged one an older one
 * that serves nothing counts as none: hosts that were there would be answered as if they had never been.
 */
export async function readCopy(folder: string, log: Log): Promise<Copy | null> {
  let lost = false;
  for (const file of [CURRENT, OLDER]) {
    const path = join(folder, file);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        lost = true;
        log.warn('copy_unreadable', `the last-known-good copy ${path} cannot be read; trying an older one`, {
          error: (error as Error).message,
        });
      }
      continue;
    }
    const copy = decode(text);
    if (typeof copy !== 'string') {
      if (!lost || copy.entries.some(({ kind }) => kind === 'domain' || kind === 'listener')) return copy;
      log.warn('copy_empty', `the older copy ${path} serves nothing and is not used`, { path });
      continue;
    }
    lost = true;
    log.warn('copy_damaged', `the last-known-good copy ${path} is ${copy}; trying an older one`, { path });
  }
  return null;
}

function decode(text: string): Copy | string {
  const end = text.indexOf('\n');
  if (end < 0) return 'cut short';
  try {
    const header = JSON.parse(text.slice(0, end)) as Header;
    if (header.kontrol !== 'last-known-good') return 'not a copy of ours';
    if (header.schema !== SCHEMA) return `of version ${header.schema}, this one reads ${SCHEMA}`;
    const body = text.slice(end + 1);
    if (checksum(body) !== header.sha256) return 'cut short or changed (its checksum is wrong)';
    const copy: unknown = JSON.parse(body);
    return isCopy(copy) ? copy : 'whole but of another build, which kept other things in it';
  } catch {
    return 'not readable as JSON';
  }
}

/** A copy with less in it would fail halfway, and then the store would not be asked either. */
function isCopy(value: unknown): value is Copy {
  const { store, seq, id, hash, entries, log, secrets, names } = (value ?? {}) as Partial<Copy>;
  return (
    [store, id, hash].every((text) => typeof text === 'string') &&
    Number.isSafeInteger(seq) &&
    [entries, log, secrets, names].every((list) => Array.isArray(list))
  );
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex');
}

function encode(copy: Copy): string {
  const { entries, ...rest } = copy;
  const list = entries.map(entryJson).join(',\n');
  const body = `${JSON.stringify(rest).slice(0, -1)},"entries":[${list}]}`;
  const header: Header = { kontrol: 'last-known-good', schema: SCHEMA, sha256: checksum(body) };
  return `${JSON.stringify(header)}\n${body}`;
}

/** Writes `copy` as the newest generation. Rejects with the failure of the disk; what was there stays. */
export async function writeCopy(folder: string, copy: Copy): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const current = join(folder, CURRENT);
  const temporary = join(folder, `${CURRENT}.tmp`);
  await rm(temporary, { force: true });
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(encode(copy));
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await rename(current, join(folder, OLDER)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rename(temporary, current);
  await syncFolder(folder);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Keeps the copy up to date: at most once a second (rarer when writing is slow), again later when the disk fails. */
export class CopyKeeper {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #make: () => Copy | null;
  #cancel: (() => void) | null = null;
  #writing: Promise<void> | null = null;
  #dirty = false;
  #failures = 0;
  #notBefore = 0;
  #closed = false;

  constructor(folder: string, clock: Clock, log: Log, make: () => Copy | null) {
    this.#folder = folder;
    this.#clock = clock;
    this.#log = log;
    this.#make = make;
  }

  /** Whether the last attempt to write failed. */
  get failing(): boolean {
    return this.#failures > 0;
  }

  /** The table changed. */
  touch(): void {
    this.#dirty = true;
    this.#schedule();
  }

  /** Writes what is outstanding, once; resolves when that is done or failed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancel?.();
    this.#cancel = null;
    await this.#writing;
    if (this.#dirty) await this.#write();
  }

  #schedule(): void {
    if (this.#closed || !this.#dirty || this.#cancel !== null || this.#writing !== null) return;
    this.#cancel = this.#clock.after(Math.max(0, this.#notBefore - this.#clock.monotonic()), () => {
      this.#cancel = null;
      this.#writing = this.#write().finally(() => {
        this.#writing = null;
        this.#schedule();
      });
    });
  }

  async #write(): Promise<void> {
    this.#dirty = false;
    const copy = this.#make();
    if (copy === null) return;
    const begun = this.#clock.monotonic();
    try {
      await writeCopy(this.#folder, copy);
      if (this.#failures > 0) this.#log.info('copy_written', 'the last-known-good copy can be written again');
      this.#failures = 0;
      const took = this.#clock.monotonic() - begun;
      this.#notBefore = begun + Math.max(MIN_INTERVAL_MS, 10 * took);
    } catch (error) {
      this.#dirty = true;
      if (this.#failures++ === 0) {
        this.#log.error(
          'copy_failed',
          `the last-known-good copy cannot be written to ${this.#folder}; make room or fix its permissions. Visitors are served as before, but a restart would begin with an older table`,
          { error: (error as Error).message },
        );
      }
      const wait = Math.min(MAX_RETRY_MS, MIN_INTERVAL_MS * 2 ** Math.min(this.#failures, 10));
      this.#notBefore = this.#clock.monotonic() + wait;
    }
  }
}

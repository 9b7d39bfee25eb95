/** The store without a server: an LMDB folder, opened by all processes of one machine together. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { KontrolError } from '../errors.ts';
import type { Log } from '../log.ts';
import { dataFileProblem, demandRoom } from './data-file.ts';
import { EmbeddedRecords } from './embedded-records.ts';
import { guardNamespace, pidNamespace } from './namespace-guard.ts';
import { RecordStore, type RecordStoreOptions } from './record-store.ts';
import { logStrayRejections } from './stray-rejections.ts';

const READER_CHECK_MS = 60_000;
/** A disk, a quota or the limit on the size of a file. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export interface EmbeddedOptions extends RecordStoreOptions {
  /** PID namespace of this process; for tests. */
  readonly namespace?: string;
}

/** Opens `folder`, making it if need be. Throws KontrolError `cannot_start` when that is not possible. */
export async function openEmbedded(
  folder: string,
  log: Log,
  options: EmbeddedOptions = {},
): Promise<RecordStore> {
  const release: (() => unknown)[] = [];
  const releaseAll = async (): Promise<void> => {
    for (const each of release.splice(0).reverse()) await each();
  };
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const problem = await dataFileProblem(join(folder, 'data.mdb'));
    if (problem !== null)
      throw new KontrolError(
        'cannot_start',
        `${problem}: put a backup of ${folder} in its place, or move it away to begin anew`,
      );
    demandRoom(folder);
    release.push(await guardNamespace(folder, options.namespace ?? pidNamespace(), log));
    release.push(logStrayRejections(log));
    const records = new EmbeddedRecords(folder, releaseAll);
    const timer = setInterval(() => records.checkReaders(), READER_CHECK_MS);
    timer.unref();
    release.push(() => clearInterval(timer));
    return new RecordStore('embedded', records, options);
  } catch (error) {
    await releaseAll();
    if (error instanceof KontrolError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    const hint = FULL.has((error as NodeJS.ErrnoException).code ?? '')
      ? 'make room there'
      : 'is --data a folder of your own?';
    const message = `The embedded store in ${folder} cannot be opened (${reason}); ${hint}`;
    throw new KontrolError('cannot_start', message, [], { cause: error });
  }
}

/** The store without a server: an LMDB folder, opened by all processes of one machine together. */
import { mkdirSync } from 'node:fs';
import { KontrolError } from '../errors.ts';
import type { Log } from '../log.ts';
import { EmbeddedRecords } from './embedded-records.ts';
import { RecordStore, type RecordStoreOptions } from './record-store.ts';

const READER_CHECK_MS = 60_000;

/** Opens `folder`, making it if need be. Throws KontrolError `cannot_start` when that is not possible. */
export async function openEmbedded(
  folder: string,
  log: Log,
  options: RecordStoreOptions = {},
): Promise<RecordStore> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const timer = setInterval(() => records.checkReaders(), READER_CHECK_MS);
    timer.unref();
    const records = new EmbeddedRecords(folder, async () => clearInterval(timer));
    log.debug('store_open', 'The embedded store is open', { folder });
    return new RecordStore('embedded', records, options);
  } catch (error) {
    if (error instanceof KontrolError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new KontrolError('cannot_start', `The data folder ${folder} cannot be opened: ${reason}`, [], {
      cause: error,
    });
  }
}

/** The store in a MongoDB ≥ 4.4 or a server that speaks its protocol, standalone or replica set. */
import { MongoRecords } from './mongodb-records.ts';
import { RecordStore, type RecordStoreOptions } from './record-store.ts';

/**
 * A store that connects with its first call and reconnects for ever; while the server is away calls reject with
 * `store_unavailable`. The database is the one in the path of `url`, else `kontrol`. Throws KontrolError
 * `cannot_start` when `url` is not a MongoDB URL.
 */
export function openMongodb(url: string, options: RecordStoreOptions = {}): RecordStore {
  return new RecordStore('mongodb', new MongoRecords(url), options);
}

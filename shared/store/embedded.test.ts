import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../log.ts';
import { COLLECTIONS } from '../model/kinds.ts';
import { storeConformance } from './conformance.ts';
import type { Adapter } from './conformance-place.ts';
import { openEmbedded } from './embedded.ts';
import { openDatabase } from './embedded-records.ts';
import type { RecordStore } from './record-store.ts';

const versions = new Map<string, string>([
  ...Object.values(COLLECTIONS).map((name) => [name, 'rev'] as const),
  ['meta', 'seq'],
]);

const embedded: Adapter = {
  name: 'embedded',
  async place() {
    const folder = await mkdtemp(join(tmpdir(), 'kontrol-store-'));
    const opened: RecordStore[] = [];
    const raw = <T>(body: (db: ReturnType<typeof openDatabase>) => T | Promise<T>) => {
      const db = openDatabase(folder);
      return Promise.resolve(body(db)).finally(() => db.close());
    };
    const place = {
      address: { type: 'embedded' as const, folder },
      async open(options = {}) {
        const store = await openEmbedded(folder, silentLog, options);
        opened.push(store);
        return store;
      },
      async edit(collection: string, id: unknown, document: Readonly<Record<string, unknown>> | null) {
        await raw(async (db) => {
          const key: [string, string] = [collection, id as string];
          if (document === null) return db.remove(key);
          const field = versions.get(collection) ?? 'v';
          const { [field]: version, ...fields } = document;
          // Only numbers can be a version here.
          return db.put(key, JSON.stringify(fields), typeof version === 'number' ? version : 0);
        });
      },
      keys: (collection: string) =>
        raw((db) =>
          [...db.getKeys({ start: [collection, ''] })]
            .filter(([table]) => table === collection)
            .map(([, id]) => id),
        ),
    };
    return {
      place,
      async dispose() {
        for (const store of opened) await store.close();
        await rm(folder, { recursive: true, force: true });
      },
    };
  },
};

storeConformance(embedded);

import { randomBytes } from 'node:crypto';
import { after } from 'node:test';
import { MongoClient } from 'mongodb';
import { startMongo } from '../../test/services/index.ts';
import { storeConformance } from './conformance.ts';
import type { Adapter } from './conformance-place.ts';
import { openMongodb } from './mongodb.ts';
import type { RecordStore } from './record-store.ts';

const service = await startMongo();
const client = new MongoClient(service.url);
after(async () => {
  await client.close();
  await service.stop();
});

const mongodb: Adapter = {
  name: 'mongodb',
  async place() {
    const url = new URL(service.url);
    url.pathname = `/kontrol_${randomBytes(6).toString('hex')}`;
    const database = client.db(url.pathname.slice(1));
    const opened: RecordStore[] = [];
    const place = {
      address: { type: 'mongodb' as const, url: url.href },
      async open(options = {}) {
        const store = openMongodb(url.href, options);
        opened.push(store);
        return store;
      },
      async edit(collection: string, id: unknown, document: Readonly<Record<string, unknown>> | null) {
        const found = database.collection<{ _id: string }>(collection);
        await found.deleteOne({ _id: id as string });
        if (document !== null) await found.insertOne({ _id: id as string, ...document });
      },
      async keys(collection: string) {
        const found = await database.collection<{ _id: unknown }>(collection).find().toArray();
        return found.map(({ _id }) => _id);
      },
    };
    return {
      place,
      async dispose() {
        for (const store of opened) await store.close();
        await database.dropDatabase();
      },
    };
  },
};

storeConformance(mongodb);

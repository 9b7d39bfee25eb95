/** Sync beside the real thing: hints over Redis, edits in a MongoDB client, both servers killed and restarted. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import { until } from '../../../proxy/sync/scripted-primary.ts';
import { type MongoService, type RedisService, startMongo, startRedis } from '../../services/index.ts';
import { controlSide, service } from './real-services.ts';

let mongo: MongoService;
let redis: RedisService;
before(async () => {
  [mongo, redis] = await Promise.all([startMongo(), startRedis()]);
});
after(async () => {
  await mongo?.stop();
  await redis?.stop();
});

/** Each test has a database of its own on the one server. */
function urls(database: string) {
  const url = new URL(mongo.url);
  url.pathname += `_${database}`;
  return { mongoUrl: url.href, redisUrl: redis.url };
}

test('a hint over Redis, also one by hand, brings a revision; without any hint the tick does', async (t) => {
  const control = await controlSide(t, { ...urls('hint'), ttlMs: 2_000 });
  await until('the bus is there', () => control.bus.connected);
  const { primary } = await control.startSync();
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  const first = await control.append([service('one')]);
  await until('it is served', () => process.seq === first);
  const second = await control.append([service('two')], 'silent');
  const hand = new Redis(redis.url);
  t.after(() => hand.disconnect());
  await hand.publish('updateProxy', 'x');
  await until('it is served', () => process.seq === second);
  const third = await control.append([service('three')], 'silent');
  await until('it is served at the tick', () => process.seq === third);
});

test('documents edited, inserted and removed in a MongoDB client go live; an emptied collection does not', async (t) => {
  const given = urls('hand');
  const control = await controlSide(t, { ...given, ttlMs: 300 });
  const { primary, codes } = await control.startSync();
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  const seq = await control.append(names.map((name) => service(name)));
  await until('they are served', () => process.seq === seq);

  const client = new MongoClient(given.mongoUrl);
  t.after(() => client.close());
  const services = client.db().collection<{ _id: string; [field: string]: unknown }>('services');
  await services.updateOne({ _id: 'a' }, { $set: { enabled: false } });
  await services.insertOne({ _id: 'z', balance: 'random' });
  await services.insertOne({ _id: 'bad', balance: 'nonsense' });
  await services.deleteOne({ _id: 'b' });
  await until('the edit is live', () => process.table.get('service/a')?.doc?.['enabled'] === false);
  await until('the insert is live', () => process.table.get('service/z')?.doc?.['balance'] === 'random');
  await until('the bad one fails closed', () => process.table.get('service/bad')?.broken !== undefined);
  await until('the removal is live', () => !process.table.has('service/b'));

  await services.deleteMany({});
  await until('the alarm is up', () => codes.includes('deletions_held'));
  assert.ok(process.table.has('service/a'));
  const more = await control.append([service('more')]);
  await until('changes go on', () => process.seq === more);
  assert.equal(process.names('service').length, 9);
  await until('the bus is there', () => control.bus.connected);
  control.bus.publish('kontrol:ask', { ask: 'confirm' });
  await until('it was meant', () => process.names('service').join() === 'more');
});

test('MongoDB and Redis killed under it: what is served stays, and everything is taken up again', async (t) => {
  const control = await controlSide(t, { ...urls('kill'), ttlMs: 1_000 });
  const { primary, codes } = await control.startSync();
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  const first = await control.append([service('one')]);
  await until('it is served', () => process.seq === first);

  await redis.stop();
  const second = await control.append([service('two')]);
  await until('it is served without Redis', () => process.seq === second);

  await mongo.kill();
  await until('that is noticed', () => codes.includes('store_down'));
  const respawned = primary.spawn();
  await until('a new process is loaded all the same', () => respawned.seq === second);
  assert.deepEqual(respawned.names('service'), ['one', 'two']);

  await Promise.all([mongo.restart(), redis.restart()]);
  await until('the store answers', () => codes.lastIndexOf('store_up') > codes.lastIndexOf('store_down'));
  const third = await control.append([service('three')]);
  await until('changes go on', () => process.seq === third && respawned.seq === third);
  const record = async () => (await control.store.live.get('nodes', 'n1')) ?? { _id: '', v: 0 };
  await until('the node says so', async () => (await record())['seq'] === third);
  await until('the bus is back', async () => (await record())['bus'] === 'up');
});

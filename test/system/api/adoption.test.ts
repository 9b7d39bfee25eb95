import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { MongoClient } from 'mongodb';
import { type MongoService, startMongo } from '../../services/index.ts';
import { type ApiUnderTest, type Json, listOf, startApiUnderTest } from './api-under-test.ts';
import { until } from './until.ts';

interface Document {
  readonly _id: string;
  readonly [field: string]: unknown;
}

let mongo: MongoService;
let client: MongoClient;
let apis: ApiUnderTest[] = [];
let api: ApiUnderTest;
before(async () => {
  mongo = await startMongo();
  client = await MongoClient.connect(mongo.url);
  const start = () => startApiUnderTest({ mongoUrl: mongo.url, ttlMs: 200 });
  apis = await Promise.all([start(), start()]);
  api = apis[0] as ApiUnderTest;
});
after(async () => {
  await Promise.all(apis.map((each) => each.close()));
  await client.close();
  await mongo.stop();
});

const collection = (name: string) => client.db().collection<Document>(name);
const newest = async (): Promise<Json> => (await api.get('/v1/revisions?limit=1')).body.items?.[0] as Json;
const seqOf = async () => Number((await newest())?.seq ?? 0);

test('a document edited by hand becomes one revision by mongodb, whoever of several APIs sees it', async () => {
  await api.put('/v1/services/edited', { balance: 'random' });
  const before = await seqOf();
  await until(async () => (await collection('services').findOne({ _id: 'edited' }))?.rev === before);
  await collection('services').updateOne({ _id: 'edited' }, { $set: { balance: 'naive' } });
  await until(async () => (await seqOf()) > before);
  assert.equal((await api.get('/v1/services/edited')).body.balance, 'naive');
  const revision = await newest();
  assert.deepEqual([revision.author, revision.seq], ['mongodb', before + 1]);
  await until(async () => (await collection('services').findOne({ _id: 'edited' }))?.rev === before + 1);
  // Several more turns of both: nothing is adopted twice.
  await collection('services').insertOne({ _id: 'inserted', name: 'inserted', backends: ['10.0.0.1:80'] });
  await until(async () => (await api.get('/v1/services/inserted')).status === 200);
  assert.equal(await seqOf(), before + 2);
  assert.deepEqual((await api.get('/v1/services/inserted')).body.keys, {
    '1': { backends: [{ address: '10.0.0.1:80' }] },
  });
});

test('a bad edit is not adopted and keeps nothing else from being adopted', async () => {
  const before = await seqOf();
  await collection('services').insertMany([
    { _id: 'bad', name: 'bad', balance: 'heads-or-tails' },
    { _id: 'unknown', name: 'unknown', field: 1 },
    { _id: 'misnamed', name: 'other' },
    { _id: 'good', name: 'good' },
  ]);
  await collection('domains').insertMany([
    { _id: 'first.test', name: 'first.test', aliases: ['www.test'], service: 'good' },
    { _id: 'second.test', name: 'second.test', aliases: ['www.test'], service: 'good' },
  ]);
  await until(async () => (await api.get('/v1/services/good')).status === 200);
  await until(async () => (await api.get('/v1/domains/first.test')).status === 200);
  for (const name of ['bad', 'unknown', 'misnamed', 'other']) {
    assert.equal((await api.get(`/v1/services/${name}`)).status, 404, name);
  }
  assert.equal((await api.get('/v1/domains/second.test')).status, 404);
  assert.ok((await seqOf()) > before);
  await collection('services').deleteMany({ _id: { $in: ['bad', 'unknown', 'misnamed'] } });
  await collection('domains').deleteMany({ _id: 'second.test' });
});

test('an API write wins over an edit that was made before it and not yet adopted', async () => {
  await api.put('/v1/services/raced', { balance: 'random' });
  const seq = await seqOf();
  await until(async () => (await collection('services').findOne({ _id: 'raced' }))?.rev === seq);
  await Promise.all([
    collection('services').updateOne({ _id: 'raced' }, { $set: { balance: 'naive' } }),
    api.put('/v1/services/raced', { balance: 'broker' }),
  ]);
  // Whichever came later wins; then document, log and memory agree.
  await until(async () => {
    const document = await collection('services').findOne({ _id: 'raced' });
    const { balance } = (await api.get('/v1/services/raced')).body;
    return (
      document?.balance === String(balance) && document.rev === Number(await revOf('/v1/services/raced'))
    );
  });
});

async function revOf(path: string): Promise<string> {
  return ((await api.get(path)).headers.get('etag') ?? '').replaceAll('"', '');
}

test('a document removed by hand is deleted; a kind that is suddenly empty is not, until that is confirmed', async () => {
  await api.put('/v1/pages/one', { templates: {} });
  await api.put('/v1/pages/two', { templates: {} });
  await until(async () => (await collection('pages').countDocuments()) === 2);
  await collection('pages').deleteOne({ _id: 'one' });
  await until(async () => (await api.get('/v1/pages/one')).status === 404);
  const before = await seqOf();
  await collection('pages').deleteMany({});
  // The domain is looked at after the pages in the same turn.
  await collection('domains').insertOne({ _id: 'marker.test', name: 'marker.test', service: 'good' });
  await until(async () => (await api.get('/v1/domains/marker.test')).status === 200);
  assert.equal((await api.get('/v1/pages/two')).status, 200);
  assert.equal(await seqOf(), before + 1);
  await api.post('/v1/nodes/confirm');
  await until(async () => (await api.get('/v1/pages/two')).status === 404);
});

test('an edit made while no API ran gets into the history too', async () => {
  await api.put('/v1/services/while-away', { balance: 'random' });
  const seq = await seqOf();
  await until(async () => (await collection('services').findOne({ _id: 'while-away' }))?.rev === seq);
  await Promise.all(apis.map((each) => each.close()));
  await collection('services').updateOne({ _id: 'while-away' }, { $set: { balance: 'naive' } });
  api = await startApiUnderTest({ mongoUrl: mongo.url, ttlMs: 200 });
  apis = [api];
  await until(async () => (await seqOf()) === seq + 1);
  const { body } = await api.get(`/v1/revisions/${seq + 1}`);
  assert.equal(body.author, 'mongodb');
  assert.equal(listOf(body.changes)[0]?.doc?.balance, 'naive');
});

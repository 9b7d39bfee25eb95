import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type MongoService, startMongo } from '../../services/index.ts';
import { type ApiUnderTest, startApiUnderTest } from './api-under-test.ts';
import { until } from './until.ts';

let mongo: MongoService;
let api: ApiUnderTest;
before(async () => {
  mongo = await startMongo();
  api = await startApiUnderTest({ mongoUrl: mongo.url, ttlMs: 300 });
});
after(async () => {
  await api.close();
  await mongo.stop();
});

test('while the store is away reads are answered from memory and writes say 503', async () => {
  await api.put('/v1/services/known', { labels: { a: 'b' } });
  const viewer = String((await api.post('/v1/tokens', { name: 'viewer', role: 'viewer' })).body.token);
  assert.equal((await api.get('/v1/services', { token: viewer })).status, 200);
  await mongo.kill();

  const writes = await Promise.all([
    api.put('/v1/services/known', { labels: { a: 'c' } }),
    api.put('/v1/services/other', {}),
    api.post('/v1/apply', { owner: 'x', objects: [{ kind: 'service', name: 'third' }] }),
  ]);
  for (const { status, body } of writes) {
    assert.equal(status, 503);
    assert.match(String(body.code), /^(store_unavailable|outcome_unknown)$/);
  }

  const read = await api.get('/v1/services/known');
  assert.deepEqual([read.status, read.body.labels], [200, { a: 'b' }]);
  assert.equal((await api.get('/v1/services', { token: viewer })).status, 200, 'known tokens stay good');
  const ready = await api.get('/readyz', { token: null });
  assert.deepEqual([ready.status, ready.body.store], [503, 'down']);
  assert.equal((await api.get('/healthz', { token: null })).status, 200);

  await mongo.restart();
  await until(async () => (await api.put('/v1/services/known', { labels: { a: 'd' } })).status === 200);
  assert.deepEqual((await api.get('/v1/services/known')).body.labels, { a: 'd' });
  await until(async () => (await api.get('/readyz', { token: null })).status === 200);
});

test('the API starts without its store and makes the way in when it comes', async () => {
  await mongo.kill();
  const early = await startApiUnderTest({ mongoUrl: mongo.url, ttlMs: 300, apiToken: null });
  try {
    assert.equal(early.api.firstAdmin, null);
    assert.equal((await early.get('/healthz', { token: null })).status, 200);
    assert.equal((await early.get('/readyz', { token: null })).status, 503);
    assert.equal((await early.get('/v1/services', { token: 'some' })).status, 503);
    await mongo.restart();
    await until(async () => (await early.get('/readyz', { token: null })).status === 200);
  } finally {
    await early.close();
  }
});

test('without its bus the API reads and writes all the same', async () => {
  const alone = await startApiUnderTest({ redisUrl: 'redis://127.0.0.1:1' });
  try {
    assert.equal((await alone.put('/v1/services/unheard', {})).status, 201);
    // There is no node that could say that it serves it; the write stands.
    const write = await alone.put('/v1/services/unheard?wait=all&timeout=100ms', { enabled: false });
    assert.deepEqual([write.status, write.body.enabled], [202, false]);
    const ready = await alone.get('/readyz', { token: null });
    assert.deepEqual([ready.status, ready.body.bus], [200, 'down']);
  } finally {
    await alone.close();
  }
});

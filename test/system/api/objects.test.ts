import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ApiUnderTest, startApiUnderTest } from './api-under-test.ts';

let api: ApiUnderTest;
before(async () => {
  api = await startApiUnderTest();
});
after(() => api.close());

test('an object is created, read with its revision as ETag, replaced and deleted', async () => {
  const created = await api.put('/v1/services/shop', { backends: ['10.0.0.5:3000'] });
  assert.equal(created.status, 201);
  const seq = created.headers.get('kontrol-seq');
  assert.equal(created.headers.get('etag'), `"${seq}"`);
  assert.deepEqual(created.body.keys, { '1': { backends: [{ address: '10.0.0.5:3000' }] } });

  const read = await api.get('/v1/services/shop');
  assert.equal(read.status, 200);
  assert.equal(read.headers.get('etag'), `"${seq}"`);
  assert.deepEqual(read.body, { name: 'shop', keys: { '1': { backends: [{ address: '10.0.0.5:3000' }] } } });

  const replaced = await api.put('/v1/services/shop', { backends: ['10.0.0.6:3000'] });
  assert.equal(replaced.status, 200);
  assert.ok(Number(replaced.headers.get('kontrol-seq')) > Number(seq));

  assert.equal((await api.delete('/v1/services/shop')).status, 200);
  assert.equal((await api.get('/v1/services/shop')).status, 404);
  assert.equal((await api.delete('/v1/services/shop')).status, 404);
});

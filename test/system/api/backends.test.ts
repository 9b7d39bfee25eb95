import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ApiUnderTest, startApiUnderTest } from './api-under-test.ts';

let api: ApiUnderTest;
before(async () => {
  api = await startApiUnderTest();
  await api.put('/v1/services/shop', { balance: 'random' });
});
after(() => api.close());

const at = (key: number | string, address = '') =>
  `/v1/services/shop/keys/${key}/backends${address === '' ? '' : `/${encodeURIComponent(address)}`}`;
const keys = async () => (await api.get('/v1/services/shop')).body.keys;

test('a backend is added, changed and removed by itself; its key is created with it', async () => {
  const added = await api.post(at(42), { address: '10.0.0.5:3000' });
  assert.equal(added.status, 201);
  assert.deepEqual(added.body.address, '10.0.0.5:3000');
  await api.post(at(42), { address: '[2001:DB8:0::1]:80', weight: 2 });
  await api.post(at(42), { address: 'unix:/run/shop.sock' });
  const drained = await api.patch(at(42, '10.0.0.5:3000'), { state: 'drain' });
  assert.deepEqual([drained.status, drained.body.state], [200, 'drain']);
  await api.patch(at(42, '[2001:db8::1]:80'), { weight: 0 });
  assert.deepEqual(await keys(), {
    '42': {
      backends: [
        { address: '10.0.0.5:3000', state: 'drain' },
        { address: '[2001:db8::1]:80', weight: 0 },
        { address: 'unix:/run/shop.sock' },
      ],
    },
  });
  for (const address of ['10.0.0.5:3000', '[2001:db8::1]:80', 'unix:/run/shop.sock']) {
    assert.equal((await api.delete(at(42, address))).status, 200, address);
  }
  assert.deepEqual(await keys(), { '42': { backends: [] } });
});

test('adding the same backend again changes nothing; with other values it is 409', async () => {
  const first = await api.post(at(1), { address: '10.0.0.1:80' });
  const again = await api.post(at(1), { address: '10.0.0.1:80' });
  assert.deepEqual([again.status, again.headers.get('kontrol-seq')], [200, first.headers.get('kontrol-seq')]);
  assert.equal((await api.post(at(1), { address: '10.0.0.1:80', weight: 3 })).status, 409);
});

test('what is not there is 404, what is not valid is 400', async () => {
  assert.equal((await api.post('/v1/services/none/keys/1/backends', { address: '10.0.0.1:80' })).status, 404);
  assert.equal((await api.patch(at(1, '10.0.0.9:80'), { weight: 1 })).status, 404);
  assert.equal((await api.delete(at(7, '10.0.0.1:80'))).status, 404);
  assert.equal((await api.post(at('latest'), { address: '10.0.0.1:80' })).status, 400);
  assert.equal((await api.post(at(1), { address: '10.0.0.1' })).status, 400);
  assert.equal((await api.patch(at(1, '10.0.0.1:80'), { state: 'gone' })).status, 400);
  assert.equal((await api.patch(at(1, '10.0.0.1:80'), { address: '10.0.0.2:80' })).status, 400);
});

test('changes of many backends at the same time are all there', async () => {
  const addresses = Array.from({ length: 40 }, (_, index) => `10.1.0.${index + 1}:80`);
  const replies = await Promise.all(addresses.map((address) => api.post(at(9), { address })));
  assert.deepEqual(new Set(replies.map(({ status }) => status)), new Set([201]));
  const { backends } = (await keys())?.['9'] ?? {};
  assert.equal(Array.isArray(backends) && backends.length, addresses.length);
});

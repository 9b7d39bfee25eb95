import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ApiUnderTest, listOf, startApiUnderTest } from './api-under-test.ts';

let api: ApiUnderTest;
before(async () => {
  api = await startApiUnderTest();
  await api.put('/v1/services/a?message=first', { balance: 'random' });
  await api.put('/v1/services/b', {});
  await api.put('/v1/services/a', { balance: 'naive' });
  await api.put('/v1/domains/d.test', { service: 'a' });
  await api.delete('/v1/services/b');
});
after(() => api.close());

test('revisions are listed newest first, filtered by kind and name, and paged', async () => {
  const all = listOf((await api.get('/v1/revisions')).body.items);
  assert.deepEqual(
    all.map(({ seq }) => seq),
    [5, 4, 3, 2, 1],
  );
  assert.equal(all[4]?.message, 'first');
  assert.equal(all[4]?.author, 'token/KONTROL_API_TOKEN');
  assert.deepEqual(all[0]?.changes, [{ kind: 'service', name: 'b', deleted: true }]);
  const seqs = async (query: string) => {
    const { body } = await api.get(`/v1/revisions?${query}`);
    return { seqs: listOf(body.items).map(({ seq }) => Number(seq)), next: body.next };
  };
  assert.deepEqual(await seqs('kind=service&name=a'), { seqs: [3, 1], next: null });
  assert.deepEqual(await seqs('kind=domains'), { seqs: [4], next: null });
  const page = await seqs('limit=2');
  assert.deepEqual(page.seqs, [5, 4]);
  assert.deepEqual((await seqs(`limit=2&cursor=${page.next}`)).seqs, [3, 2]);
  assert.equal((await api.get('/v1/revisions?name=a')).status, 400);
  assert.equal((await api.get('/v1/revisions?kind=planet')).status, 400);
});

test('one revision tells what it changed, field by field', async () => {
  const { body } = await api.get('/v1/revisions/3');
  assert.deepEqual(listOf(body.changes), [
    {
      kind: 'service',
      name: 'a',
      doc: { name: 'a', balance: 'naive' },
      change: 'change',
      fields: [{ path: 'balance', from: 'random', to: 'naive' }],
    },
  ]);
  assert.equal((await api.get('/v1/revisions/1')).body.changes?.[0]?.change, 'create');
  assert.equal((await api.get('/v1/revisions/5')).body.changes?.[0]?.change, 'delete');
  assert.equal((await api.get('/v1/revisions/77')).status, 404);
  assert.equal((await api.get('/v1/revisions/x')).status, 404);
});

test('one object goes back to what it was, as a new revision', async () => {
  const dry = await api.post('/v1/revisions/1/restore?dryRun=1', { kind: 'service', name: 'a' });
  assert.equal(listOf(dry.body.changes).length, 1);
  const reply = await api.post('/v1/revisions/1/restore', { kind: 'service', name: 'a' });
  assert.deepEqual([reply.status, reply.headers.get('kontrol-seq')], [200, '6']);
  assert.equal((await api.get('/v1/services/a')).body.balance, 'random');
  assert.equal((await api.get('/v1/domains/d.test')).status, 200);
  assert.equal((await api.post('/v1/revisions/1/restore', { kind: 'service', name: 'zzz' })).status, 404);
  assert.equal((await api.post('/v1/revisions/1/restore', { name: 'a' })).status, 400);
});

test('everything goes back to a revision: what came later goes, what went comes back', async () => {
  const reply = await api.post('/v1/revisions/2/restore');
  assert.equal(reply.status, 200);
  const names = listOf((await api.get('/v1/export')).body.objects).map(({ kind, name }) => `${kind}/${name}`);
  assert.deepEqual(names, ['service/a', 'service/b']);
  const again = await api.post('/v1/revisions/2/restore');
  assert.equal(
    again.headers.get('kontrol-seq'),
    reply.headers.get('kontrol-seq'),
    'nothing is left to restore',
  );
});

test('a restore that would pull a service from under a domain is 409', async () => {
  await api.put('/v1/services/later', {});
  await api.put('/v1/domains/e.test', { service: 'later' });
  const reply = await api.post('/v1/revisions/2/restore', { kind: 'services' });
  assert.deepEqual([reply.status, reply.body.code], [409, 'still_referenced']);
});

test('there is no going back to before the first revision: that would remove everything', async () => {
  for (const seq of ['0', '00', '-1', '1e1']) {
    const reply = await api.post(`/v1/revisions/${seq}/restore`);
    assert.deepEqual([reply.status, reply.body.code], [404, 'not_found'], seq);
  }
});

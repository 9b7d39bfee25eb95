import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ApiUnderTest, listOf, startApiUnderTest } from './api-under-test.ts';

let api: ApiUnderTest;
before(async () => {
  api = await startApiUnderTest();
});
after(() => api.close());

const site = (...names: string[]) => [
  { kind: 'service', name: 'site', backends: ['127.0.0.1:3000'] },
  ...names.map((name) => ({ kind: 'domain', name, service: 'site' })),
];

test('many objects are one revision, whatever their order, and warn about nothing that the list brings', async () => {
  const reply = await api.post('/v1/apply', { owner: 'one', objects: site('a.test', 'b.test').toReversed() });
  assert.equal(reply.status, 200);
  assert.equal(reply.headers.get('kontrol-seq'), '1');
  assert.deepEqual(reply.body.warnings, []);
  assert.equal(listOf(reply.body.changes).length, 3);
  const { body } = await api.get('/v1/domains/a.test');
  assert.equal(body.owner, 'one');
  const again = await api.post('/v1/apply', { owner: 'one', objects: site('a.test', 'b.test') });
  assert.deepEqual([again.headers.get('kontrol-seq'), again.body.unchanged], ['1', 3]);
});

test('one bad object refuses all, with paths into the list', async () => {
  const before = (await api.get('/v1/export')).body;
  const reply = await api.post('/v1/apply', {
    owner: 'one',
    objects: [
      { kind: 'service', name: 'good' },
      { kind: 'domain', name: 'c.test', routes: [{ path: '/', service: 'good', key: 0 }], extra: 1 },
      { kind: 'planet', name: 'x' },
      { kind: 'rule' },
    ],
  });
  assert.equal(reply.status, 400);
  const paths = () => listOf(reply.body.errors).map(({ path }) => String(path));
  assert.deepEqual(paths(), ['objects.2.kind', 'objects.3.name']);
  const second = await api.post('/v1/apply', {
    owner: 'one',
    objects: [
      { kind: 'service', name: 'good' },
      { kind: 'domain', name: 'c.test', extra: 1, firewall: ['missing'] },
      { kind: 'domain', name: 'd.test', firewall: ['missing'] },
    ],
  });
  assert.deepEqual(
    listOf(second.body.errors).map(({ path }) => String(path)),
    ['objects.1.extra'],
  );
  const third = await api.post('/v1/apply', {
    owner: 'one',
    objects: [
      { kind: 'service', name: 'good' },
      { kind: 'domain', name: 'd.test', firewall: ['missing'] },
    ],
  });
  assert.deepEqual(
    listOf(third.body.errors).map(({ path }) => String(path)),
    ['objects.1.firewall.0'],
  );
  assert.deepEqual((await api.get('/v1/export')).body, before);
});

test('prune deletes only what this owner has besides the list', async () => {
  await api.put('/v1/services/by-hand', {});
  await api.post('/v1/apply', { owner: 'two', objects: [{ kind: 'page', name: 'two', templates: {} }] });
  const dry = await api.post('/v1/apply?dryRun=1', { owner: 'one', prune: true, objects: site('a.test') });
  assert.deepEqual(
    listOf(dry.body.changes).map(({ kind, name, change }) => `${change} ${kind} ${name}`),
    ['delete domain b.test'],
  );
  const reply = await api.post('/v1/apply', { owner: 'one', prune: true, objects: site('a.test') });
  assert.equal(reply.status, 200);
  assert.equal((await api.get('/v1/domains/b.test')).status, 404);
  for (const path of ['/v1/services/by-hand', '/v1/pages/two', '/v1/services/site']) {
    assert.equal((await api.get(path)).status, 200, path);
  }
});

test("prune that would pull a service from under another owner's domain is 409", async () => {
  await api.post('/v1/apply', {
    owner: 'three',
    objects: [{ kind: 'domain', name: 'x.test', service: 'site' }],
  });
  const reply = await api.post('/v1/apply', { owner: 'one', prune: true, objects: [] });
  assert.deepEqual([reply.status, reply.body.code], [409, 'still_referenced']);
});

test("another owner's object is not taken over, an object without owner is", async () => {
  const stolen = await api.post('/v1/apply', { owner: 'two', objects: [{ kind: 'service', name: 'site' }] });
  assert.deepEqual([stolen.status, stolen.body.code], [409, 'conflict']);
  const taken = await api.post('/v1/apply', {
    owner: 'two',
    objects: [{ kind: 'services', name: 'by-hand' }],
  });
  assert.equal(taken.status, 200);
  assert.equal((await api.get('/v1/services/by-hand')).body.owner, 'two');
  const twice = await api.post('/v1/apply', {
    owner: 'two',
    objects: [
      { kind: 'service', name: 'a' },
      { kind: 'service', name: 'A' },
    ],
  });
  assert.equal(twice.status, 400);
});

test('a host moves from one domain to another within one revision', async () => {
  const move = (alias: string, from: string, to: string) =>
    api.post('/v1/apply', {
      owner: 'move',
      objects: [
        { kind: 'domain', name: from, service: 'site' },
        { kind: 'domain', name: to, service: 'site', aliases: [alias] },
      ],
    });
  assert.equal((await move('m.test', 'm1.test', 'm2.test')).status, 200);
  assert.equal((await move('m.test', 'm2.test', 'm1.test')).status, 200);
});

test('what is exported can be applied again, also as it was at an earlier revision', async () => {
  const now = await api.get('/v1/export');
  assert.deepEqual((await api.get(`/v1/export?at=${now.body.seq}`)).body, now.body);
  const first = (await api.get('/v1/export?at=1')).body;
  assert.deepEqual(
    listOf(first.objects).map(({ kind, name }) => `${kind}/${name}`),
    ['service/site', 'domain/a.test', 'domain/b.test'],
  );
  assert.deepEqual((await api.get('/v1/export?at=0')).body.objects, []);
  assert.equal((await api.get('/v1/export?at=99999')).status, 404);
  const one = listOf(now.body.objects).filter(({ owner }) => String(owner) === 'one');
  const reply = await api.post('/v1/apply', { owner: 'one', prune: true, objects: one });
  assert.deepEqual(reply.body.changes, []);
});

test('a list with more patterns than can be compiled in passing is refused as a whole', async () => {
  const domains = Array.from({ length: 400 }, (_, domain) => ({
    kind: 'domain',
    name: `heavy-${domain}.test`,
    routes: Array.from({ length: 200 }, (_, route) => ({ path: `~^/${domain}/${route}/`, answer: {} })),
  }));
  const reply = await api.post('/v1/apply?dryRun=1', { owner: 'heavy', objects: domains });
  assert.equal(reply.status, 400);
  assert.deepEqual(
    listOf(reply.body.errors).map(({ path }) => String(path)),
    ['objects'],
  );
  const named = Array.from({ length: 20_000 }, (_, index) => ({
    kind: 'domain',
    name: `~^${index}\\pL\\pL\\pL$`,
    service: 'site',
  }));
  assert.equal((await api.post('/v1/apply?dryRun=1', { owner: 'heavy', objects: named })).status, 400);
});

test('other calls have their turn while a long list is validated', async () => {
  const objects = Array.from({ length: 8_000 }, (_, index) => ({
    kind: 'domain',
    name: `long-${index}.test`,
    routes: [{ path: `~^/${index}/[0-9]+$`, answer: {} }],
  }));
  let done = false;
  const applied = api.post('/v1/apply?dryRun=1', { owner: 'long', objects }).finally(() => {
    done = true;
  });
  let answered = 0;
  while (!done) {
    await api.get('/healthz');
    answered++;
  }
  assert.equal((await applied).status, 200);
  assert.ok(answered > 5, `${answered} calls were answered meanwhile`);
});

test('an object with thousands of unknown fields is an ordinary 400; one with more is not even parsed', async () => {
  const apply = (fields: number) => {
    const unknown = Object.fromEntries(Array.from({ length: fields }, (_, index) => [`k${index}`, 1]));
    const objects = [{ kind: 'service', name: 'wide', ...unknown }];
    return api.post('/v1/apply?dryRun=1', { owner: 'wide', objects });
  };
  const told = await apply(15_000);
  assert.deepEqual([told.status, listOf(told.body.errors).length], [400, 100]);
  const refused = await apply(300_000);
  assert.equal(refused.status, 400);
  assert.match(String(refused.body.detail), /more than 20000 fields/);
});

test('a body of more than a million values is refused before it is validated', async () => {
  const body = `{"owner":"many","objects":[${'{},'.repeat(1_000_000)}{}]}`;
  const reply = await api.post('/v1/apply?dryRun=1', body);
  assert.deepEqual([reply.status, reply.body.code], [400, 'invalid']);
  assert.match(String(reply.body.detail), /values/);
});

test('an export of several owners can be applied as it is, each object keeping its owner', async () => {
  const other = await startApiUnderTest();
  try {
    await other.post('/v1/apply', { owner: 'red', objects: [{ kind: 'service', name: 'r' }] });
    await other.post('/v1/apply', { owner: 'blue', objects: [{ kind: 'service', name: 'b' }] });
    await other.put('/v1/services/nobodys', {});
    const { objects } = (await other.get('/v1/export')).body;
    assert.equal((await other.post('/v1/apply', { objects })).body.written, false);
    await other.patch('/v1/services/b', { balance: 'random' });
    assert.equal((await other.post('/v1/apply', { objects })).status, 200);
    assert.equal((await other.get('/v1/services/b')).body.balance, undefined);
    const stolen = await other.post('/v1/apply', {
      objects: [{ kind: 'service', name: 'r', owner: 'blue' }],
    });
    assert.deepEqual([stolen.status, stolen.body.code], [409, 'conflict']);
    assert.equal((await other.post('/v1/apply', { objects: [], prune: true })).status, 400);
    const red = listOf((await other.get('/v1/export?owner=red')).body.objects).map(({ name }) => name);
    assert.deepEqual(red, ['r']);
  } finally {
    await other.close();
  }
});

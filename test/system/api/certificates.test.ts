import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { generate } from 'selfsigned';
import { silentLog } from '../../../shared/log.ts';
import { open, SEALED_FIELD } from '../../../shared/secrets.ts';
import { openStore } from '../../../shared/store/open.ts';
import { type ApiUnderTest, listOf, startApiUnderTest } from './api-under-test.ts';

const SECRET = 'a secret of the operator';
let api: ApiUnderTest;
let one: Awaited<ReturnType<typeof generate>>;
let other: Awaited<ReturnType<typeof generate>>;
before(async () => {
  api = await startApiUnderTest({ secret: SECRET });
  const make = () => generate([{ name: 'commonName', value: 'shop.example.com' }], { keySize: 2048 });
  one = await make();
  other = await make();
});
after(() => api.close());

test('the key goes sealed into the secrets, never into a revision, and is never read back', async () => {
  const put = await api.put('/v1/certificates/shop', { certificate: one.cert, key: one.private });
  assert.equal(put.status, 201);
  const read = await api.get('/v1/certificates/shop');
  assert.match(String(read.body.keyDigest), /^[0-9a-f]{64}$/);
  const answers = [put, read, await api.get('/v1/export'), await api.get('/v1/revisions/1')];
  assert.ok(!JSON.stringify(answers.map(({ body }) => body)).includes('PRIVATE KEY'));

  const store = await openStore(api.settings, silentLog);
  const kept = await store.live.get('secrets', `certificate/${read.body.keyDigest}`);
  const sealed = String(kept?.[SEALED_FIELD]);
  assert.ok(!sealed.includes(Buffer.from(one.private).toString('base64url').slice(50, 90)));
  assert.equal(open(sealed, SECRET), one.private);
  await store.close();
});

test('a PUT without key keeps it, as long as it fits; so does what an export gives', async () => {
  const again = await api.put('/v1/certificates/shop', { certificate: one.cert, labels: { a: 'b' } });
  assert.equal(again.status, 200);
  const mismatch = await api.put('/v1/certificates/shop', { certificate: other.cert });
  assert.equal(mismatch.status, 400);
  assert.equal(mismatch.body.errors?.[0]?.path, 'certificate');
  const [exported] = listOf((await api.get('/v1/export')).body.objects);
  const { owner, ...object } = { ...exported };
  const applied = await api.post('/v1/apply', { owner: 'files', objects: [object] });
  assert.equal(applied.status, 200);
});

test('a pair that does not fit, or no pair, is refused with its path', async () => {
  const cases: [object, string][] = [
    [{ certificate: one.cert, key: other.private }, 'key'],
    [{ certificate: one.cert, key: 'nonsense' }, 'key'],
    [{ certificate: 'nonsense', key: one.private }, 'certificate'],
    [{ certificate: one.cert }, 'key'],
    [{ certificate: one.cert, keyDigest: 'f'.repeat(64) }, 'key'],
    [{ certificate: one.cert, key: one.private, extra: 1 }, 'extra'],
    // A chain that broke off while it was copied.
    [{ certificate: `${one.cert.trimEnd()}\n${other.cert.slice(0, 200)}`, key: one.private }, 'certificate'],
  ];
  for (const [object, path] of cases) {
    const { status, body } = await api.put('/v1/certificates/new', object);
    assert.deepEqual([status, body.errors?.[0]?.path], [400, path]);
  }
  assert.equal((await api.get('/v1/certificates/new')).status, 404);
});

test('a pair that TLS could not serve is refused, and the good one before it stays', async () => {
  const weak = await generate([{ name: 'commonName', value: 'shop.example.com' }], { keySize: 512 });
  const put = await api.put('/v1/certificates/shop', { certificate: weak.cert, key: weak.private });
  assert.deepEqual([put.status, put.body.errors?.[0]?.path], [400, 'certificate']);
  assert.match(String(put.body.errors?.[0]?.message), /key too small/);
  assert.equal((await api.get('/v1/certificates/shop')).body.certificate, one.cert);
});

test('a new pair replaces both by PUT and by PATCH; a dry run keeps no key', async () => {
  const dry = await api.put('/v1/certificates/dry?dryRun=1', { certificate: other.cert, key: other.private });
  assert.equal(dry.status, 200);
  const store = await openStore(api.settings, silentLog);
  assert.equal((await store.live.list('secrets', 'certificate/')).length, 1);
  await store.close();
  const patched = await api.patch('/v1/certificates/shop', { certificate: other.cert, key: other.private });
  assert.equal(patched.status, 200);
});

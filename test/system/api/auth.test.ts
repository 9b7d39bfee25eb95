import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { silentLog } from '../../../shared/log.ts';
import { openStore } from '../../../shared/store/open.ts';
import { type ApiUnderTest, listOf, startApiUnderTest } from './api-under-test.ts';

let api: ApiUnderTest;
before(async () => {
  api = await startApiUnderTest();
});
after(() => api.close());

const PASSWORD = 'correct horse battery';

/** A logged-in user as a browser has it. */
async function logIn(user: string, password = PASSWORD, at = api) {
  const reply = await at.post('/v1/session', { user, password }, { token: null });
  const cookie = reply.headers.get('set-cookie') ?? '';
  return { reply, cookie: cookie.split(';')[0] ?? '', attributes: cookie, csrf: String(reply.body.csrf) };
}

async function tokenOf(name: string, role: string, more: object = {}): Promise<string> {
  const { status, body } = await api.post('/v1/tokens', { name, role, ...more });
  assert.equal(status, 201);
  return String(body.token);
}

test('without a valid token or session every call but the public ones is 401', async () => {
  for (const token of [null, 'wrong', 'kontrol_AAAA']) {
    const reply = await api.get('/v1/services', { token });
    assert.equal(reply.status, 401);
    assert.equal(reply.body.code, 'unauthorized');
    assert.match(reply.headers.get('www-authenticate') ?? '', /^Bearer/);
  }
  for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json']) {
    assert.equal((await fetch(api.url + path)).status, 200, path);
  }
});

test('roles: a viewer reads, an operator changes, an admin manages users and tokens, a worker does none of it', async () => {
  const expected: [string, number[]][] = [
    ['viewer', [200, 403, 403]],
    ['operator', [200, 200, 403]],
    ['admin', [200, 200, 200]],
    ['worker', [403, 403, 403]],
  ];
  await api.put('/v1/services/roles', {});
  for (const [role, statuses] of expected) {
    const token = await tokenOf(`role-${role}`, role);
    const got = [
      (await api.get('/v1/services', { token })).status,
      (await api.put('/v1/services/roles', {}, { token })).status,
      (await api.get('/v1/users', { token })).status,
    ];
    assert.deepEqual(got, statuses, role);
  }
});

test('a token is shown once, kept hashed, listed with its use, and dead when it is revoked; none is made that has ended', async () => {
  const token = await tokenOf('ci', 'operator');
  assert.equal((await api.put('/v1/services/by-ci', {}, { token })).status, 201);
  const listed = listOf((await api.get('/v1/tokens')).body.items).find(({ name }) => String(name) === 'ci');
  assert.equal(listed?.role, 'operator');
  assert.notEqual(listed?.lastUsed, null);
  assert.ok(!JSON.stringify(listed).includes(token));
  assert.equal((await api.get('/v1/revisions?limit=1')).body.items?.[0]?.author, 'token/ci');
  assert.equal((await api.post('/v1/tokens', { name: 'ci', role: 'viewer' })).status, 409);
  assert.equal((await api.delete('/v1/tokens/ci')).status, 204);
  assert.equal((await api.get('/v1/services', { token })).status, 401);
  assert.equal((await api.delete('/v1/tokens/ci')).status, 404);
  const late = await api.post('/v1/tokens', { name: 'x', role: 'admin', expires: '2001-01-01T00:00:00Z' });
  assert.deepEqual([late.status, late.body.errors?.[0]?.path], [400, 'expires']);
  assert.equal((await api.post('/v1/tokens', { name: 'x', role: 'viewer', service: 'shop' })).status, 400);
  assert.equal((await api.post('/v1/tokens', { name: 'x', role: 'root' })).status, 400);
});

test('a session: cookie flags, reads with the cookie, changes only with the CSRF token', async () => {
  await api.put('/v1/users/ann', { role: 'operator', password: PASSWORD });
  const { reply, cookie, attributes, csrf } = await logIn('Ann');
  assert.equal(reply.status, 200);
  assert.match(attributes, /HttpOnly/);
  assert.match(attributes, /SameSite=Strict/);
  assert.equal((await api.get('/v1/services', { token: null, headers: { cookie } })).status, 200);
  const put = (headers: Record<string, string>) =>
    api.put('/v1/services/by-ann', {}, { token: null, headers: { cookie, ...headers } });
  const without = await put({});
  assert.deepEqual([without.status, without.body.code], [403, 'csrf']);
  assert.equal((await put({ 'x-csrf-token': `${csrf}x` })).status, 403);
  assert.equal((await put({ 'x-csrf-token': csrf })).status, 201);
  assert.equal((await api.get('/v1/revisions?limit=1')).body.items?.[0]?.author, 'ann');
  assert.equal((await api.get('/v1/session', { token: null, headers: { cookie } })).body.csrf, csrf);
  const out = await api.delete('/v1/session', { token: null, headers: { cookie, 'x-csrf-token': csrf } });
  assert.equal(out.status, 204);
  assert.equal((await api.get('/v1/services', { token: null, headers: { cookie } })).status, 401);
});

test('an unknown user and a wrong password get the same answer', async () => {
  const unknown = await api.post('/v1/session', { user: 'nobody', password: 'x' }, { token: null });
  const wrong = await api.post('/v1/session', { user: 'ann', password: 'x' }, { token: null });
  const told = ({ status, body }: typeof wrong) => ({ status, code: body.code, detail: body.detail });
  assert.deepEqual(told(unknown), told(wrong));
  assert.equal(unknown.status, 401);
});

test('guessing is stopped after five failures of a user from an address', async () => {
  await api.put('/v1/users/victim', { role: 'viewer', password: PASSWORD });
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 6; attempt++) {
    statuses.push((await logIn('victim', 'wrong')).reply.status);
  }
  assert.deepEqual(statuses, [401, 401, 401, 401, 401, 429]);
  assert.equal((await logIn('victim')).reply.status, 429, 'not even with the right one');
  assert.equal((await logIn('ann')).reply.status, 200, 'others are not locked out');
});

test('sessions end with a new password, and with the user, also when the name is used again', async () => {
  await api.put('/v1/users/bob', { role: 'admin', password: PASSWORD });
  const first = await logIn('bob');
  const read = (cookie: string) => api.get('/v1/services', { token: null, headers: { cookie } });
  assert.equal((await read(first.cookie)).status, 200);
  await api.patch('/v1/users/bob', { password: 'another long one' });
  assert.equal((await read(first.cookie)).status, 401);
  const second = await logIn('bob', 'another long one');
  assert.equal((await read(second.cookie)).status, 200);
  await api.put('/v1/users/carl', { role: 'admin', password: PASSWORD });
  assert.equal((await api.delete('/v1/users/bob')).status, 204);
  await api.put('/v1/users/bob', { role: 'viewer', password: PASSWORD });
  assert.equal((await read(second.cookie)).status, 401);
});

test('a user changes the own password with the present one', async () => {
  await api.put('/v1/users/dora', { role: 'viewer', password: PASSWORD });
  const { cookie, csrf } = await logIn('dora');
  const change = (password: string) =>
    api.post(
      '/v1/session/password',
      { password, newPassword: 'a brand new secret' },
      { token: null, headers: { cookie, 'x-csrf-token': csrf } },
    );
  assert.equal((await change('wrong')).status, 401);
  assert.equal((await change(PASSWORD)).status, 200);
  assert.equal((await logIn('dora', 'a brand new secret')).reply.status, 200);
});

test('the last admin is neither removed nor demoted; users need a role and a password', async () => {
  for (const { name, role } of listOf((await api.get('/v1/users')).body.items)) {
    if (String(role) === 'admin' && String(name) !== 'carl') await api.delete(`/v1/users/${name}`);
  }
  assert.equal((await api.delete('/v1/users/carl')).status, 409);
  assert.equal((await api.patch('/v1/users/carl', { role: 'viewer' })).status, 409);
  assert.equal((await api.put('/v1/users/new', { role: 'viewer' })).status, 400);
  assert.equal((await api.put('/v1/users/new', { role: 'viewer', password: 'short' })).status, 400);
  assert.equal((await api.put('/v1/users/new', { role: 'worker', password: PASSWORD })).status, 400);
  assert.ok(!JSON.stringify((await api.get('/v1/users')).body).includes('hash'));
});

test('the first start makes a way in: user and token in 0600 files, once', async () => {
  const data = await mkdtemp(join(tmpdir(), 'kontrol-first-'));
  const first = await startApiUnderTest({ data, apiToken: null });
  const admin = first.api.firstAdmin;
  assert.ok(admin !== null && admin.password === null && admin.passwordFile !== null);
  for (const file of [admin.passwordFile, admin.tokenFile]) {
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  }
  const token = (await readFile(admin.tokenFile, 'utf8')).trim();
  const password = (await readFile(admin.passwordFile, 'utf8')).trim();
  assert.equal((await first.get('/v1/users', { token })).status, 200);
  assert.equal((await logIn('admin', password, first)).reply.status, 200);
  await first.close();

  const second = await startApiUnderTest({ data, apiToken: null });
  assert.equal(second.api.firstAdmin, null);
  assert.equal((await second.get('/v1/users', { token })).status, 200);
  await second.close();
  await rm(data, { recursive: true });
});

test('of several that start at once one makes the way in, and what the files say opens it', async () => {
  const data = await mkdtemp(join(tmpdir(), 'kontrol-race-'));
  const apis = await Promise.all([1, 2, 3, 4].map(() => startApiUnderTest({ data, apiToken: null })));
  assert.equal(apis.filter((each) => each.api.firstAdmin !== null).length, 1);
  const token = (await readFile(join(data, 'admin-token'), 'utf8')).trim();
  const password = (await readFile(join(data, 'admin-password'), 'utf8')).trim();
  for (const each of apis) assert.equal((await each.get('/v1/users', { token })).status, 200);
  assert.equal((await logIn('admin', password, apis[3])).reply.status, 200);
  assert.deepEqual((await readdir(data)).filter((name) => name.startsWith('admin')).sort(), [
    'admin-password',
    'admin-token',
  ]);
  await Promise.all(apis.map((each) => each.close()));
  await rm(data, { recursive: true });
});

test('a first start that broke off before its user is finished by the next one', async () => {
  const data = await mkdtemp(join(tmpdir(), 'kontrol-broken-'));
  const first = await startApiUnderTest({ data, apiToken: null });
  await first.close();
  const store = await openStore(first.settings, silentLog);
  await store.live.delete('users', 'admin');
  await store.close();
  const second = await startApiUnderTest({ data, apiToken: null });
  assert.equal(second.api.firstAdmin?.user, 'admin');
  const password = (await readFile(join(data, 'admin-password'), 'utf8')).trim();
  assert.equal((await logIn('admin', password, second)).reply.status, 200);
  await second.close();
  await rm(data, { recursive: true });
});

test('with KONTROL_API_TOKEN no user and no file is made', async () => {
  assert.equal(api.api.firstAdmin, null);
  await assert.rejects(stat(join(api.settings.data, 'admin-token')));
});

/** People who log in: made, changed and removed on the command line, with a trail in the log of kontrolapi. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Cluster } from '../../cluster.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start(0);
});
after(() => cluster?.close());

function kontrol(args: readonly string[], input = ''): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, KONTROL_URL: cluster.apiUrl, KONTROL_TOKEN: cluster.token };
    const child = execFile(process.execPath, [MAIN, ...args], { env, timeout: 30_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), text: out + err });
    });
    child.stdin?.end(input);
  });
}

async function logIn(user: string, password: string): Promise<number> {
  const response = await fetch(`${cluster.apiUrl}/v1/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user, password }),
  });
  return response.status;
}

test('a user is created, logs in, gets another password and role, and is removed; the log tells who did it', async () => {
  const created = await kontrol(['user', 'create', 'ann', '--role', 'operator'], 'a first password\n');
  assert.deepEqual(created, { code: 0, text: 'created ann (operator)\n' });
  assert.equal(await logIn('ann', 'a first password'), 200);
  assert.equal((await kontrol(['user', 'password', 'ann'], 'a second password\n')).code, 0);
  assert.equal(await logIn('ann', 'a first password'), 401);
  assert.equal(await logIn('ann', 'a second password'), 200);
  assert.equal((await kontrol(['user', 'role', 'ann', '--role', 'admin'])).code, 0);
  assert.match((await kontrol(['user'])).text, /^ann +admin /m);
  assert.equal((await kontrol(['user', 'delete', 'ann'])).code, 0);
  assert.equal(await logIn('ann', 'a second password'), 401);

  const trail = (event: string) =>
    new RegExp(`audit_${event}"[^\\n]*"by":"token/admin"[^\\n]*"subject":"ann"`);
  const output = cluster.api?.output ?? '';
  for (const event of ['user_created', 'user_changed', 'user_removed']) assert.match(output, trail(event));
  for (const event of ['login', 'login_failed'])
    assert.match(output, new RegExp(`audit_${event}"[^\\n]*"by":"ann"`));
  assert.doesNotMatch(output, /(first|second) password/);
});

test('wrong use and short passwords are told with what to do', async () => {
  assert.equal((await kontrol(['user', 'promote', 'ann'])).code, 2);
  assert.equal((await kontrol(['user', 'role', 'ann'])).code, 2);
  const short = await kontrol(['user', 'create', 'bob'], 'short\n');
  assert.equal(short.code, 1);
  assert.match(short.text, /password has at least 10 characters/);
});

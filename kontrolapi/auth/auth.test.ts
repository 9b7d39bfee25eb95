import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { Auth } from './auth.ts';

function authOver(log: Log = silentLog) {
  const users = new Map<string, LiveDocument>();
  let away = false;
  const live = {
    async insert(_: string, _id: string, fields: object) {
      users.set(_id, { _id, v: 1, ...fields });
      return true;
    },
    async get(_: string, id: string) {
      if (away) throw new KontrolError('store_unavailable');
      return users.get(id) ?? null;
    },
  } as unknown as LiveStore;
  const auth = new Auth({
    live,
    clock: new ManualClock(),
    log,
    apiToken: null,
    secureCookie: false,
  });
  const logIn = (password: string) => auth.logIn('ann', password, '192.0.2.1', 'wrong');
  return {
    auth,
    logIn,
    setAway: (value: boolean) => {
      away = value;
    },
  };
}

test('logins that the store prevents are no failures: with the store back the user gets in', async () => {
  const { auth, logIn, setAway } = authOver();
  await auth.users.create('ann', 'viewer', 'right password');
  setAway(true);
  for (let attempt = 0; attempt < 31; attempt++)
    await assert.rejects(logIn('right password'), { code: 'store_unavailable' });
  setAway(false);
  assert.equal((await logIn('right password')).name, 'ann');
});

test('a wrong password counts, until there were five', async () => {
  const { auth, logIn } = authOver();
  await auth.users.create('ann', 'viewer', 'right password');
  for (let attempt = 0; attempt < 5; attempt++)
    await assert.rejects(logIn('guess'), { code: 'unauthorized', message: 'wrong' });
  await assert.rejects(logIn('right password'), { code: 'rate_limited' });
});

test('logins, failed ones and refusals leave a trail without any password; refusals are told once', async () => {
  const lines: { code: string; fields: unknown }[] = [];
  const log = {
    ...silentLog,
    info: (code: string, _: string, fields?: unknown) => lines.push({ code, fields }),
  };
  const { auth, logIn } = authOver(log as Log);
  await auth.users.create('ann', 'viewer', 'right password');
  await logIn('right password');
  for (let attempt = 0; attempt < 9; attempt++) await assert.rejects(logIn('a guess'));
  assert.deepEqual(
    lines.map(({ code }) => code),
    ['audit_login', ...Array<string>(5).fill('audit_login_failed'), 'audit_login_refused'],
  );
  assert.deepEqual(lines[0]?.fields, { by: 'ann', address: '192.0.2.1' });
  assert.ok(!JSON.stringify(lines).includes('password') && !JSON.stringify(lines).includes('guess'));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { Auth } from './auth.ts';

function authOver() {
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
    log: silentLog,
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

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { ManualClock } from '../shared/clock.ts';
import { silentLog } from '../shared/log.ts';
import { isEncrypted, open, SEALED_FIELD, seal } from '../shared/secrets.ts';
import { cookieKeys } from '../shared/signed-cookie.ts';
import type { Store } from '../shared/store/contract.ts';
import { openStore } from '../shared/store/open.ts';
import { COOKIE_KEY_AGE_MS, keepNodeKeys, TICKET_KEYS_AGE_MS } from './node-keys.ts';

let folder: string;
let store: Store;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kontrol-node-keys-'));
  store = await openStore({ mongoUrl: null, data: folder }, silentLog);
});
after(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  for (const { _id } of await store.live.list('secrets')) await store.live.delete('secrets', _id);
});

const sealed = async (name: string) => String((await store.live.get('secrets', name))?.[SEALED_FIELD]);
const opened = async (name: string, secret: string | null = null) => open(await sealed(name), secret);

test('a fresh store gets both keys, as long as their users want them', async () => {
  await keepNodeKeys(store.live, null, new ManualClock());
  const keys = cookieKeys(await opened('cookie-key'));
  assert.deepEqual(
    keys.map((key) => Buffer.from(key, 'base64url').length),
    [32, 32],
  );
  assert.equal(Buffer.from(await opened('ticket-keys'), 'base64').length, 48);
});

test('keys are sealed with KONTROL_SECRET', async () => {
  await keepNodeKeys(store.live, 'pass', new ManualClock());
  for (const name of ['cookie-key', 'ticket-keys']) {
    assert.ok(isEncrypted(await sealed(name)), name);
    assert.ok((await opened(name, 'pass')).length > 40, name);
  }
});

test('several processes that start at once agree on one key', async () => {
  const clock = new ManualClock();
  const seen = await Promise.all(
    Array.from({ length: 8 }, async () => {
      await keepNodeKeys(store.live, null, clock);
      return `${await opened('cookie-key')} ${await opened('ticket-keys')}`;
    }),
  );
  assert.equal(new Set(seen).size, 1);
});

test('ticket keys are replaced when they are a day old, once; the cookie keys stay', async () => {
  const clock = new ManualClock();
  await keepNodeKeys(store.live, null, clock);
  const before = [await opened('cookie-key'), await opened('ticket-keys')];
  clock.advance(TICKET_KEYS_AGE_MS - 1);
  await keepNodeKeys(store.live, null, clock);
  assert.deepEqual([await opened('cookie-key'), await opened('ticket-keys')], before);
  clock.advance(1);
  await Promise.all(Array.from({ length: 4 }, () => keepNodeKeys(store.live, null, clock)));
  assert.equal(await opened('cookie-key'), before[0]);
  const tickets = async () => Buffer.from(await opened('ticket-keys'), 'base64');
  const first = Buffer.from(before[1] ?? '', 'base64');
  const second = await tickets();
  assert.equal(second.length, 96);
  assert.deepEqual(
    second.subarray(48),
    first,
    'those before stand behind the present ones, for tickets under way',
  );
  assert.notDeepEqual(second.subarray(0, 48), first);
  assert.equal((await store.live.get('secrets', 'ticket-keys'))?.v, 2);
  clock.advance(TICKET_KEYS_AGE_MS);
  await keepNodeKeys(store.live, null, clock);
  assert.equal((await tickets()).length, 96);
  assert.deepEqual((await tickets()).subarray(48), second.subarray(0, 48));
});

test('a cookie key is believed for a period before and after the one in which it signs', async () => {
  const clock = new ManualClock();
  await keepNodeKeys(store.live, null, clock);
  const [first, second] = cookieKeys(await opened('cookie-key'));
  const renewals: string[][] = [];
  for (let renewal = 0; renewal < 2; renewal++) {
    clock.advance(COOKIE_KEY_AGE_MS);
    await Promise.all(Array.from({ length: 4 }, () => keepNodeKeys(store.live, null, clock)));
    renewals.push([...cookieKeys(await opened('cookie-key'))]);
  }
  const third = renewals[0]?.[1];
  assert.deepEqual(renewals[0], [second, third, first]);
  assert.deepEqual(renewals[1]?.[0], third);
  assert.deepEqual(renewals[1]?.[2], second);
  assert.ok(!renewals[1]?.includes(first ?? ''));
});

test('a single cookie key goes on signing while its successor becomes known; one that cannot be opened stays', async () => {
  const clock = new ManualClock();
  await store.live.insert('secrets', 'cookie-key', { [SEALED_FIELD]: seal('only', null), at: clock.now() });
  clock.advance(COOKIE_KEY_AGE_MS);
  await keepNodeKeys(store.live, null, clock);
  assert.equal(cookieKeys(await opened('cookie-key'))[0], 'only');
  assert.equal(cookieKeys(await opened('cookie-key')).length, 2);
  await store.live.delete('secrets', 'cookie-key');
  await store.live.insert('secrets', 'cookie-key', { [SEALED_FIELD]: seal('a,b', 'other'), at: clock.now() });
  const before = await sealed('cookie-key');
  clock.advance(COOKIE_KEY_AGE_MS);
  await keepNodeKeys(store.live, 'pass', clock);
  assert.equal(await sealed('cookie-key'), before);
});

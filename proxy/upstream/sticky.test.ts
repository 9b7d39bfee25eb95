import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PickRequest } from './contract.ts';
import { Sticky } from './sticky.ts';
import { type Got, heldRig, rig, service, spec, TestBackend } from './testing.ts';

const KEYS = 'one,two,three';
const A = '10.0.0.1:80';
const B = '10.0.0.2:80';
const C = '10.0.0.3:80';
const CONFIG = { cookie: 'kontrol_shop', maxAgeMs: null };

function visitor(cookie?: string, more: Partial<PickRequest> = {}): PickRequest {
  const header = (name: string) => (name === 'cookie' ? cookie : undefined);
  return { address: '192.0.2.1', target: '/', header, ...more };
}

/** `name=value` of a Set-Cookie. */
function sent(setCookie: string | null): string {
  assert.ok(setCookie !== null);
  return setCookie.split(';')[0] as string;
}

function sticky(more: { service?: string; keys?: string; maxAgeMs?: number; now?: () => number } = {}) {
  const config = { ...CONFIG, maxAgeMs: more.maxAgeMs ?? null };
  const made = new Sticky(more.service ?? 'shop', config, more.keys ?? KEYS, more.now ?? (() => 0));
  made.setAddresses([A, B, C]);
  return made;
}

test('a cookie names its backend on every node, and says nothing of its address', () => {
  const cookie = sticky().cookieFor(B, visitor());
  assert.match(cookie ?? '', /^kontrol_shop=0\.[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; SameSite=Lax$/);
  const other = sticky();
  other.setAddresses([C, B]);
  assert.equal(other.addressOf(visitor(`a=1; ${sent(cookie)}; b=2`)), B);
  assert.equal(other.cookieFor(B, visitor(sent(cookie))), null);
  assert.notEqual(other.cookieFor(C, visitor(sent(cookie))), null);
});

test('over TLS the cookie is Secure, and an age is its Max-Age', () => {
  const cookie = sticky({ maxAgeMs: 90_000 }).cookieFor(A, visitor(undefined, { secure: true }));
  assert.match(cookie ?? '', /; Path=\/; Max-Age=90; HttpOnly; SameSite=Lax; Secure$/);
});

test('a cookie means nothing for another service, and nothing once its backend is gone', () => {
  const cookie = sent(sticky().cookieFor(A, visitor()));
  assert.equal(sticky({ service: 'other' }).addressOf(visitor(cookie)), null);
  const it = sticky();
  assert.equal(it.addressOf(visitor(cookie)), A);
  it.setAddresses([B, C]);
  assert.equal(it.addressOf(visitor(cookie)), null);
  it.setAddresses([A, B]);
  assert.equal(it.addressOf(visitor(cookie)), A);
});

test('a cookie of an older key is believed and replaced; one of an unknown key is not', () => {
  const old = sent(sticky({ keys: 'three' }).cookieFor(A, visitor()));
  const it = sticky();
  assert.equal(it.addressOf(visitor(old)), A);
  const renewed = sent(it.cookieFor(A, visitor(old)));
  assert.notEqual(renewed, old);
  assert.equal(sticky({ keys: 'one' }).addressOf(visitor(renewed)), A);
  assert.equal(sticky({ keys: 'four' }).addressOf(visitor(renewed)), null);
});

test('with an age a cookie is renewed as it is used, and not believed long after', () => {
  let now = 1_767_225_600_000;
  const it = sticky({ maxAgeMs: 60_000, now: () => now });
  const first = sent(it.cookieFor(A, visitor()));
  assert.equal(it.cookieFor(A, visitor(first)), null);
  now += 30_000;
  assert.equal(it.addressOf(visitor(first)), A);
  const second = sent(it.cookieFor(A, visitor(first)));
  assert.notEqual(second, first);
  now += 60_000;
  assert.equal(it.addressOf(visitor(first)), null);
  assert.equal(it.addressOf(visitor(second)), A);
  now += 3_600_000;
  assert.equal(it.addressOf(visitor(second)), null);
});

test('whatever stands in a cookie that we did not make pins nobody', () => {
  const it = sticky({ maxAgeMs: 60_000 });
  const good = sent(it.cookieFor(A, visitor())).split('=')[1] as string;
  const forged = fc.oneof(
    fc.string({ maxLength: 100 }),
    fc.tuple(fc.nat(good.length - 1), fc.constantFrom(...'aZ0_-.; "')).map(([at, character]) => {
      return good.slice(0, at) + character + good.slice(at + 1);
    }),
    fc.constantFrom(
      `${good}x`,
      good.slice(1),
      `-1${good}`,
      `zzzzzzzzzz${good}`,
      `NaN${good}`,
      '.'.repeat(90_000),
    ),
  );
  fc.assert(
    fc.property(forged, (value) => {
      if (value === good) return;
      const found = it.addressOf(visitor(`kontrol_shop=${value}`));
      // A semicolon or blanks around leave the rest as it was.
      assert.ok(found === null || value.split(';')[0]?.trim().replaceAll('"', '') === good, value);
    }),
  );
});

test("a cookie of the same name that another host of the domain has set stands in nobody's way", () => {
  const it = sticky();
  const own = sent(it.cookieFor(B, visitor()));
  const foreign = 'kontrol_shop=x; kontrol_shop=0.y';
  assert.equal(it.addressOf(visitor(`${foreign}; ${own}`)), B);
  assert.equal(it.cookieFor(B, visitor(`${foreign}; ${own}`)), null);
  assert.equal(it.addressOf(visitor(foreign)), null);
  const many = Array.from({ length: 500 }, (_, i) => `kontrol_shop=${i}`).join('; ');
  assert.equal(it.addressOf(visitor(`${many}; ${own}`)), null, 'only so many are looked at');
});

// In the service.

const sticking = (backends: Parameters<typeof service>[0][number], more: Record<string, unknown> = {}) =>
  service({ 1: backends }, { sticky: {}, ...more });

function pinnedRig() {
  const made = heldRig();
  made.upstreams.setCookieKeys(KEYS);
  return made;
}

/** Acquires with this cookie; connects succeed at once. */
function ask(made: ReturnType<typeof heldRig>, of: ReturnType<typeof service>, cookie?: string): Got {
  const got = made.acquire(of, {}, undefined, visitor(cookie));
  while (got.answers === 0 && made.connector.pending.length > 0) made.connector.succeed();
  return got;
}

test('a visitor stays with its backend whatever the policy says, and gets no second cookie', () => {
  const made = pinnedRig();
  const shop = sticking([A, B, C]);
  made.upstreams.setService('shop', shop);
  const first = ask(made, shop);
  const cookie = sent(first.connection?.setCookie ?? null);
  for (let request = 0; request < 6; request++) {
    const next = ask(made, shop, cookie);
    assert.equal(next.address, first.address);
    assert.equal(next.connection?.setCookie, null);
  }
  const others = new Set([1, 2, 3, 4].map(() => ask(made, shop).address));
  assert.equal(others.size, 3);
});

test('the cookie names a backend, not a place: reordered and changed lists keep visitors', () => {
  const made = pinnedRig();
  made.upstreams.setService('shop', sticking([A, B, C]));
  const first = ask(made, sticking([A, B, C]));
  const cookie = sent(first.connection?.setCookie ?? null);
  const changed = sticking([C, '10.0.0.9:80', B, A]);
  made.upstreams.setService('shop', changed);
  assert.equal(ask(made, changed, cookie).address, first.address);
});

for (const [what, after, keeps] of [
  ['drained by hand', spec(A, { state: 'drain' }), true],
  ['of weight 0', spec(A, { weight: 0 }), true],
  ['a draining worker', spec(A, { state: 'drain', worker: 'w1' }), false],
  ['in maintenance', spec(A, { state: 'maintenance' }), false],
  ['lost', spec(A, { state: 'lost', worker: 'w1' }), false],
  ['gone', null, false],
] as const) {
  test(`a backend that is ${what} ${keeps ? 'keeps' : 'loses'} its visitors, and gets no new ones`, () => {
    const made = pinnedRig();
    const before = sticking([A]);
    made.upstreams.setService('shop', before);
    const cookie = sent(ask(made, before).connection?.setCookie ?? null);
    const shop = sticking(after === null ? [B] : [after, B]);
    made.upstreams.setService('shop', shop);
    const got = ask(made, shop, cookie);
    assert.equal(got.address, keeps ? A : B);
    assert.equal(got.connection?.setCookie === null, keeps);
    for (let request = 0; request < 3; request++) assert.equal(ask(made, shop).address, B);
  });
}

test('a visitor whose backend is dead or does not accept is pinned to another', () => {
  const made = pinnedRig();
  const shop = sticking([A, B]);
  made.upstreams.setService('shop', sticking([A]));
  const cookie = sent(ask(made, sticking([A])).connection?.setCookie ?? null);
  made.upstreams.setService('shop', shop);
  const got = made.acquire(shop, { fresh: true }, undefined, visitor(cookie));
  made.connector.fail();
  made.connector.succeed();
  assert.equal(got.address, B);
  const moved = sent(got.connection?.setCookie ?? null);
  assert.equal(ask(made, shop, moved).address, B);
  made.upstreams.setVerdict('shop', A, false);
  assert.equal(ask(made, shop, cookie).address, B);
});

test('a retry goes to another backend and pins the visitor there', () => {
  const made = pinnedRig();
  const shop = sticking([A, B]);
  made.upstreams.setService('shop', shop);
  const first = ask(made, shop);
  const cookie = sent(first.connection?.setCookie ?? null);
  const failed = first.connection?.backend;
  const got = made.acquire(shop, { fresh: true, tried: failed ? [failed] : [] }, undefined, visitor(cookie));
  made.connector.succeed();
  assert.notEqual(got.address, first.address);
  assert.notEqual(got.connection?.setCookie, null);
});

test('a tunnel follows the same cookie', () => {
  const made = pinnedRig();
  const shop = sticking([A, B, C]);
  made.upstreams.setService('shop', shop);
  const first = ask(made, shop);
  const cookie = sent(first.connection?.setCookie ?? null);
  for (let turn = 0; turn < 4; turn++) {
    const got = made.acquire(shop, { websocket: true }, undefined, visitor(cookie));
    made.connector.succeed();
    assert.equal(got.address, first.address);
  }
});

test('a visitor waits for its own backend when that is at its limit, and those behind it do not', () => {
  const made = pinnedRig();
  const shop = sticking([A, B], { pool: { max: 1 }, queue: { size: 5, wait: '2s' } });
  made.upstreams.setService('shop', shop);
  const first = ask(made, shop);
  const cookie = sent(first.connection?.setCookie ?? null);
  const second = ask(made, shop);
  assert.notEqual(second.address, first.address);
  const pinned = made.acquire(shop, {}, undefined, visitor(cookie));
  const anybody = made.acquire(shop, {}, undefined, visitor());
  second.connection?.release(null);
  assert.equal(anybody.address, second.address);
  assert.equal(pinned.answers, 0);
  first.connection?.release(null);
  assert.equal(pinned.address, first.address);
});

test('many who wait for a backend of their own are not asked for their cookies whenever another one is free', () => {
  const made = pinnedRig();
  const shop = sticking([A, B], { pool: { max: 1 }, queue: { size: 50 } });
  made.upstreams.setService('shop', shop);
  const first = ask(made, shop);
  const cookie = sent(first.connection?.setCookie ?? null);
  let looks = 0;
  const counting = visitor(undefined, {
    header(name) {
      if (name !== 'cookie') return undefined;
      looks++;
      return cookie;
    },
  });
  const waiting = Array.from({ length: 50 }, () => made.acquire(shop, {}, undefined, counting));
  ask(made, shop).connection?.release(null);
  const before = looks;
  for (let turn = 0; turn < 20; turn++) ask(made, shop).connection?.release(null);
  assert.equal(looks, before);
  first.connection?.release(null);
  assert.equal(waiting[0]?.address, first.address);
});

test('one who waits for a drained backend is served behind one who finds no room anywhere', () => {
  const made = pinnedRig();
  const document = { pool: { max: 1 }, queue: { size: 5 } };
  made.upstreams.setService('shop', sticking([A, B], document));
  const first = ask(made, sticking([A, B], document));
  const cookie = sent(first.connection?.setCookie ?? null);
  const other = [A, B].find((address) => address !== first.address) as string;
  const drained = sticking([spec(first.address as string, { state: 'drain' }), other], document);
  made.upstreams.setService('shop', drained);
  const anywhere = ask(made, drained);
  const behind = made.acquire(drained, {}, undefined, visitor());
  const pinned = made.acquire(drained, {}, undefined, visitor(cookie));
  first.connection?.release(null);
  assert.equal(pinned.address, first.address);
  assert.equal(behind.answers, 0);
  anywhere.connection?.release(null);
  assert.equal(behind.address, other);
});

test('one whose own backend dies while it waits goes to another', () => {
  const made = pinnedRig();
  const shop = sticking([A, B], { pool: { max: 1 }, queue: { size: 5 } });
  made.upstreams.setService('shop', shop);
  const first = ask(made, shop);
  const pinned = made.acquire(shop, {}, undefined, visitor(sent(first.connection?.setCookie ?? null)));
  assert.equal(pinned.answers, 0);
  made.upstreams.setVerdict('shop', first.address as string, false);
  while (made.connector.pending.length > 0) made.connector.succeed();
  assert.ok(pinned.address !== null && pinned.address !== first.address);
});

test('without a key nobody is pinned, and once there is one, visitors are', () => {
  const made = heldRig();
  const shop = sticking([A]);
  made.upstreams.setService('shop', shop);
  assert.equal(ask(made, shop).connection?.setCookie, null);
  made.upstreams.setCookieKeys(KEYS);
  const cookie = sent(ask(made, shop).connection?.setCookie ?? null);
  made.upstreams.setCookieKeys('zero,one,two');
  assert.notEqual(ask(made, shop, cookie).connection?.setCookie, null);
});

test('switched off, the cookie of before means nothing', () => {
  const made = pinnedRig();
  made.upstreams.setService('shop', sticking([A, B]));
  const cookie = sent(ask(made, sticking([A, B])).connection?.setCookie ?? null);
  const off = service({ 1: [A, B] });
  made.upstreams.setService('shop', off);
  const got = [1, 2, 3, 4].map(() => ask(made, off, cookie));
  assert.equal(new Set(got.map(({ address }) => address)).size, 2);
  assert.ok(got.every(({ connection }) => connection?.setCookie === null));
});

test('a pinned visitor moves when its backend dies on real sockets', async () => {
  const [one, two] = [await TestBackend.start(), await TestBackend.start()];
  const made = rig();
  made.upstreams.setCookieKeys(KEYS);
  const shop = sticking([one.address, two.address], { passive: { attempts: 1 } });
  made.upstreams.setService('shop', shop);
  const first = await made.get(shop);
  const cookie = sent(first.connection?.setCookie ?? null);
  first.connection?.discard(false);
  const backend = first.address === one.address ? one : two;
  await backend.close();
  const moved = made.acquire(shop, {}, undefined, visitor(cookie));
  await moved.settled;
  assert.notEqual(moved.address, first.address);
  assert.notEqual(moved.connection?.setCookie, null);
  moved.connection?.discard(false);
  made.upstreams.close();
  made.timers.stop();
  for (const each of [one, two]) await each.close();
});

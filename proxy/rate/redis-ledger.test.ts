import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Redis } from 'ioredis';
import { type RedisService, startRedis } from '../../test/services/redis.ts';
import { RedisLedger } from './redis-ledger.ts';

let service: RedisService;
let ledger: RedisLedger;
let redis: Redis;
let names = 0;

before(async () => {
  service = await startRedis({ own: true });
  ledger = new RedisLedger(service.url);
  redis = new Redis(service.url, { retryStrategy: () => 50 });
  redis.on('error', () => {});
  await until(() => ledger.up);
});
after(async () => {
  ledger?.close();
  redis?.disconnect();
  await service?.stop();
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail('not within 10 s');
}

const key = () => `key ${names++}`;

async function take(
  of: string,
  waiting: number,
  { limit = 10, periodMs = 60_000, extra = 0, debt = 0 } = {},
) {
  const asked = { key: of, limit, periodMs, wish: { waiting, extra, debt }, share: 20 };
  const grants = await ledger.take([asked]);
  assert.ok(grants !== null);
  return grants[0]!;
}

test('no more places than the limit, whoever asks at the same time', async () => {
  const other = new RedisLedger(service.url);
  await until(() => other.up);
  const of = key();
  const asks = Array.from({ length: 60 }, (_, i) =>
    (i % 2 === 0 ? ledger : other).take([
      { key: of, limit: 25, periodMs: 60_000, wish: { waiting: 1, extra: 0, debt: 0 }, share: 20 },
    ]),
  );
  const granted = (await Promise.all(asks)).map((grants) => grants?.[0]?.granted ?? 0);
  assert.equal(granted.filter((count) => count === 1).length, 25);
  other.close();
});

test('as the ledger in memory: extra is a share of the rest, debt counts, what comes back is free', async () => {
  const of = key();
  const first = await take(of, 1, { limit: 100, extra: 50, debt: 10 });
  assert.equal(first.granted, 5);
  ledger.giveBack([{ key: of, slot: first.slot, count: 3 }]);
  assert.equal((await take(of, 100, { limit: 100 })).granted, 88);
  const none = await take(of, 1, { limit: 100 });
  assert.deepEqual([none.granted, none.left], [0, 0]);
  assert.ok(none.resetMs > 57_000 && none.resetMs <= 60_000 * (1 + 1 / 32) + 1, String(none.resetMs));
});

test('a place is free again when it was said to, and keys end by themselves', async () => {
  const of = key();
  await take(of, 10, { periodMs: 320 });
  const { granted, resetMs } = await take(of, 1, { periodMs: 320 });
  assert.equal(granted, 0);
  await new Promise((resolve) => setTimeout(resolve, resetMs + 2));
  assert.equal((await take(of, 10, { periodMs: 320 })).granted, 10);
  const left = await Promise.all((await redis.keys('kontrol:rate:*')).map((name) => redis.pttl(name)));
  assert.ok(left.length > 0 && left.every((ms) => ms > 0 && ms <= 122_000));
});

test('Redis sees no address and no value', async () => {
  await take('slow 60000 client 192.0.2.77', 1);
  const names = (await redis.keys('*')).join();
  assert.doesNotMatch(names, /192|client/);
});

test('a key of another type costs that answer and nothing else; the server is left alone for a while after', async () => {
  const of = key();
  await take(of, 1);
  for (const name of await redis.keys('kontrol:rate:*')) await redis.set(name, 'garbage');
  assert.equal(
    await ledger.take([
      { key: of, limit: 10, periodMs: 60_000, wish: { waiting: 1, extra: 0, debt: 0 }, share: 1 },
    ]),
    null,
  );
  assert.equal(ledger.up, false);
  await redis.flushall();
  await until(() => ledger.up);
  assert.equal((await take(of, 1)).granted, 1);
});

test('a server that hangs is not waited for, one that is gone not even asked', async () => {
  process.kill(service.pid, 'SIGSTOP');
  const asked = {
    key: key(),
    limit: 10,
    periodMs: 60_000,
    wish: { waiting: 1, extra: 0, debt: 0 },
    share: 1,
  };
  try {
    assert.equal(await ledger.take([asked]), null);
    assert.equal(ledger.up, false);
  } finally {
    process.kill(service.pid, 'SIGCONT');
  }
  await service.stop();
  assert.equal(await ledger.take([asked]), null);
  await service.restart();
  await until(() => ledger.up);
  assert.equal((await ledger.take([asked]))?.[0]?.granted, 1);
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, test } from 'node:test';
import { Redis } from 'ioredis';
import { type RedisService, startRedis } from '../../test/services/redis.ts';
import type { Log } from '../log.ts';
import { type BusPlace, busConformance, recordingLog, until } from './conformance.ts';
import { RedisBus } from './redis.ts';

// The server is killed and stopped here, which nobody wants to happen to one of their own.
delete process.env['REDIS_URL'];
const server: RedisService = await startRedis();
after(() => server.stop());

const FAST = { pingMs: 50, silenceMs: 400 };

async function openPlace(): Promise<BusPlace> {
  const hand = new Redis(server.url, { lazyConnect: true, enableOfflineQueue: false });
  hand.on('error', () => {});
  return {
    open: (log: Log) => new RedisBus(server.url, log, FAST),
    kill: () => server.stop(),
    restore: () => server.restart(),
    freeze: () => void process.kill(server.pid, 'SIGSTOP'),
    thaw: () => void process.kill(server.pid, 'SIGCONT'),
    async sendRaw(channel, payload) {
      if (hand.status !== 'ready') await hand.connect();
      await hand.publish(channel, payload);
    },
    async close() {
      hand.disconnect();
    },
  };
}

busConformance('Redis bus', openPlace);

test('a server that is away from the start is told once and joined when it comes', async () => {
  await server.stop();
  const { log, lines } = recordingLog();
  const bus = new RedisBus(server.url, log, FAST);
  bus.subscribe('updateProxy', () => {});
  await until('it was told', () => lines.length > 0);
  for (let i = 0; i < 1_000; i++) bus.publish('updateProxy', { i });
  await server.restart();
  await until('it is connected', () => bus.connected);
  assert.deepEqual(
    lines.map((line) => line.code),
    ['bus_lost', 'bus_connected'],
  );
  await bus.close();
});

test('each loss and each return is told once, however many attempts lie between', async () => {
  const { log, lines } = recordingLog();
  const bus = new RedisBus(server.url, log, FAST);
  await until('it is connected', () => bus.connected);
  await server.stop();
  await until('it was lost', () => !bus.connected);
  // In the place of the server, to see several attempts fail.
  let attempts = 0;
  const closed = createServer((socket) => {
    attempts++;
    socket.destroy();
  });
  closed.listen(Number(new URL(server.url).port), '127.0.0.1');
  await until('some attempts have failed', () => attempts >= 3);
  closed.close();
  await once(closed, 'close');
  await server.restart();
  await until('it is back', () => bus.connected);
  assert.deepEqual(
    lines.map((line) => line.code),
    ['bus_connected', 'bus_lost', 'bus_connected'],
  );
  await bus.close();
});

test('a wrong password is told without showing it', async () => {
  const { log, lines } = recordingLog();
  const url = server.url.replace('redis://', 'redis://someone:pa55word@');
  const bus = new RedisBus(url, log, FAST);
  await until('it was told', () => lines.length > 0);
  assert.equal(bus.connected, false);
  assert.doesNotMatch(JSON.stringify(lines), /pa55word|someone/);
  await bus.close();
});

test('a port that accepts and never answers does not count as connected, and can be closed', async () => {
  const mute = createServer(() => {});
  mute.listen(0, '127.0.0.1');
  await once(mute, 'listening');
  const { port } = mute.address() as { port: number };
  const { log, lines } = recordingLog();
  const bus = new RedisBus(`redis://127.0.0.1:${port}`, log, FAST);
  bus.subscribe('updateProxy', () => {});
  await until('it was told', () => lines.length > 0);
  assert.equal(bus.connected, false);
  await bus.close();
  mute.close();
});

test('a server that hangs costs messages, not memory', async () => {
  const { log } = recordingLog();
  const bus = new RedisBus(server.url, log, { pingMs: 50, silenceMs: 2_000 });
  await until('it is connected', () => bus.connected);
  process.kill(server.pid, 'SIGSTOP');
  try {
    const before = process.memoryUsage().heapUsed;
    const pad = 'x'.repeat(1_000);
    for (let i = 0; i < 200_000; i++) bus.publish('updateProxy', { i, pad });
    assert.ok(process.memoryUsage().heapUsed - before < 50_000_000);
  } finally {
    process.kill(server.pid, 'SIGCONT');
  }
  await bus.close();
});

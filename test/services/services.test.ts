import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import { startMongo, startRedis } from './index.ts';

test('a Redis server starts, restarts empty on its port, and stops', async () => {
  const service = await startRedis({ own: true });
  const redis = new Redis(service.url, { lazyConnect: true, retryStrategy: () => 20 });
  redis.on('error', () => {});
  try {
    await redis.set('a', '1');
    const pid = service.pid;
    await service.restart();
    assert.notEqual(service.pid, pid);
    assert.equal(await redis.get('a'), null);
  } finally {
    redis.disconnect();
    await service.stop();
    await service.stop();
  }
});

test('a MongoDB server keeps what it acknowledged through kill and restart', async () => {
  const service = await startMongo({ own: true });
  const client = new MongoClient(service.url);
  try {
    await client.db().collection<{ _id: number }>('things').insertOne({ _id: 1 });
    await service.kill();
    await service.restart();
    assert.deepEqual(await client.db().collection('things').find().toArray(), [{ _id: 1 }]);
  } finally {
    await client.close();
    await service.stop();
  }
});

test('a service ends with the test process that was killed', async () => {
  const module = fileURLToPath(import.meta.resolve('./index.js'));
  const script = `import { startRedis } from ${JSON.stringify(module)};
    console.log((await startRedis({ own: true })).pid); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  assert.ok(isAlive(pid));
  child.kill('SIGKILL');
  const deadline = performance.now() + 10_000;
  while (isAlive(pid)) {
    assert.ok(performance.now() < deadline, 'the server outlived its test');
    await setTimeout(5);
  }
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

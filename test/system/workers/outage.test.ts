/** Workers while MongoDB and Redis are away for longer than a lease. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Cluster, visit } from '../../cluster.ts';
import { startMongo, startRedis } from '../../services/index.ts';
import { answering, TestWorker, workersOf } from './worker.ts';

test('store and bus away longer than a lease: traffic goes on, nobody is lost, what was reported is made up for', async (t) => {
  const mongo = await startMongo({ own: true });
  t.after(() => mongo.stop());
  const redis = await startRedis({ own: true });
  t.after(() => redis.stop());
  const cluster = await Cluster.start(1, { mongoUrl: mongo.url, redisUrl: redis.url });
  t.after(() => cluster.close());
  const refused = await cluster.call('POST', '/v1/workers', { service: 'web', port: 3_000 });
  assert.deepEqual([refused.status, refused.body.errors?.[0].path], [400, 'host'], 'a node may be elsewhere');
  await cluster.ok('PATCH', '/v1/settings', { workers: { loopback: true } });
  await cluster.apply({ kind: 'domain', name: 'web.test', service: 'web' });
  const steady = await TestWorker.start(cluster, 'steady');
  const file = join(cluster.folder, 'may-listen');
  const slow = await TestWorker.run(cluster, 'slow', [], file);
  await slow.becomes(cluster, 'starting');
  await cluster.until('its program runs', () => slow.program !== null);
  const ids = (await workersOf(cluster)).map(({ id }) => id).sort();

  await Promise.all([mongo.kill(), redis.stop()]);
  writeFileSync(file, '');
  await cluster.until('it noticed', () => slow.wrapper.output.includes('ready on port'));
  const end = performance.now() + 17_000;
  await cluster.until('a lease has passed', async () => {
    assert.equal((await visit(cluster.nodes[0]?.http ?? 0, 'web.test')).status, 200);
    return performance.now() > end;
  });
  for (const worker of [steady, slow]) {
    assert.doesNotMatch(worker.wrapper.output, /does not answer/, 'beats are answered all the time');
  }

  await Promise.all([mongo.restart(), redis.restart()]);
  await cluster.until('both serve', async () => (await answering(cluster)).join() === 'slow,steady');
  const workers = await workersOf(cluster);
  assert.deepEqual(workers.map(({ id }) => id).sort(), ids, 'the same registrations');
  assert.deepEqual(
    workers.map(({ state }) => state),
    ['ready', 'ready'],
  );
  assert.doesNotMatch(cluster.api?.output ?? '', /workers_lost/);
});

/** Leases that run out, waiting workers, and a control plane that is away: with the real times of the product. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, visit } from '../../cluster.ts';
import { answering, stateOf, TestWorker, workersOf } from './worker.ts';

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start(1);
  await cluster.apply({ kind: 'domain', name: 'web.test', service: 'web' });
});
after(() => cluster.close());

test('a worker killed together with its wrapper is lost after its lease, and out of balancing', async () => {
  const stays = await TestWorker.start(cluster, 'stays');
  const dies = await TestWorker.start(cluster, 'dies');
  await cluster.until('both serve', async () => (await answering(cluster)).length === 2);
  // Its program lives on, as after a wrapper that was killed alone: only the lease can tell.
  const { pid } = await dies.ask();
  dies.wrapper.process.kill('SIGKILL');
  try {
    await dies.becomes(cluster, 'lost');
    await cluster.until('it is out', async () => (await answering(cluster)).join() === 'stays');
    // The last resort: nothing else of the service is alive, and its health check passes.
    await stays.wrapper.end();
    assert.deepEqual(await answering(cluster, 4), ['dies']);
  } finally {
    process.kill(pid, 'SIGKILL');
  }
  await cluster.until('nobody is left', async () => (await answering(cluster, 1))[0] === '503');
  const lost = (await workersOf(cluster)).map(({ name, state }) => ({ name, state }));
  assert.deepEqual(lost, [{ name: 'dies', state: 'lost' }]);
});

test('kontrolapi away longer than a lease: nobody is lost, and who came meanwhile is registered', async () => {
  const before = await TestWorker.start(cluster, 'before');
  const { pid } = await before.ask();
  const [{ id } = { id: '' }] = (await workersOf(cluster)).filter(({ name }) => name === 'before');
  cluster.api?.process.kill('SIGKILL');
  const meanwhile = await TestWorker.run(cluster, 'meanwhile');
  const alone = await TestWorker.run(cluster, 'alone', ['--mode', 'one', '--service', 'solo']);
  await cluster.until('it runs without an API', () => meanwhile.runs());
  const until = performance.now() + 17_000;
  await cluster.until('a lease has passed', async () => {
    assert.equal((await visit(cluster.nodes[0]?.http ?? 0, 'web.test')).status, 200);
    return performance.now() > until;
  });
  assert.equal(await alone.runs(), false, 'in mode one it waits for permission');
  await cluster.startApi();
  await meanwhile.becomes(cluster, 'ready');
  await alone.becomes(cluster, 'ready');
  await cluster.until('both serve', async () => (await answering(cluster)).join() === 'before,meanwhile');
  assert.equal(await stateOf(cluster, 'before'), 'ready');
  assert.equal(
    (await workersOf(cluster)).find(({ name }) => name === 'before')?.id,
    id,
    'the same registration',
  );
  assert.equal((await before.ask()).pid, pid, 'the same process');
});

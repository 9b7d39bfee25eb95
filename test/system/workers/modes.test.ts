/** Start modes, builds and orders, with real programs. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';
import { answering, stateOf, TestWorker, workersOf } from './worker.ts';

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start(1);
});
after(() => cluster.close());

test('mode one: the second waits without a process, and takes over when the first goes', async () => {
  const args = ['--service', 'solo', '--mode', 'one'];
  const first = await TestWorker.start(cluster, 'solo-1', args);
  const second = await TestWorker.run(cluster, 'solo-2', args);
  await second.becomes(cluster, 'waiting');
  assert.equal(second.program, null);
  await first.wrapper.end();
  await second.becomes(cluster, 'ready');
  assert.equal(await first.runs(), false);
  assert.match(second.wrapper.output, /another worker runs; waiting for permission/);
  await second.wrapper.end();
});

test('mode version: workers of one version run side by side, the next version starts when all of them are gone', async () => {
  const args = (version: string) => ['--service', 'pair', '--mode', 'version', '--worker-version', version];
  const old = [
    await TestWorker.start(cluster, 'pair-1', args('a')),
    await TestWorker.start(cluster, 'pair-2', args('a')),
  ];
  const next = await TestWorker.run(cluster, 'pair-3', args('b'));
  await next.becomes(cluster, 'waiting');
  await old[0]?.wrapper.end();
  await next.becomes(cluster, 'waiting');
  assert.equal(next.program, null);
  await old[1]?.wrapper.end();
  await next.becomes(cluster, 'ready');
  await next.wrapper.end();
});

test('a new key registers beside the old and takes over only when it is ready', async () => {
  await cluster.apply({ kind: 'domain', name: 'web.test', service: 'web' });
  await TestWorker.start(cluster, 'old', ['--key', '41']);
  await cluster.until('the old build serves', async () => (await answering(cluster, 2)).join() === 'old');
  const file = join(cluster.folder, 'new-may-listen');
  const fresh = await TestWorker.run(cluster, 'new', ['--key', '42'], file);
  await fresh.becomes(cluster, 'starting');
  await cluster.until('its program runs', () => fresh.program !== null);
  assert.deepEqual(await answering(cluster), ['old']);
  writeFileSync(file, '');
  await cluster.until('the new build serves', async () => (await answering(cluster)).join() === 'new');
});

test('a key named by a route goes where it says, and a removed old one answers 410', async () => {
  await cluster.apply(
    { kind: 'domain', name: 'old.test', service: 'web', key: 41 },
    { kind: 'domain', name: 'web.test', service: 'web' },
  );
  assert.deepEqual(await answering(cluster, 4, 'old.test'), ['old']);
  assert.deepEqual(await answering(cluster, 4), ['new']);
  await cluster.ok('PATCH', '/v1/services/web?wait=all', { keys: { '41': null } });
  assert.deepEqual(await answering(cluster, 4, 'old.test'), ['410']);
  assert.deepEqual(await answering(cluster, 4), ['new']);
});

test('a worker is drained and stopped by its id; its wrapper ends with code 0', async () => {
  const worker = await TestWorker.start(cluster, 'ordered', ['--service', 'orders']);
  const id = (await workersOf(cluster)).find(({ name }) => name === 'ordered')?.id ?? '';
  const drained = await cluster.ok('POST', `/v1/workers/${id}/drain?wait=all`);
  assert.deepEqual([drained.status, drained.body], [200, { id, pending: [] }]);
  assert.equal(await stateOf(cluster, 'ordered'), 'drain');
  assert.equal(await worker.runs(), true);
  await cluster.ok('POST', `/v1/workers/${id}/stop`);
  await cluster.until('it has ended', () => !worker.wrapper.running);
  assert.equal(worker.wrapper.process.exitCode, 0);
  assert.equal(await stateOf(cluster, 'ordered'), 'none');
});

test('a program that crashes again and again is started ever more rarely, each time under a new id', async () => {
  const port = String(await freePort());
  const crash = 'setTimeout(() => process.exit(7), 50)';
  const options = ['--service', 'crashing', '--port', port, '--name', 'crashing'];
  const wrapper = cluster.run(['run', ...options, '--', process.execPath, '-e', crash]);
  const starts = () => wrapper.output.match(/exit code 7\); it starts again in \d+ s/g) ?? [];
  await cluster.until('it crashed three times', () => starts().length >= 3);
  assert.deepEqual(
    starts()
      .map((line) => line.replace(/.* in /, ''))
      .slice(0, 3),
    ['1 s', '2 s', '4 s'],
  );
  const ids = new Set(wrapper.output.match(/registered as \S+/g));
  assert.ok(ids.size >= 3, wrapper.output);
  await wrapper.end();
  assert.equal(wrapper.process.exitCode, 0);
});

/** Workers that come, leave and die under load, all of it with the commands and processes of the product. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, visit } from '../../cluster.ts';
import { Load, summarise } from '../../fault/load.ts';
import { answering, TestWorker } from './worker.ts';

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start(2);
  await cluster.apply({ kind: 'domain', name: 'web.test', service: 'web' });
});
after(() => cluster.close());

const load = (seconds: number) =>
  new Load({
    ports: cluster.nodes.map((node) => node.http),
    host: 'web.test',
    seconds,
    perSecond: 100,
    connections: 20,
  });

test('traffic comes when the port accepts, goes elsewhere when a worker leaves, and is 503 after the last', async () => {
  assert.deepEqual(await answering(cluster, 2), ['503'], 'a domain whose service does not exist yet');
  const first = await TestWorker.start(cluster, 'first');
  await cluster.until('it serves', async () => (await answering(cluster, 1))[0] === 'first');
  const second = await TestWorker.start(cluster, 'second');
  await cluster.until('both serve', async () => (await answering(cluster)).join() === 'first,second');
  await second.wrapper.end();
  assert.deepEqual(await answering(cluster), ['first']);
  assert.equal(second.wrapper.process.exitCode, 0);
  await first.wrapper.end();
  assert.deepEqual(await answering(cluster, 4), ['503'], 'the route stays: never 404');
  assert.deepEqual((await cluster.ok('GET', '/v1/workers')).body.items, []);
});

test('SIGTERM of a wrapper under load: not one request fails', async () => {
  await TestWorker.start(cluster, 'stays');
  const leaves = await TestWorker.start(cluster, 'leaves');
  await cluster.until('both serve', async () => (await answering(cluster)).length === 2);
  const running = load(20);
  // Nor is one cut that takes longer than all others; a POST is sent to nobody else.
  const slow = Array.from({ length: 8 }, (_, index) =>
    visit(cluster.nodes[index % 2]?.http ?? 0, 'web.test', '/?ms=3000', { method: 'POST', body: 'x' }),
  );
  await cluster.until('there is load', () => running.outcomes.length > 50);
  await leaves.wrapper.end();
  const before = running.outcomes.length;
  await cluster.until('load goes on', () => running.outcomes.length > before + 50);
  running.stop();
  await running.done;
  const { failedGets, failedPosts, statuses, errors } = summarise(running.outcomes);
  assert.deepEqual(
    { failedGets, failedPosts },
    { failedGets: 0, failedPosts: 0 },
    JSON.stringify([statuses, errors]),
  );
  const answers = await Promise.all(slow);
  assert.deepEqual(
    answers.map(({ status }) => status),
    slow.map(() => 200),
  );
  const names = new Set(answers.map(({ body }) => JSON.parse(body).name));
  assert.deepEqual([...names].sort(), ['leaves', 'stays'], 'both had some');
});

test('kill -9 of a program under load fails no GET; it is started again under a new registration', async () => {
  const workers = [await TestWorker.start(cluster, 'one'), await TestWorker.start(cluster, 'two')];
  const victim = workers[0] as TestWorker;
  await cluster.until('both serve', async () => (await answering(cluster, 24)).includes('two'));
  const { pid } = await victim.ask();
  const running = load(20);
  await cluster.until('there is load', () => running.outcomes.length > 50);
  process.kill(pid, 'SIGKILL');
  await cluster.until('it runs again', async () => (await victim.ask()).pid !== pid);
  await cluster.until('it serves again', () =>
    running.outcomes.slice(-40).some(({ body }) => body.includes('"one"')),
  );
  running.stop();
  await running.done;
  const { failedGets, statuses, errors } = summarise(running.outcomes);
  assert.equal(failedGets, 0, JSON.stringify([statuses, errors]));
  assert.match(victim.wrapper.output, /the program ended \(SIGKILL\); it starts again in 1 s/);
});

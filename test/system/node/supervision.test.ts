/** The node keeps serving whatever of it dies. Real processes, signals and sockets; only sync is scripted. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually, isAlive, kill, NodeUnderTest, request } from './harness.ts';

test('without a table every serving process listens and answers 503', async () => {
  await using node = new NodeUnderTest();
  const port = await node.port();
  await node.untilReady(2);
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
});

for (const processes of [1, 2]) {
  test(`${processes} serving process(es) killed -9: connections queue and are served by the next, none is refused`, async () => {
    await using node = new NodeUnderTest({ settings: { processes } });
    const port = await node.port();
    const old = await node.untilReady(processes);
    for (const pid of old) kill(pid, 'SIGKILL');
    const answers = await Promise.allSettled(Array.from({ length: 200 }, () => request(port)));
    const refused = answers.filter(({ status }) => status === 'rejected');
    // Those that the dying process had accepted are lost with it; a refused one would be our fault.
    for (const { reason } of refused as PromiseRejectedResult[]) assert.notEqual(reason.code, 'ECONNREFUSED');
    await node.untilReady(processes, old);
    assert.match(await request(port), /^HTTP\/1\.1 503 /);
  });
}

test('a sync process that dies is replaced and hears of every serving process again', async () => {
  await using node = new NodeUnderTest();
  const port = await node.port();
  await node.untilReady(2);
  const before = node.events.length;
  const old = node.syncPid();
  kill(old, 'SIGKILL');
  await node.until('both serving processes greet the new sync process', () => {
    const greetings = node.events
      .slice(before)
      .filter((event) => event.event === 'sync' && event.pid !== old && event.heard?.type === 'hello');
    return new Set(greetings.map(({ from }) => from)).size === 2 ? true : undefined;
  });
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
});

test('a serving process that hangs is replaced', async () => {
  await using node = new NodeUnderTest({ settings: { processes: 1 } });
  const port = await node.port();
  const old = await node.untilReady(1);
  // It has answered a ping: its silence counts from here.
  kill(old[0]!, 'SIGSTOP');
  await node.untilReady(1, old);
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
  assert.equal(isAlive(old[0]!), false);
});

test('a serving process above the memory limit is replaced, the new one first', async () => {
  await using node = new NodeUnderTest({ settings: { processes: 1, memoryLimitMb: 1 } });
  const port = await node.port();
  const old = await node.untilReady(1);
  await node.event('it is noticed', (event) => event.code === 'memory_limit');
  await node.untilReady(1, old);
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
  await eventually('the old one has left', () => !isAlive(old[0]!));
  assert.ok(!node.events.some((event) => event.code === 'process_died'));
});

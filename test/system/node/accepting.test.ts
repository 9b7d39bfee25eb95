/** How serving processes accept: at the limit of descriptors, without shared handles, and in fair shares. */
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { connectionsOf, eventually, kill, NodeUnderTest, openDescriptors, request } from './harness.ts';

/** Connections that say nothing. `lost` counts those that were refused or reset. */
async function crowd(port: number, size: number) {
  const result = { sockets: [] as net.Socket[], lost: 0 };
  await Promise.all(
    Array.from({ length: size }, async () => {
      const socket = net.connect(port, '127.0.0.1');
      result.sockets.push(socket);
      socket.on('error', () => result.lost++);
      await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
    }),
  );
  return result;
}

test('nearly out of descriptors a process stops accepting, drops nobody, and goes on when some are free', async () => {
  const limit = 128;
  await using node = new NodeUnderTest({
    settings: { processes: 1 },
    under: ['/bin/sh', '-c', `ulimit -n ${limit}; exec "$@"`, 'sh'],
  });
  const port = await node.port();
  const [serving] = await node.untilReady(1);
  const visitors = await crowd(port, 300);
  // Half of what is free at the start is for backends.
  await eventually('it stands at the mark', () => connectionsOf(serving!, port) >= 0.15 * limit);
  assert.ok(openDescriptors(serving!) <= 0.95 * limit, String(openDescriptors(serving!)));
  assert.equal(visitors.lost, 0);
  const most = connectionsOf(serving!, port);
  // Each time it goes on, the queue holds more than it may take.
  for (const socket of visitors.sockets.slice(0, 10)) socket.destroy();
  await eventually('some have left', () => connectionsOf(serving!, port) < most);
  await eventually('others have come for them', () => connectionsOf(serving!, port) >= most);
  assert.ok(connectionsOf(serving!, port) <= most + 2, String(connectionsOf(serving!, port)));
  assert.equal(visitors.lost, 0);
  const late = request(port);
  for (const socket of visitors.sockets) socket.destroy();
  assert.match(await late, /^HTTP\/1\.1 503 /);
  assert.deepEqual(node.ready(), [serving]);
});

test('processes that a killed primary left behind stop accepting at the mark, too, and drop nobody', async () => {
  await using node = new NodeUnderTest({
    settings: { processes: 2 },
    // What serving processes log is heard, too.
    under: ['/bin/sh', '-c', 'ulimit -n 128; exec "$@" 2>&1', 'sh'],
  });
  const port = await node.port();
  await node.untilReady(2);
  kill(node.pid, 'SIGKILL');
  const both = (code: string) =>
    node.until(`both say ${code}`, () => node.events.filter((event) => event.code === code)[1]);
  await both('primary_gone');
  const visitors = await crowd(port, 300);
  await both('accepting_paused');
  assert.equal(visitors.lost, 0);
  for (const socket of visitors.sockets) socket.destroy();
});

test('where handles cannot be shared the primary accepts, and a dead serving process refuses nobody', async () => {
  await using node = new NodeUnderTest({ settings: { processes: 1 }, options: { socketKind: 'relayed' } });
  const port = await node.port();
  const old = await node.untilReady(1);
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
  kill(old[0]!, 'SIGKILL');
  await eventually('it is gone', () => node.ready().length === 0 || node.ready()[0] !== old[0]);
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
  node.signal('SIGTERM');
  assert.equal((await node.exited()).code, 0);
});

test('a crowd that comes at once is shared out', async () => {
  await using node = new NodeUnderTest({ settings: { processes: 2 } });
  const port = await node.port();
  const serving = await node.untilReady(2);
  const visitors = await crowd(port, 400);
  const shares = () => serving.map((pid) => connectionsOf(pid, port));
  await eventually('all are accepted', () => shares().reduce((sum, count) => sum + count) === 400);
  assert.equal(visitors.lost, 0);
  assert.ok(Math.min(...shares()) >= 40, `shares ${shares().join(' and ')}`);
  for (const socket of visitors.sockets) socket.destroy();
});

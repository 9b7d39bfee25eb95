/** How a node starts, stops, restarts and takes over from an earlier one. Real processes, signals and sockets. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { eventually, isAlive, kill, NodeUnderTest, request } from './harness.ts';

test('SIGTERM: sync is told first, then everything drains and ends with exit code 0', async () => {
  await using node = new NodeUnderTest();
  await node.untilReady(2);
  const serving = node.ready();
  const sync = node.syncPid();
  node.signal('SIGTERM');
  assert.deepEqual(await node.exited(), { code: 0, signal: null });
  assert.ok(node.events.some((event) => event.heard?.type === 'stopping'));
  for (const pid of [...serving, sync]) assert.equal(isAlive(pid), false);
  assert.ok(!node.events.some((event) => event.code === 'process_overdue'));
});

test('while it waits before the drain, a stopping node still accepts; a second signal ends it at once', async () => {
  await using node = new NodeUnderTest({ settings: { drainWaitMs: 60_000 } });
  const port = await node.port();
  const serving = await node.untilReady(2);
  node.signal('SIGINT');
  await node.event('stopping', (event) => event.heard?.type === 'stopping');
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
  // One that comes together with the first is the same press of a key.
  node.signal('SIGINT');
  const exited = node.exited();
  const again = setInterval(() => node.signal('SIGINT'), 100);
  assert.equal((await exited.finally(() => clearInterval(again))).code, 130);
  await eventually('the serving processes ended', () => !serving.some(isAlive));
});

test('serving processes and sync ignore the signals of a terminal while they have a primary', async () => {
  await using node = new NodeUnderTest();
  const port = await node.port();
  const serving = await node.untilReady(2);
  for (const pid of [...serving, node.syncPid()]) {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const) kill(pid, signal);
  }
  node.signal('SIGUSR1');
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
  node.signal('SIGTERM');
  assert.equal((await node.exited()).code, 0);
  assert.ok(!node.events.some((event) => event.code === 'process_died'));
});

test('SIGHUP replaces every process, one after the other, and refuses nobody meanwhile', async () => {
  await using node = new NodeUnderTest();
  const port = await node.port();
  const old = await node.untilReady(2);
  const oldSync = node.syncPid();
  let done = false;
  const failures: unknown[] = [];
  const visitors = Array.from({ length: 4 }, async () => {
    while (!done) await request(port).catch((error) => failures.push(error));
  });
  node.signal('SIGHUP');
  await node.event('restarted', (event) => event.code === 'restart_done');
  await node.until('a new sync process', () => (node.syncPid() !== oldSync ? true : undefined));
  await node.untilReady(2, old);
  done = true;
  await Promise.all(visitors);
  assert.deepEqual(failures, []);
  await eventually('the old ones ended', () => !old.some(isAlive));
});

test('a primary killed -9 leaves its serving processes at work; the next takes over the port from them', async () => {
  await using first = new NodeUnderTest();
  const port = await first.port();
  const orphans = await first.untilReady(2);
  kill(first.pid, 'SIGKILL');
  await eventually('sync ended with its primary', () => !isAlive(first.syncPid()));
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
  assert.ok(orphans.every(isAlive));
  await using second = new NodeUnderTest({
    folder: first.folder,
    settings: { http: [{ host: '127.0.0.1', port }] },
  });
  assert.equal(await second.port(), port);
  await second.event('it accepts', (event) => event.event === 'ready');
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
  await eventually('the orphans drained', () => !orphans.some(isAlive));
});

test('a serving process without a primary drains on SIGTERM and leaves no socket file', async () => {
  await using node = new NodeUnderTest({ settings: { processes: 1 } });
  await node.untilReady(1);
  const [serving] = node.ready();
  kill(node.pid, 'SIGKILL');
  await eventually('sync ended with its primary', () => !isAlive(node.syncPid()));
  kill(serving!, 'SIGINT');
  kill(serving!, 'SIGTERM');
  await eventually('it ended', () => !isAlive(serving!));
  assert.deepEqual(
    readdirSync(join(node.folder, 'test')).filter((name) => name.endsWith('.sock')),
    [],
  );
});

test('a port in use stops the start with one line that names it', async () => {
  const other = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const { port } = other.address() as net.AddressInfo;
  try {
    await using node = new NodeUnderTest({ settings: { http: [{ host: '127.0.0.1', port }] } });
    const { message } = await node.event('it fails', (event) => event.event === 'failed');
    assert.match(message, new RegExp(`127\\.0\\.0\\.1:${port} .*in use`));
    assert.ok(!message.includes('\n'));
    assert.equal((await node.exited()).code, 1);
  } finally {
    other.close();
  }
});

test('a second node under the same name is told that the first one runs', async () => {
  await using first = new NodeUnderTest();
  const port = await first.port();
  await first.untilReady(2);
  await using second = new NodeUnderTest({
    folder: first.folder,
    settings: { http: [{ host: '127.0.0.1', port }] },
  });
  const { message } = await second.event('it fails', (event) => event.event === 'failed');
  assert.match(message, new RegExp(`runs already \\(primary ${first.pid}\\)`));
  assert.match(await request(port), /^HTTP\/1\.1 503 /);
});

test('every process says in its title what it is, and serving processes get no secrets', async () => {
  await using node = new NodeUnderTest({ settings: { processes: 1 } });
  const [serving] = await node.untilReady(1);
  const title = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
  assert.equal(title(node.pid), 'kontrol primary');
  assert.equal(title(node.syncPid()), 'kontrol sync');
  assert.equal(title(serving!), 'kontrol serving 1');
  const environment = (pid: number) => readFileSync(`/proc/${pid}/environ`, 'latin1');
  assert.match(environment(node.syncPid()), /KONTROL_SECRET=/);
  assert.doesNotMatch(environment(serving!), /KONTROL_SECRET=/);
});

test('a socket that was bound before the start (socket activation) is taken over, and stays open after the end', async () => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const start = () =>
    new NodeUnderTest({
      settings: { http: [{ host: '127.0.0.1', port }], processes: 1 },
      under: ['/bin/sh', '-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', 'sh'],
      inherit: fd,
    });
  try {
    await using first = start();
    await first.event('it accepts', (event) => event.event === 'ready');
    first.signal('SIGTERM');
    assert.equal((await first.exited()).code, 0);
    await using second = start();
    await second.event('it accepts', (event) => event.event === 'ready');
  } finally {
    server.close();
  }
});

/** A new primary takes the listening sockets over from the processes that one killed -9 left behind, under load. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { specOfListener } from '../../../proxy/link/listener-specs.ts';
import { orphanSocketName } from '../../../proxy/link/orphan-socket.ts';
import type { TableEntry } from '../../../shared/routing/entry.ts';
import { eventually, isAlive, kill, NodeUnderTest, type NodeUnderTestOptions, request } from './harness.ts';

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A service behind a TCP listener that answers every connection with one line and ends it. */
async function greeter() {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end('hello\n'));
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const listener = { name: 'greeter', address: '127.0.0.1', port: await freePort(), service: 'greeter' };
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const entries: TableEntry[] = [
    {
      kind: 'service',
      name: 'greeter',
      doc: { name: 'greeter', protocol: 'tcp', keys: { 1: { backends: [{ address }] } } },
    },
    { kind: 'listener', name: 'greeter', doc: listener },
  ];
  const script = { entries, listeners: [specOfListener(listener)] };
  return { port: listener.port, script, close: () => server.close() };
}

/** Visitors on fresh connections, one after the other, until they are told to stop. */
function visitors(visit: () => Promise<string>, expected: RegExp, count = 6) {
  const failures: string[] = [];
  let done = false;
  let visits = 0;
  const all = Array.from({ length: count }, async () => {
    while (!done) {
      const text = await visit().catch((error: Error) => error.message);
      visits++;
      if (!expected.test(text)) failures.push(text.slice(0, 100));
    }
  });
  return {
    async end() {
      done = true;
      await Promise.all(all);
      return { failures, visits };
    },
  };
}

const ANSWER = /^HTTP\/1\.1 404 /;

/** Kills a primary and starts the next one on its port. */
async function successor(
  first: NodeUnderTest,
  port: number,
  options: NodeUnderTestOptions = {},
): Promise<NodeUnderTest> {
  kill(first.pid, 'SIGKILL');
  await eventually('sync ended with its primary', () => !isAlive(first.syncPid()));
  return new NodeUnderTest({
    folder: first.folder,
    ...options,
    settings: { http: [{ host: '127.0.0.1', port }], ...options.settings },
  });
}

const logged = (node: NodeUnderTest, code: string) => node.events.some((event) => event.code === code);

test('a new primary takes over under load: no visitor of an HTTP or a TCP port is refused or cut', async () => {
  const greeting = await greeter();
  try {
    await using first = new NodeUnderTest({ script: greeting.script });
    const port = await first.port();
    const orphans = await first.untilReady(2);
    const open = (event: Record<string, { type?: string; port?: number }>) =>
      event.heard?.type === 'listening' && event.heard.port === greeting.port;
    await first.event('the TCP port is open', open);
    const web = visitors(() => request(port), ANSWER);
    const tcp = visitors(() => request(greeting.port, 'x'), /^hello\n$/);
    await using second = await successor(first, port, { script: greeting.script });
    await second.untilReady(2);
    await eventually('the orphans ended', () => !orphans.some(isAlive));
    const [fromWeb, fromTcp] = await Promise.all([web.end(), tcp.end()]);
    assert.deepEqual([fromWeb.failures, fromTcp.failures], [[], []]);
    assert.ok(fromWeb.visits > 0 && fromTcp.visits > 0);
    assert.ok(logged(second, 'sockets_taken'));
    assert.match(await request(greeting.port, 'x'), /^hello\n$/);
  } finally {
    greeting.close();
  }
});

test('three primaries in a row lose nobody, and a socket that the last does not want closes', async () => {
  const greeting = await greeter();
  try {
    await using first = new NodeUnderTest({ script: greeting.script, settings: { processes: 1 } });
    const port = await first.port();
    await first.untilReady(1);
    const web = visitors(() => request(port), ANSWER, 2);
    await using second = await successor(first, port, {
      script: greeting.script,
      settings: { processes: 1 },
    });
    const left = await second.untilReady(1);
    await using third = await successor(second, port, {
      script: { ...greeting.script, listeners: [] },
      settings: { processes: 1 },
    });
    await third.untilReady(1);
    await eventually('the orphans ended', () => !left.some(isAlive));
    await assert.rejects(request(greeting.port, 'x'), /ECONNREFUSED/);
    assert.deepEqual((await web.end()).failures, []);
  } finally {
    greeting.close();
  }
});

test('without handover the new primary binds the port when the earlier processes have let go of it', async () => {
  await using first = new NodeUnderTest({ script: { entries: [] } });
  const port = await first.port();
  const orphans = await first.untilReady(2);
  await using second = await successor(first, port, {
    script: { entries: [] },
    options: { handover: false },
  });
  await second.event('it accepts', (event) => event.event === 'ready');
  assert.match(await request(port), ANSWER);
  await eventually('the orphans ended', () => !orphans.some(isAlive));
  assert.ok(!logged(second, 'sockets_taken'));
});

test('a hung process of an earlier primary does not keep the next from the port', async () => {
  await using first = new NodeUnderTest({ script: { entries: [] } });
  const port = await first.port();
  const [hung = 0, other = 0] = (await first.untilReady(2)).sort((left, right) => left - right);
  kill(hung, 'SIGSTOP');
  await using second = await successor(first, port, { script: { entries: [] } });
  await second.untilReady(2);
  await second.event('it is named', (event) => event.code === 'orphan_silent' && event.pids[0] === hung);
  await eventually('the other ended', () => !isAlive(other));
  assert.match(await request(port), ANSWER);
  kill(hung, 'SIGCONT');
  await eventually('it left when it was asked again', () => !isAlive(hung));
});

test('garbage on its Unix socket does not keep an orphan from passing its sockets on', async () => {
  await using first = new NodeUnderTest({ script: { entries: [] }, settings: { processes: 1 } });
  const port = await first.port();
  const [orphan = 0] = await first.untilReady(1);
  kill(first.pid, 'SIGKILL');
  await eventually('sync ended with its primary', () => !isAlive(first.syncPid()));
  const path = join(first.folder, 'test', orphanSocketName(orphan));
  for (const line of [
    'take\n',
    'take x\n',
    '\0\xff\n',
    'x'.repeat(100_000),
    'take 1\ntake 1\n',
    'take 7\n',
  ]) {
    await new Promise<void>((resolve) => {
      const socket = net.connect(path, () => socket.write(line));
      // A copy of a socket that comes without a taker is closed by the kernel.
      socket.on('data', () => socket.destroy());
      socket.on('error', () => {});
      socket.on('close', () => resolve());
    });
  }
  await using second = await successor(first, port, { script: { entries: [] } });
  await second.untilReady(2);
  assert.ok(logged(second, 'sockets_taken'));
  assert.match(await request(port), ANSWER);
});

test('told to stop while it still asks who serves, it starts nobody and ends', async () => {
  const data = mkdtempSync(join(tmpdir(), 'kontrol-node-'));
  const folder = join(data, 'test');
  mkdirSync(folder);
  // Somebody who lives and answers late.
  const asked: net.Socket[] = [];
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => asked.push(socket));
  });
  await new Promise<void>((resolve) => server.listen(join(folder, orphanSocketName(process.pid)), resolve));
  await using node = new NodeUnderTest({ folder: data, options: { handover: false } });
  try {
    await eventually('it asks', () => asked.length > 0);
    node.signal('SIGTERM');
    await node.event('it stops', (event) => event.code === 'stopping');
    for (const socket of asked) socket.end(`orphan ${process.pid}\n`);
    assert.deepEqual(await node.exited(), { code: 0, signal: null });
    assert.ok(!node.events.some((event) => event.heard !== undefined), 'no process of its own began');
  } finally {
    server.close();
  }
});

test('a start that fails for a port of another program leaves those alone who serve', async () => {
  await using first = new NodeUnderTest({ script: { entries: [] } });
  const port = await first.port();
  const orphans = await first.untilReady(2);
  const other = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  try {
    const http = [port, (other.address() as AddressInfo).port].map((at) => ({ host: '127.0.0.1', port: at }));
    await using second = await successor(first, port, { script: { entries: [] }, settings: { http } });
    const { message } = await second.event('it fails', (event) => event.event === 'failed');
    assert.match(message, /in use/);
    assert.equal((await second.exited()).code, 1);
    assert.match(await request(port), ANSWER);
    assert.ok(orphans.every(isAlive));
  } finally {
    other.close();
  }
});

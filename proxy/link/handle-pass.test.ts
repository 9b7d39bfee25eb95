import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import {
  adoptChannel,
  type ChannelEvents,
  canPassHandles,
  connectChannel,
  type HandleChannel,
  type PassedHandle,
} from './handle-pass.ts';

interface Heard {
  readonly line: string | null;
  readonly handle: PassedHandle | null;
}

/** Collects what a channel says; `null` as line stands for its end. */
function ear() {
  const heard: Heard[] = [];
  const waiting: ((next: Heard) => void)[] = [];
  const add = (next: Heard) => {
    const first = waiting.shift();
    if (first === undefined) heard.push(next);
    else first(next);
  };
  const events: ChannelEvents = {
    onLine: (line, handle) => add({ line, handle }),
    onEnd: () => add({ line: null, handle: null }),
  };
  const next = () =>
    new Promise<Heard>((resolve) => {
      const first = heard.shift();
      if (first === undefined) waiting.push(resolve);
      else resolve(first);
    });
  return { events, next };
}

/** Both ends, after the connecting one has said `hello` and the accepting one has read it. */
async function pair(t: { after(end: () => void): void }, hello = 'hello') {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-pass-'));
  const path = join(folder, 'a.sock');
  const server = net.createServer().listen(path);
  await once(server, 'listening');
  const near = ear();
  const far = ear();
  const client = connectChannel(path, near.events) as HandleChannel;
  client.send(hello);
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  await once(socket, 'data');
  const adopted = adoptChannel(socket, far.events);
  t.after(() => {
    client.close();
    if (adopted === null) socket.destroy();
    else adopted.close();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return { client, adopted: adopted as HandleChannel, near, far };
}

async function listening() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { server, port, handle: (server as unknown as { _handle: PassedHandle })._handle };
}

test('this Node can pass sockets on, without a word of warning', () => {
  const warnings: Error[] = [];
  process.on('warning', (warning) => warnings.push(warning));
  assert.equal(canPassHandles(), true);
  assert.deepEqual(warnings, []);
});

test('a listening socket that was passed on lives when the one it came from is closed', async (t) => {
  const { client, adopted, near, far } = await pair(t);
  const { server, port, handle } = await listening();
  assert.equal(adopted.send('socket', handle), true);
  const { line, handle: passed } = await near.next();
  assert.equal(line, 'socket');
  assert.ok(passed !== null);
  // In the queue of a socket that nobody accepts on any more.
  const visitor = net.connect(port, '127.0.0.1');
  await once(visitor, 'connect');
  server.close();
  const at: { address?: string; port?: number } = {};
  assert.equal(passed.getsockname(at), 0);
  assert.deepEqual([at.address, at.port], ['127.0.0.1', port]);
  const heir = net.createServer((socket) => socket.end('served')).listen(passed);
  t.after(() => heir.close());
  const late = net.connect(port, '127.0.0.1');
  const [text] = await once(late, 'data');
  assert.equal(String(text), 'served');
  client.send('next');
  assert.deepEqual(await far.next(), { line: 'next', handle: null });
  adopted.send('end');
  assert.deepEqual(await near.next(), { line: 'end', handle: null });
  visitor.destroy();
  late.destroy();
});

test('two lines at once, or one without an end, end the channel on the side that reads them', async (t) => {
  const { client, adopted, near, far } = await pair(t);
  client.send('one\ntwo');
  assert.equal((await far.next()).line, null);
  assert.equal(adopted.send('more'), false);
  assert.equal((await near.next()).line, null);
  const second = await pair(t);
  second.adopted.send('x'.repeat(10_000));
  assert.equal((await second.near.next()).line, null);
  assert.equal((await second.far.next()).line, null);
});

test('a process adopts only so many connections; the next stays as it was', async (t) => {
  let refused = false;
  for (let count = 0; count < 5 && !refused; count++) {
    refused = (await pair(t)).adopted === null;
  }
  assert.equal(refused, true);
});

test('nobody at the other end is told as an end', async () => {
  const { events, next } = ear();
  connectChannel(join(tmpdir(), 'kontrol-nobody.sock'), events);
  assert.equal((await next()).line, null);
});

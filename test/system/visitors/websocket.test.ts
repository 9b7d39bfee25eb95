import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { after, before, test } from 'node:test';
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws';
import { certificateFor } from '../../../proxy/tls/testing.ts';
import { Cluster } from '../../cluster.ts';
import { ask } from './asking.ts';
import { Backend } from './backends.ts';

const HOST = 'sockets.example.com';
let cluster: Cluster;
const rooms: Room[] = [];
const opened = new Set<WebSocket>();

/** A backend that echoes every message, and remembers who came and how they left. */
class Room {
  readonly backend: Backend;
  readonly server: WebSocketServer;
  readonly requests: IncomingMessage[] = [];
  readonly sockets: WebSocket[] = [];

  constructor(backend: Backend) {
    this.backend = backend;
    this.server = new WebSocketServer({
      noServer: true,
      maxPayload: 64 << 20,
      handleProtocols: (protocols) => (protocols.has('chat.v2') ? 'chat.v2' : false),
      perMessageDeflate: { threshold: 0 },
    });
    backend.server.on('upgrade', (request, socket, head) => {
      if (request.url === '/closed') {
        socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\nX-Why: ticket\r\n\r\nticket');
        return;
      }
      this.server.handleUpgrade(request, socket, head, (opened) => this.#joined(opened, request));
    });
  }

  #joined(socket: WebSocket, request: IncomingMessage): void {
    this.requests.push(request);
    this.sockets.push(socket);
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.send(`hello from ${this.backend.name}`);
  }
}

async function room(name: string): Promise<Room> {
  const made = new Room(await Backend.start(name));
  rooms.push(made);
  return made;
}

before(async () => {
  cluster = await Cluster.start(1, { processes: 1 });
  const one = await room('one');
  const { certificate, key } = await certificateFor([HOST]);
  await cluster.apply(
    { kind: 'certificate', name: 'sockets', certificate, key },
    { kind: 'service', name: 'one', backends: [one.backend.address] },
    { kind: 'domain', name: HOST, service: 'one' },
  );
});
after(async () => {
  for (const socket of opened) socket.terminate();
  await cluster.close();
  for (const { server, backend } of rooms) {
    server.close();
    await backend.close();
  }
});

interface Opening extends ClientOptions {
  readonly secure?: boolean;
  readonly protocols?: string[];
}

/** An open WebSocket and the greeting of its backend. */
async function open(
  host: string,
  path = '/',
  options: Opening = {},
): Promise<{ socket: WebSocket; greeting: string }> {
  const { secure = false, protocols = [], headers = {}, ...more } = options;
  const { http, https } = cluster.nodes[0]!;
  // Options of the TLS connection are passed on by `ws`, though its types do not say so.
  const all: ClientOptions & { servername: string } = {
    headers: { ...headers, host },
    servername: host,
    rejectUnauthorized: false,
    maxPayload: 64 << 20,
    perMessageDeflate: false,
    ...more,
  };
  const url = `${secure ? 'wss' : 'ws'}://127.0.0.1:${secure ? https : http}${path}`;
  const socket = new WebSocket(url, protocols, all);
  opened.add(socket);
  socket.on('error', () => {});
  const refused = once(socket, 'unexpected-response').then(([, response]) => {
    throw Object.assign(new Error(`refused with ${response.statusCode}`), { response });
  });
  const [message] = await Promise.race([once(socket, 'message'), refused]);
  refused.catch(() => {});
  return { socket, greeting: String(message) };
}

const refusal = async (host: string, path = '/', options: Opening = {}): Promise<IncomingMessage> => {
  const { socket, response } = await open(host, path, options).then(
    ({ socket }) => ({ socket, response: null }),
    (error) => ({ socket: null, response: error.response as IncomingMessage }),
  );
  socket?.terminate();
  assert.ok(response !== null, 'it was opened');
  return response;
};

async function echoed(socket: WebSocket, message: string | Buffer): Promise<Buffer> {
  const closed = once(socket, 'close').then(([code]) => {
    throw new Error(`closed with ${code} instead of an answer`);
  });
  closed.catch(() => {});
  const answer = once(socket, 'message');
  socket.send(message);
  const [data] = await Promise.race([answer, closed]);
  return data as Buffer;
}

/** The serving process that the newest socket of a room came through: ids of requests begin with one of its own. */
const processOf = (room: Room): string => String(room.requests.at(-1)!.headers['x-request-id']).slice(0, 12);

for (const secure of [false, true]) {
  const scheme = secure ? 'wss' : 'ws';
  test(`${scheme}: messages of every kind and size pass both ways`, async () => {
    const [{ requests }] = rooms as [Room];
    const { socket, greeting } = await open(HOST, '/chat?room=1', {
      secure,
      headers: { origin: 'https://a.example' },
    });
    assert.equal(greeting, 'hello from one');
    const request = requests.at(-1)!;
    assert.equal(request.url, '/chat?room=1');
    assert.deepEqual(
      ['host', 'origin', 'x-forwarded-for', 'x-forwarded-proto', 'upgrade'].map(
        (name) => request.headers[name],
      ),
      [HOST, 'https://a.example', '127.0.0.1', secure ? 'https' : 'http', 'websocket'],
    );
    for (const text of ['', 'ä€😀', 'x'.repeat(125), 'x'.repeat(126), 'x'.repeat(65_536)])
      assert.equal(String(await echoed(socket, text)), text);
    const big = randomBytes(20 << 20);
    assert.ok((await echoed(socket, big)).equals(big));
    socket.terminate();
  });

  test(`${scheme}: pings are answered by the other end, from both sides, with their bytes`, async () => {
    const [{ sockets }] = rooms as [Room];
    const { socket } = await open(HOST, '/', { secure });
    const backend = sockets.at(-1)!;
    for (const [from, name] of [
      [socket, 'visitor'],
      [backend, 'backend'],
    ] as const) {
      const pong = once(from, 'pong');
      from.ping(name);
      assert.equal(String((await pong)[0]), name);
    }
    socket.terminate();
  });
}

test('a subprotocol and compression are agreed between the ends', async () => {
  const { socket } = await open(HOST, '/', {
    protocols: ['chat.v1', 'chat.v2'],
    perMessageDeflate: { threshold: 0 },
  });
  assert.equal(socket.protocol, 'chat.v2');
  assert.match(socket.extensions, /permessage-deflate/);
  assert.equal(String(await echoed(socket, 'y'.repeat(100_000))), 'y'.repeat(100_000));
  socket.terminate();
});

test('close codes and reasons reach the other end, from both sides', async () => {
  const [{ sockets }] = rooms as [Room];
  for (const [code, reason] of [
    [1000, ''],
    [1001, 'going'],
    [4001, 'mine'],
    [4999, 'ü'.repeat(61)],
  ] as const) {
    for (const starts of ['visitor', 'backend']) {
      const { socket } = await open(HOST);
      const backend = sockets.at(-1)!;
      const [first, second] = starts === 'visitor' ? [socket, backend] : [backend, socket];
      const closed = Promise.all([once(first, 'close'), once(second, 'close')]);
      first.close(code, reason);
      for (const [seen, why] of await closed) assert.deepEqual([seen, String(why)], [code, reason], starts);
    }
  }
});

test('an end that breaks off breaks the other', async () => {
  const [{ sockets }] = rooms as [Room];
  for (const breaks of ['visitor', 'backend']) {
    const { socket } = await open(HOST);
    const backend = sockets.at(-1)!;
    const [first, second] = breaks === 'visitor' ? [socket, backend] : [backend, socket];
    const closed = once(second, 'close');
    first.terminate();
    assert.equal((await closed)[0], 1006, breaks);
  }
});

test('a refusal of the backend is relayed as it is; one of the proxy is its page', async () => {
  const own = await refusal(HOST, '/closed');
  assert.deepEqual(
    [own.statusCode, own.headers['x-why'], own.headers['proxy-status']],
    [401, 'ticket', undefined],
  );
  const nobody = await refusal('nobody.example.com');
  assert.equal(nobody.statusCode, 404);
  assert.match(String(nobody.headers['proxy-status']), /host_unknown/);
});

test('WebSockets are balanced by their own policy, and fill their own pool', async () => {
  const [a, b] = [await room('a'), await room('b')];
  await cluster.apply(
    {
      kind: 'service',
      name: 'pair',
      backends: [a.backend.address, b.backend.address],
      balance: 'first-alive',
      pool: { max: 1 },
      websocket: { balance: 'round-robin', pool: { max: 2 } },
    },
    { kind: 'domain', name: 'pair.example.com', service: 'pair' },
  );
  const plain = async () => JSON.parse((await ask(cluster.nodes[0]!.http, 'pair.example.com')).body).name;
  const seen: string[] = [];
  const sockets: WebSocket[] = [];
  for (let count = 0; count < 4; count++) {
    const { socket, greeting } = await open('pair.example.com');
    sockets.push(socket);
    seen.push(greeting.slice(-1));
    assert.equal(await plain(), 'a');
  }
  assert.deepEqual(seen.toSorted(), ['a', 'a', 'b', 'b']);
  assert.notEqual(seen[0], seen[1]);
  // All are full: 2 at each backend. Plain requests have their own places.
  const full = await refusal('pair.example.com');
  assert.equal(full.statusCode, 503);
  assert.match(String(full.headers['proxy-status']), /connection_limit_reached/);
  assert.equal(await plain(), 'a');
  const closed = once(sockets[0]!, 'close');
  sockets[0]!.close();
  await closed;
  await cluster.until('a place is free again', () =>
    open('pair.example.com').then(
      () => true,
      () => false,
    ),
  );
});

test('a new rule keeps newcomers out and leaves open sockets alone, as every change of the table does', async () => {
  const { socket } = await open(HOST);
  const everyone = { kind: 'rule', name: 'nobody', list: 'blacklist', type: 'all' };
  await cluster.apply(everyone, { kind: 'domain', name: HOST, service: 'one', firewall: ['nobody'] });
  assert.equal((await refusal(HOST)).statusCode, 403);
  assert.equal(String(await echoed(socket, 'still here')), 'still here');
  await cluster.ok('DELETE', `/v1/domains/${HOST}?wait=all&timeout=10s`);
  await cluster.ok('DELETE', '/v1/services/one?wait=all&timeout=10s');
  assert.equal(String(await echoed(socket, 'even so')), 'even so');
  const [one] = rooms;
  await cluster.apply(
    { kind: 'service', name: 'one', backends: [one!.backend.address] },
    { kind: 'domain', name: HOST, service: 'one' },
  );
  assert.equal(String(await echoed(socket, 'and again')), 'and again');
  socket.terminate();
});

test('a rolling restart leaves an open socket alone until the drain is over, then says goodbye with 1001', async () => {
  const [node] = cluster.nodes;
  const [one] = rooms;
  const { socket } = await open(HOST);
  const before = processOf(one!);
  const closed = once(socket, 'close');
  node!.command.process.kill('SIGHUP');
  let newcomer = socket;
  await cluster.until('newcomers are served by a new process', async () => {
    newcomer = (await open(HOST)).socket;
    return processOf(one!) !== before;
  });
  assert.equal(socket.readyState, WebSocket.OPEN);
  assert.equal(String(await echoed(socket, 'through the old process')), 'through the old process');
  assert.equal((await closed)[0], 1001);
  assert.equal(String(await echoed(newcomer, 'through the new one')), 'through the new one');
});

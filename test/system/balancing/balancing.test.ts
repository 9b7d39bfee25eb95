/** Balancing as visitors and operators see it: each way of choosing a backend, on two nodes of two processes each. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { Cluster } from '../../cluster.ts';
import { type Answer, ask } from '../visitors/asking.ts';
import { Backend } from '../visitors/backends.ts';

let cluster: Cluster;
/** Each says its name, or what `says` has for the path. */
const backends: Backend[] = [];
const says = new Map<string, (name: string, response: ServerResponse) => void>();

before(async () => {
  cluster = await Cluster.start(2);
  for (const name of ['one', 'two', 'three', 'four']) {
    const backend = await Backend.start(name, {
      handler: (request, response) => {
        const special = says.get(request.url ?? '');
        if (special === undefined) response.end(name);
        else special(name, response);
      },
    });
    const sockets = new WebSocketServer({ noServer: true });
    backend.server.on('upgrade', (request, socket, head) => {
      sockets.handleUpgrade(request, socket, head, (opened) => opened.send(name));
    });
    backends.push(backend);
  }
});
after(async () => {
  await cluster.close();
  for (const backend of backends) await backend.close();
});

const addresses = () => backends.map(({ port }) => `127.0.0.1:${port}`);
const nodeOf = (index: number) => {
  const node = cluster.nodes[index % cluster.nodes.length];
  assert.ok(node !== undefined);
  return node;
};

/** A service on a host of its own. */
async function serve(name: string, document: Record<string, unknown>): Promise<string> {
  const host = `${name}.example.com`;
  await cluster.apply(
    { kind: 'service', name, backends: addresses(), ...document },
    { kind: 'domain', name: host, service: name },
  );
  return host;
}

/** Who answered each of so many requests, to both nodes in turn. */
async function names(host: string, count: number, headers: Record<string, string> = {}): Promise<string[]> {
  const all: string[] = [];
  for (let index = 0; index < count; index++) {
    const answer = await ask(nodeOf(index).http, host, '/', { headers });
    assert.equal(answer.status, 200);
    all.push(answer.body);
  }
  return all;
}

/** `name=value` of the one cookie in an answer; null without. */
function cookieOf(answer: Answer): string | null {
  const [cookie, more] = answer.headers['set-cookie'] ?? [];
  assert.equal(more, undefined);
  return cookie?.split(';')[0] ?? null;
}

async function pinned(host: string): Promise<{ cookie: string; name: string }> {
  const answer = await ask(nodeOf(0).http, host);
  const cookie = cookieOf(answer);
  assert.ok(cookie !== null);
  return { cookie, name: answer.body };
}

interface Status {
  readonly service: string;
  readonly address: string;
  readonly active: number;
  readonly outIn: number;
  readonly outWhy: string | null;
}

/** The backends of a service as the status of a node shows them. */
async function statusOf(internal: number, service: string): Promise<Status[]> {
  const response = await fetch(`http://127.0.0.1:${internal}/status`);
  const { backends: all } = (await response.json()) as { backends: Status[] };
  return all.filter((backend) => backend.service === service);
}

// B1
for (const balance of ['round-robin', 'random', 'weighted-round-robin', 'least-connections', 'two-choices']) {
  test(`${balance} uses every backend`, async () => {
    const host = await serve(`b1-${balance}`, { balance });
    assert.equal(new Set(await names(host, 60)).size, 4);
  });
}

for (const [balance, hash] of [
  ['source-hash', undefined],
  ['rendezvous', { by: 'header:X-User' }],
] as const) {
  test(`${balance} sends a visitor to one backend, on every node and in every process`, async () => {
    const host = await serve(`b1-${balance}`, { balance, ...(hash === undefined ? {} : { hash }) });
    assert.equal(new Set(await names(host, 12, { 'x-user': 'anna' })).size, 1);
  });
}

test('first-alive uses the first backend, naive steps on only while requests are open', async () => {
  for (const balance of ['first-alive', 'naive']) {
    const host = await serve(`b1-${balance}`, { balance });
    assert.deepEqual([...new Set(await names(host, 8))], ['one']);
  }
});

// B2
test('broker uses one backend, the one that was given last', async () => {
  const host = await serve('b2-broker', { balance: 'broker' });
  const first = new Set(await names(host, 8));
  assert.equal(first.size, 1);
});

// B3
test('a visitor with the cookie stays, on both nodes, for WebSockets too, and over a restart of a node', async () => {
  const host = await serve('b3-sticky', { sticky: { maxAge: '1h' } });
  const first = await ask(nodeOf(0).http, host);
  assert.match(
    first.headers['set-cookie']?.[0] ?? '',
    /^kontrol_b3-sticky=[0-9a-z]+\.[A-Za-z0-9_-]{43}; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/,
  );
  const cookie = cookieOf(first) ?? '';
  const again = await ask(nodeOf(1).http, host, '/', { headers: { cookie } });
  assert.deepEqual([again.body, again.headers['set-cookie']], [first.body, undefined]);
  assert.deepEqual([...new Set(await names(host, 12, { cookie }))], [first.body]);
  for (let turn = 0; turn < 4; turn++) {
    const socket = new WebSocket(`ws://127.0.0.1:${nodeOf(turn).http}/`, { headers: { host, cookie } });
    const [message] = await once(socket, 'message');
    socket.close();
    assert.equal(String(message), first.body);
  }
  const node = nodeOf(1);
  await node.command.end();
  await cluster.restartNode(node);
  // It serves from its copy before it says in the store that it is back; until then no change waits for it.
  await cluster.until('the restarted node is waited for again', async () => {
    const { items } = (await cluster.ok('GET', '/v1/nodes')).body;
    return items.some(
      ({ name, state }: Record<string, unknown>) => name === node.name && state === 'running',
    );
  });
  assert.equal((await ask(node.http, host)).status, 200);
  assert.deepEqual([...new Set(await names(host, 8, { cookie }))], [first.body]);
  const forged = await ask(nodeOf(0).http, host, '/', { headers: { cookie: `${cookie.slice(0, -1)}~` } });
  assert.notEqual(cookieOf(forged), null);
});

test('a WebSocket that comes first gets the cookie with its handshake', async () => {
  const host = await serve('b3-upgrade', { sticky: {} });
  const socket = new WebSocket(`ws://127.0.0.1:${nodeOf(0).http}/`, { headers: { host } });
  const [[handshake], [message]] = await Promise.all([once(socket, 'upgrade'), once(socket, 'message')]);
  socket.close();
  const cookie = handshake.headers['set-cookie'][0].split(';')[0];
  assert.deepEqual([...new Set(await names(host, 6, { cookie }))], [String(message)]);
});

test('drain keeps pinned visitors and says in the log when nothing is left; maintenance moves them', async () => {
  const host = await serve('b3-drain', { sticky: {} });
  const { cookie, name } = await pinned(host);
  const backend = backends.find((candidate) => candidate.name === name);
  const states = (state: string) =>
    serve('b3-drain', {
      sticky: {},
      backends: addresses().map((address) =>
        address.endsWith(`:${backend?.port}`) ? { address, state } : { address },
      ),
    });
  await states('drain');
  assert.deepEqual([...new Set(await names(host, 8, { cookie }))], [name]);
  assert.ok(!(await names(host, 16)).includes(name));
  await cluster.until('it is drained', () => /backend_drained/.test(nodeOf(0).command.output));
  await states('maintenance');
  const moved = await ask(nodeOf(0).http, host, '/', { headers: { cookie } });
  assert.notEqual(moved.body, name);
  assert.notEqual(cookieOf(moved), null);
});

// B4, B5
test('a visitor of a backend that is gone is pinned to another, and no request fails', async () => {
  const spare = await Backend.start('spare', { handler: (_, response) => response.end('spare') });
  const host = await serve('b4-gone', { sticky: {}, backends: [`127.0.0.1:${spare.port}`] });
  const { cookie } = await pinned(host);
  await serve('b4-gone', { sticky: {}, backends: [`127.0.0.1:${spare.port}`, ...addresses()] });
  assert.deepEqual([...new Set(await names(host, 4, { cookie }))], ['spare']);
  await spare.close();
  const moved = await ask(nodeOf(0).http, host, '/', { headers: { cookie } });
  assert.equal(moved.status, 200);
  const there = cookieOf(moved) ?? '';
  assert.deepEqual([...new Set(await names(host, 8, { cookie: there }))], [moved.body]);
});

// B6
test('a backend whose check fails is taken out, and back when it passes', async () => {
  let status = '200';
  says.set('/healthCheck', (name, response) => response.end(`{"status":"${name === 'two' ? status : 200}"}`));
  const host = await serve('b6-json', { health: { type: 'json', interval: '200ms', rise: 1, fall: 1 } });
  await cluster.until('two answers', async () => (await names(host, 4)).includes('two'));
  status = '500';
  await cluster.until('two is out', async () => !(await names(host, 8)).includes('two'));
  status = '200';
  await cluster.until('two is back', async () => (await names(host, 8)).includes('two'));
});

// B7
test('requests beyond the pool wait in order, in bounds, and the rest is told to come back', async () => {
  const held: ServerResponse[] = [];
  says.set('/held', (_, response) => held.push(response));
  const host = await serve('b7-queue', {
    backends: addresses().slice(0, 1),
    pool: { max: 1, min: 1 },
    queue: { size: 1, wait: '20s', status: 429 },
  });
  const node = nodeOf(0);
  const calls = Array.from({ length: 8 }, () => ask(node.http, host, '/held'));
  // Two processes with one connection and one place each: at most four are not refused.
  const refused: Answer[] = [];
  for (const call of calls) void call.then((answer) => answer.status === 429 && refused.push(answer));
  await cluster.until('the rest is refused', () => refused.length >= 4);
  assert.ok(refused.every(({ headers }) => Number(headers['retry-after']) > 0));
  const internal = `http://127.0.0.1:${node.internal}`;
  await cluster.until('the queue is seen', async () => {
    const text = await (await fetch(`${internal}/metrics`)).text();
    return /^kontrol_queue_waiting\{service="b7-queue"\} [12]$/m.test(text);
  });
  const [backend] = await statusOf(node.internal, 'b7-queue');
  assert.ok((backend?.active ?? 0) >= 1);
  while (refused.length < 8 && (await settled(calls)) < 8) {
    for (const response of held.splice(0)) response.end('let go');
    await new Promise((resolve) => setImmediate(resolve));
  }
  const answers = await Promise.all(calls);
  assert.ok(answers.every(({ status: code }) => code === 200 || code === 429));
  assert.ok(answers.some(({ status: code }) => code === 200));
});

/** How many of them are answered. */
async function settled(calls: readonly Promise<unknown>[]): Promise<number> {
  let count = 0;
  for (const call of calls) void call.then(() => count++);
  await new Promise((resolve) => setImmediate(resolve));
  return count;
}

// B8
test('weight 0 gets nothing, a second tier nothing until the first is out', async () => {
  const [one, two, three, four] = addresses();
  const host = await serve('b8-tiers', {
    backends: [
      { address: one, weight: 0 },
      { address: two, tier: 1 },
      { address: three },
      { address: four, state: 'maintenance' },
    ],
  });
  assert.deepEqual([...new Set(await names(host, 8))], ['three']);
  await serve('b8-tiers', {
    backends: [
      { address: one, weight: 0 },
      { address: two, tier: 1 },
      { address: three, state: 'drain' },
      { address: four, state: 'maintenance' },
    ],
  });
  assert.deepEqual([...new Set(await names(host, 8))], ['two']);
});

test('a backend that answers 5xx in a row is out in every process, with its reason in the status', async () => {
  says.set('/bad', (name, response) => {
    response.statusCode = name === 'four' ? 503 : 200;
    response.end(name);
  });
  const host = await serve('b8-eject', { eject: { status5xx: 5 }, passive: { offline: '60s' } });
  const node = nodeOf(0);
  await cluster.until('four is out', async () => {
    const answers = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(() => ask(node.http, host, '/bad')));
    return answers.every(({ body }) => body !== 'four');
  });
  await cluster.until('both processes have it out', async () => {
    const all = await statusOf(node.internal, 'b8-eject');
    const { outIn, outWhy } = all.find(({ address }) => address === addresses()[3]) ?? {};
    return outIn === 2 && /5xx|another process/.test(outWhy ?? '');
  });
  await cluster.until('the log says so', () => /backend_ejected/.test(node.command.output));
});

test('a backend that joins starts slowly where the service says so', async () => {
  const host = await serve('b8-slow', { backends: addresses().slice(0, 1), slowStart: '10m' });
  await names(host, 2);
  await serve('b8-slow', { backends: addresses().slice(0, 2), slowStart: '10m' });
  const twos = (await names(host, 80)).filter((name) => name === 'two').length;
  assert.ok(twos < 20, `${twos} of 80`);
});

// B9
test('WebSockets are balanced by a policy of their own', async () => {
  const host = await serve('b9-sockets', { balance: 'first-alive', websocket: { balance: 'round-robin' } });
  assert.deepEqual([...new Set(await names(host, 6))], ['one']);
  const seen = new Set<string>();
  const sockets: WebSocket[] = [];
  for (let turn = 0; turn < 12; turn++) {
    const socket = new WebSocket(`ws://127.0.0.1:${nodeOf(0).http}/`, { headers: { host } });
    sockets.push(socket);
    seen.add(String((await once(socket, 'message'))[0]));
  }
  for (const socket of sockets) socket.close();
  assert.equal(seen.size, 4);
});

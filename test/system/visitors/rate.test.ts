import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Cluster, visit } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';
import { type RedisService, startRedis } from '../../services/redis.ts';

let redis: RedisService;
let cluster: Cluster;

before(async () => {
  redis = await startRedis({ own: true });
  cluster = await Cluster.start(2, { redisUrl: redis.url, processes: 2 });
});
after(async () => {
  await cluster?.close();
  await redis?.stop();
});

const rule = (name: string, requests: number, more: Record<string, unknown> = {}) => ({
  kind: 'rule',
  name,
  list: 'limit',
  type: 'rate',
  rate: { requests, per: 'minute', ...more },
});
const domain = (name: string, ...firewall: string[]) => ({
  kind: 'domain',
  name,
  firewall,
  routes: [{ path: '/', answer: { body: 'hello\n' } }],
});

/** How many of `count` requests passed, sent by `clients` at the same time, each in turn to one node and the other. */
async function passedOf(count: number, clients: number, host: string, keepAlive: boolean): Promise<number> {
  let sent = 0;
  let passed = 0;
  const ports = cluster.nodes.map(({ http }) => http);
  const agent = new Agent({ keepAlive, maxSockets: clients });
  const one = (port: number) =>
    new Promise<number>((resolve, reject) => {
      const call = request({ host: '127.0.0.1', port, headers: { host }, agent }, (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
      });
      call.on('error', reject);
      call.end();
    });
  const client = async () => {
    while (sent < count) {
      const status = await one(ports[sent++ % ports.length]!);
      if (status === 200) passed++;
      else assert.equal(status, 429);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
  return passed;
}

function within(passed: number, limit: number): void {
  const most = Math.ceil(limit * 1.05);
  const least = Math.floor(limit * 0.95);
  assert.ok(passed <= most && passed >= least, `${passed} passed of ${limit}`);
}

test('a limit holds within 5 % over two nodes with two serving processes each, however the requests come', async () => {
  await cluster.apply(
    rule('burst', 200, { by: 'domain' }),
    rule('small', 10),
    domain('burst.example.com', 'burst'),
    domain('new.example.com', 'burst'),
    domain('small.example.com', 'small'),
  );
  within(await passedOf(700, 16, 'burst.example.com', true), 200);
  within(await passedOf(500, 8, 'new.example.com', false), 200);
  within(await passedOf(30, 1, 'small.example.com', false), 10);
});

test('the answer says what the limit is, when to come again, and that it is ours', async () => {
  await cluster.apply(rule('two', 2), domain('two.example.com', 'two'));
  const port = cluster.nodes[0]!.http;
  const first = await visit(port, 'two.example.com');
  assert.equal(first.status, 200);
  assert.equal(first.headers['ratelimit-policy'], '"two";q=2;w=60');
  assert.match(String(first.headers['ratelimit']), /^"two";r=1;t=\d+$/);
  await visit(cluster.nodes[1]!.http, 'two.example.com');
  const third = await visit(port, 'two.example.com', '/', { headers: { accept: 'text/html' } });
  assert.equal(third.status, 429);
  assert.match(String(third.headers['ratelimit']), /^"two";r=0;t=\d+$/);
  assert.ok(Number(third.headers['retry-after']) >= 55);
  assert.match(String(third.headers['proxy-status']), /rate_limited/);
  assert.match(third.body, /Too many requests/);
  await cluster.until('the metrics count it', async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${cluster.nodes[0]!.internal}/metrics`)).text();
    return (
      /kontrol_rate_limited_total\{rule="two"\} 1/.test(metrics) && /kontrol_rate_shared 1/.test(metrics)
    );
  });
});

test('a held request keeps its body, and WebSocket handshakes count', async () => {
  await cluster.apply(rule('posts', 2, { by: 'header:X-Key' }), domain('posts.example.com', 'posts'));
  const port = cluster.nodes[0]!.http;
  const key = { 'x-key': 'k'.repeat(8_000) };
  const posted = await visit(port, 'posts.example.com', '/', {
    method: 'POST',
    body: 'x'.repeat(100_000),
    headers: key,
  });
  assert.equal(posted.status, 200);
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const upgrade =
    'GET / HTTP/1.1\r\nHost: posts.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Key: ${key['x-key']}\r\n\r\n`;
  socket.write(upgrade);
  await once(socket, 'data');
  socket.destroy();
  assert.equal((await visit(port, 'posts.example.com', '/', { headers: key })).status, 429);
  assert.equal((await visit(port, 'posts.example.com', '/', { headers: { 'x-key': 'other' } })).status, 200);
});

test('a rule that is changed keeps its counts, any other change resets none', async () => {
  await cluster.apply(rule('kept', 3), domain('kept.example.com', 'kept'));
  const port = cluster.nodes[0]!.http;
  const status = async () => (await visit(port, 'kept.example.com')).status;
  assert.deepEqual([await status(), await status(), await status(), await status()], [200, 200, 200, 429]);
  await cluster.apply(domain('else.example.com'));
  assert.equal(await status(), 429);
  await cluster.apply(rule('kept', 4));
  assert.deepEqual([await status(), await status()], [200, 429]);
});

test('a rate rule has no place at a TCP listener', async () => {
  await cluster.apply(rule('http-only', 3), { kind: 'service', name: 'db', protocol: 'tcp', backends: [] });
  const listener = { port: 33_060, service: 'db', firewall: ['http-only'] };
  const reply = await cluster.call('PUT', '/v1/listeners/db?dryRun=1', listener);
  assert.equal(reply.status, 400);
  assert.match(JSON.stringify(reply.body.errors), /firewall.0.*counts requests/);
  // Neither by the back door: a rule that a listener uses does not become one.
  const ip = { list: 'blacklist', type: 'ip', match: ['192.0.2.1'] };
  await cluster.ok('PUT', '/v1/rules/http-only', ip);
  await cluster.ok('PUT', '/v1/listeners/db', { ...listener, port: await freePort() });
  const changed = await cluster.call('PUT', '/v1/rules/http-only', {
    list: 'limit',
    type: 'rate',
    rate: { requests: 3, per: 'minute' },
  });
  assert.equal(changed.status, 400);
  assert.match(JSON.stringify(changed.body.errors), /listener db uses it/);
});

test('a node whose sync process hangs or dies answers on, and limits on', async () => {
  await cluster.apply(rule('orphan', 5, { by: 'domain' }), domain('orphan.example.com', 'orphan'));
  const node = cluster.nodes[1]!;
  const [sync] = cluster.pids(node, 'sync');
  process.kill(sync!, 'SIGSTOP');
  const statuses: number[] = [];
  for (let i = 0; i < 30; i++) statuses.push((await visit(node.http, 'orphan.example.com')).status);
  process.kill(sync!, 'SIGKILL');
  for (let i = 0; i < 10; i++) statuses.push((await visit(node.http, 'orphan.example.com')).status);
  const passed = statuses.filter((status) => status === 200).length;
  assert.ok(statuses.every((status) => status === 200 || status === 429));
  // Each of two processes counts for itself, and the next sync once more.
  assert.ok(passed >= 5 && passed <= 15, `${passed} passed`);
  await cluster.until('another sync counts', async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${node.internal}/metrics`)).text();
    return /kontrol_rate_shared 1/.test(metrics);
  });
});

test('without Redis each node counts for itself, and what was counted before still counts', async () => {
  await cluster.apply(rule('alone', 20, { by: 'domain' }), domain('alone.example.com', 'alone'));
  const statusAt = async (node: number) =>
    (await visit(cluster.nodes[node]!.http, 'alone.example.com')).status;
  for (let i = 0; i < 10; i++) assert.equal(await statusAt(0), 200);
  await redis.stop();
  let here = 0;
  for (let i = 0; i < 30; i++) if ((await statusAt(0)) === 200) here++;
  let there = 0;
  for (let i = 0; i < 30; i++) if ((await statusAt(1)) === 200) there++;
  assert.equal(here, 10);
  assert.equal(there, 20);
  await redis.restart();
  await cluster.until('the nodes count together again', async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${cluster.nodes[1]!.internal}/metrics`)).text();
    return /kontrol_rate_shared 1/.test(metrics);
  });
  assert.equal(await statusAt(0), 429);
});

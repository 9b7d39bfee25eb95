/** The internal port of a running sync process, by real requests. */
import assert from 'node:assert/strict';
import net, { type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import { InternalPort } from './internal-port.ts';
import { until } from './scripted-primary.ts';
import { type Started, service, World } from './sync-world.ts';

const INTERNAL = { internal: { host: '127.0.0.1', port: 0 } };

async function get(sync: Started['sync'], path: string, options: RequestInit = {}) {
  await until('the port is open', () => sync.internalPort !== null);
  const response = await fetch(`http://127.0.0.1:${sync.internalPort}${path}`, options);
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

test('readyz says why not, then yes, then no again while the node stops', async (t) => {
  const world = await World.make(t);
  const { sync, primary } = await world.start(INTERNAL);
  const ready = async () => {
    const { status, text } = await get(sync, '/readyz');
    return { status, why: JSON.parse(text).why.join() };
  };
  await until('no process holds it', async () => /no serving process/.test((await ready()).why));
  assert.equal((await ready()).status, 503);
  primary.spawn();
  await until('it is ready', async () => (await ready()).status === 200);
  sync.receive({ type: 'stopping' });
  assert.deepEqual(await ready(), { status: 503, why: 'the node is stopping' });
  assert.equal((await get(sync, '/healthz')).status, 200);
});

test('metrics carry the four names, the traffic of all processes, and the facts of the node', async (t) => {
  const world = await World.make(t);
  await world.append(service('shop'));
  const { sync, primary } = await world.start(INTERNAL);
  const process = primary.spawn();
  await until('it is served', () => process.seq === 1);
  const { Counters } = await import('../observe/counters.ts');
  const counters = new Counters(() => true);
  counters.connectionsTotal = 3;
  primary.fromServing(process.id, { type: 'stats', stats: counters.snapshot(true) });
  primary.fromServing(process.id, { type: 'stats', stats: { garbage: true } });
  const metrics = async () => (await get(sync, '/metrics')).text;
  await until('the traffic is there', async () => /^tcp_connections_total_count 3$/m.test(await metrics()));
  await until('it is ready', async () => /^kontrol_node_ready 1$/m.test(await metrics()));
  const text = await metrics();
  for (const line of [
    /^tcp_connections_active_count 0$/m,
    /^http_request_time_avg_milliseconds /m,
    /^http_request_total_count 0$/m,
    /^kontrol_node_seq 1$/m,
    /^kontrol_node_store_up 1$/m,
    /^kontrol_node_processes\{role="serving"\} 1$/m,
    /^kontrol_backends\{service="shop"\} 1$/m,
    /^kontrol_node_info\{version="0\.0\.0"\} 1$/m,
  ]) {
    assert.match(text, line);
  }
});

test('status is JSON for tools and a page for people, with every value escaped', async (t) => {
  const world = await World.make(t);
  await world.append(service('shop'), {
    kind: 'domain',
    name: '<script>alert(1)</script>',
    doc: { name: 'x' },
  });
  const { sync, primary } = await world.start(INTERNAL);
  const process = primary.spawn();
  process.answersTo = () => [
    { service: 'shop', key: 1, address: '127.0.0.1:9', active: 2, tunnels: 1, idle: 4, alive: false },
    {
      service: 'shop',
      key: 1,
      address: '127.0.0.1:9',
      active: 0,
      tunnels: 0,
      idle: 0,
      alive: false,
      why: '<5xx>',
      ramp: 0.25,
    },
    { garbage: true },
  ];
  await until('it is served', () => process.seq === 1);
  const json = await get(sync, '/status');
  assert.equal(json.type, 'application/json');
  const [backend] = JSON.parse(json.text).backends;
  assert.deepEqual(
    [backend.address, backend.active, backend.tunnels, backend.idle, backend.outIn, backend.alive],
    ['127.0.0.1:9', 2, 1, 4, 2, true],
  );
  assert.deepEqual([backend.outWhy, backend.ramp], ['<5xx>', 0.25]);
  const page = await get(sync, '/status', { headers: { accept: 'text/html,*/*' } });
  assert.match(String(page.type), /text\/html/);
  assert.match(page.text, /127\.0\.0\.1:9/);
  assert.match(page.text, /domain\/&#60;script/);
  assert.ok(!page.text.includes('<script'));
});

test('reload by any method re-reads everything now; confirm wants a POST; the rest is not found', async (t) => {
  const world = await World.make(t);
  const { sync, primary } = await world.start({ ...INTERNAL, redisUrl: 'redis://unused' });
  const process = primary.spawn();
  await until('it is served', () => process.seq === 0);
  for (const method of ['GET', 'POST', 'PUT']) {
    const seq = await world.append(service(`by-${method.toLowerCase()}`));
    assert.equal((await get(sync, '/reload', { method })).status, 200);
    await until('it is served', () => process.seq === seq);
  }
  assert.equal((await get(sync, '/confirm')).status, 405);
  assert.equal((await get(sync, '/confirm', { method: 'POST' })).text, '{"confirmed":0}\n');
  assert.equal((await get(sync, '/nothing')).status, 404);
});

test('a page in a browser cannot confirm deletions', async (t) => {
  const world = await World.make(t);
  const { sync } = await world.start(INTERNAL);
  const { status } = await get(sync, '/confirm', {
    method: 'POST',
    headers: { origin: 'https://shop.example.com' },
  });
  assert.equal(status, 403);
});

test('a port in use is logged once and tried again until it is free', async (t) => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => holder.once('listening', resolve));
  const { port } = holder.address() as AddressInfo;
  const codes: string[] = [];
  const note = (code: string) => void codes.push(code);
  const log: Log = { ...silentLog, info: note, error: note };
  const clock = new ManualClock();
  const unused = () => {
    throw new Error('not asked');
  };
  const internal = new InternalPort({
    address: { host: '127.0.0.1', port },
    clock,
    log,
    metrics: () => [],
    readiness: () => ({ ready: true, why: [], store: 'up', bus: 'up' }),
    status: unused,
    reload: unused,
    confirm: unused,
  });
  t.after(() => internal.close());
  internal.start();
  await until('it failed', () => codes.length > 0);
  await new Promise((resolve) => holder.close(resolve));
  await until('it is open', () => {
    clock.advance(1_000);
    return internal.port === port;
  });
  assert.deepEqual(codes, ['internal_port_failed', 'internal_port_open']);
  const broken = await fetch(`http://127.0.0.1:${port}/status`);
  assert.equal(broken.status, 500);
});

test('a page whose name was made to resolve to this machine reads nothing (DNS rebinding)', async (t) => {
  const world = await World.make(t);
  const { sync } = await world.start(INTERNAL);
  await until('the port is open', () => sync.internalPort !== null);
  const statusFor = (host: string) =>
    new Promise<number>((resolve, reject) => {
      const socket = net.connect(sync.internalPort as number, '127.0.0.1', () => {
        socket.write(`GET /status HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      });
      socket.once('data', (data) => {
        socket.destroy();
        resolve(Number(data.toString('latin1').split(' ')[1]));
      });
      socket.once('error', reject);
    });
  for (const host of [
    'evil.example',
    'evil.example:42007',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
  ])
    assert.equal(await statusFor(host), 421, host);
  for (const host of ['localhost', 'localhost:42007', '127.0.0.1:1', '[::1]:42007', 'kontrol.localhost'])
    assert.equal(await statusFor(host), 200, host);
});

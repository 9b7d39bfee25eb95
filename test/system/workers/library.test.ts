/** The library in a small program, and the plain calls that any other language makes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Cluster, visit } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';
import { answering, stateOf, workersOf } from './worker.ts';

const PROGRAM = fileURLToPath(new URL('./library-program.js', import.meta.url));

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start(1);
  await cluster.apply(
    { kind: 'domain', name: 'library.test', service: 'library' },
    { kind: 'domain', name: 'plain.test', service: 'plain' },
  );
});
after(() => cluster.close());

test('a program registers itself, is registered again when it was forgotten, and leaves on TERM', async () => {
  const program = spawn(process.execPath, [PROGRAM], {
    env: {
      ...process.env,
      KONTROL_URL: cluster.apiUrl,
      KONTROL_TOKEN: cluster.token,
      PORT: String(await freePort()),
    },
    stdio: 'inherit',
  });
  try {
    const serves = () =>
      cluster.until('it serves', async () => (await answering(cluster, 1, 'library.test'))[0] === 'library');
    await serves();
    const [worker] = await workersOf(cluster);
    await cluster.ok('DELETE', `/v1/workers/${worker?.id}`);
    await cluster.until('it has registered again', async () => {
      const [again] = await workersOf(cluster);
      return again?.state === 'ready' && again.id !== worker?.id;
    });
    await serves();
    const gone = once(program, 'exit');
    program.kill('SIGTERM');
    assert.deepEqual(await gone, [0, null]);
    assert.equal(await stateOf(cluster, 'library'), 'none');
  } finally {
    program.kill('SIGKILL');
  }
});

test('plain calls: register, beat, drain, leave; a stranger that beats is told to register', async () => {
  const server = createServer((_request, response) => response.end(JSON.stringify({ name: 'plain' })));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    const registered = await cluster.ok('POST', '/v1/workers', { service: 'plain', port });
    const { id, permission, ttlMs, heartbeatMs } = registered.body;
    assert.deepEqual([registered.status, permission, ttlMs, heartbeatMs], [201, 'run', 15_000, 5_000]);
    assert.deepEqual(await answering(cluster, 1, 'plain.test'), ['503'], 'not before it is ready');
    const beat = await cluster.ok('PUT', `/v1/workers/${id}/heartbeat`, {
      state: 'ready',
      memory: 1,
      uptime: 2,
    });
    assert.deepEqual(beat.body, { permission: 'run', command: null });
    await cluster.until('it serves', async () => (await answering(cluster, 1, 'plain.test'))[0] === 'plain');
    const shown = (await cluster.ok('GET', `/v1/workers/${id}`)).body;
    assert.deepEqual([shown.address, shown.memory, shown.uptime], [`127.0.0.1:${port}`, 1, 2]);
    assert.equal((await cluster.ok('POST', `/v1/workers/${id}/drain?wait=all`)).status, 200);
    assert.deepEqual(await answering(cluster, 2, 'plain.test'), ['503']);
    assert.equal((await cluster.call('DELETE', `/v1/workers/${id}`)).status, 204);
    assert.equal((await cluster.call('DELETE', `/v1/workers/${id}`)).status, 404, 'it is given back once');
    const stranger = await cluster.call('PUT', `/v1/workers/${id}/heartbeat`, { state: 'ready' });
    assert.deepEqual([stranger.status, stranger.body.code], [404, 'worker_unknown']);
  } finally {
    server.close();
  }
});

test('the list comes whole, or page by page', async () => {
  for (const port of [4_101, 4_102, 4_103])
    await cluster.ok('POST', '/v1/workers', { service: 'paged', port });
  const whole = (await cluster.ok('GET', '/v1/workers?service=paged')).body;
  assert.deepEqual([whole.items.length, whole.next], [3, null]);
  const first = (await cluster.ok('GET', '/v1/workers?service=paged&limit=2')).body;
  const second = (await cluster.ok('GET', `/v1/workers?service=paged&limit=2&cursor=${first.next}`)).body;
  assert.deepEqual(
    [...first.items, ...second.items].map(({ id }) => id),
    whole.items.map(({ id }: { id: string }) => id),
  );
  assert.deepEqual([first.items.length, second.next], [2, null]);
});

test('drain with wait answers 202 with the nodes that still have a request, and 200 when it has ended', async () => {
  const open: (() => void)[] = [];
  const server = createServer((_request, response) => {
    open.push(() => response.end('{}'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    const { id } = (await cluster.ok('POST', '/v1/workers', { service: 'plain', port, state: 'ready' })).body;
    const visitor = cluster.until(
      'it serves',
      async () => (await visit(cluster.nodes[0]?.http ?? 0, 'plain.test')).status === 200,
    );
    await cluster.until('a request is open', () => open.length === 1);
    const early = await cluster.ok('POST', `/v1/workers/${id}/drain?wait=all&timeout=300ms`);
    assert.deepEqual([early.status, early.body.pending], [202, ['n1']]);
    const late = cluster.ok('POST', `/v1/workers/${id}/drain?wait=all`);
    open[0]?.();
    await visitor;
    assert.deepEqual([(await late).status, (await late).body.pending], [200, []]);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test('who writes a service without naming its builds keeps those of workers; a patch removes them', async () => {
  const server = createServer((_request, response) => response.end(JSON.stringify({ name: 'seven' })));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    const file = [
      { kind: 'service', name: 'filed', balance: 'random' },
      { kind: 'domain', name: 'filed.test', service: 'filed' },
    ];
    await cluster.apply(...file);
    await cluster.ok('POST', '/v1/workers', { service: 'filed', key: 7, port, state: 'ready' });
    const serves = () =>
      cluster.until('it serves', async () => (await answering(cluster, 1, 'filed.test'))[0] === 'seven');
    await serves();
    const again = await cluster.ok('POST', '/v1/apply?dryRun=1', { owner: 'test', objects: file });
    assert.deepEqual(again.body.changes, [], 'the file says nothing new');
    await cluster.ok('PUT', '/v1/services/filed?wait=all', { backends: ['127.0.0.1:1'], latest: 7 });
    assert.deepEqual(Object.keys((await cluster.ok('GET', '/v1/services/filed')).body.keys), ['1', '7']);
    const applied = await cluster.ok('POST', '/v1/apply?wait=all', { owner: 'test', objects: file });
    assert.match(JSON.stringify(applied.body.warnings), /it was key 7 and is .*auto/);
    assert.deepEqual((await cluster.ok('GET', '/v1/services/filed')).body.keys, { 7: {} });
    await serves();
    const { items } = (await cluster.ok('GET', '/v1/revisions?kind=service&name=filed')).body;
    const before = items.at(-1).seq;
    await cluster.ok('POST', `/v1/revisions/${before}/restore`, { kind: 'service', name: 'filed' });
    assert.deepEqual((await cluster.ok('GET', '/v1/services/filed')).body.keys, { 7: {} });
    await cluster.ok('DELETE', '/v1/domains/filed.test');
    await cluster.ok('DELETE', '/v1/services/filed');
    await cluster.apply(...file);
    await serves();
    const keys = { 7: null, 8: { enabled: false } };
    await cluster.ok('PATCH', '/v1/services/filed?wait=all', { keys });
    assert.deepEqual(await answering(cluster, 1, 'filed.test'), ['503'], 'what is removed by name stays so');
  } finally {
    server.close();
  }
});

test('a token of role worker registers workers of its own service only, and creates it', async () => {
  const made = await cluster.ok('POST', '/v1/tokens', { name: 'of-mine', role: 'worker', service: 'mine' });
  const token = { authorization: `Bearer ${made.body.token}` };
  const own = await cluster.call('POST', '/v1/workers', { service: 'mine', key: 7, port: 4_000 }, token);
  assert.equal(own.status, 201, JSON.stringify(own.body));
  assert.deepEqual(Object.keys((await cluster.ok('GET', '/v1/services/mine')).body.keys), ['7']);
  const other = await cluster.call('POST', '/v1/workers', { service: 'library', port: 4_000 }, token);
  assert.deepEqual([other.status, other.body.code], [403, 'forbidden']);
  const foreign = (await cluster.ok('POST', '/v1/workers', { service: 'plain', port: 4_001 })).body.id;
  assert.equal((await cluster.call('DELETE', `/v1/workers/${foreign}`, undefined, token)).status, 403);
  const refused = await cluster.call('POST', '/v1/workers', {
    service: 'mine',
    port: 80,
    host: '169.254.169.254',
  });
  assert.deepEqual([refused.status, refused.body.errors[0].path], [400, 'host']);
  const control = await cluster.call('POST', '/v1/workers', { service: 'mine', port: cluster.apiPort });
  assert.deepEqual([control.status, control.body.errors[0].path], [400, 'host']);
});

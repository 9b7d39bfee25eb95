/** Coalescing and the cache with the real processes: a crowd at a cold page, a purge, and a backend that is killed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { Cluster, visit } from '../../cluster.ts';

const CROWD = 1_000;

let cluster: Cluster;
let backend: Server;
/** Targets in the order in which the backend heard them. */
const heard: string[] = [];
/** Requests that wait for `release`. */
const held: ServerResponse[] = [];

before(async () => {
  backend = createServer((request, response) => {
    const target = request.url ?? '';
    heard.push(target);
    if (target.startsWith('/held')) held.push(response);
    else response.setHeader('cache-control', 'max-age=1').end(`page ${heard.length}`);
  });
  backend.listen(0, '127.0.0.1');
  await once(backend, 'listening');
  cluster = await Cluster.start(2, { processes: 1 });
  const backends = [`127.0.0.1:${(backend.address() as AddressInfo).port}`];
  const cache = { ttl: '1h', staleIfError: '1h' };
  await cluster.apply(
    { kind: 'service', name: 'crowded', backends, coalesce: {} },
    { kind: 'service', name: 'cached', backends, cache },
    { kind: 'domain', name: 'crowded.example', service: 'crowded' },
    { kind: 'domain', name: 'cached.example', service: 'cached' },
  );
});
after(async () => {
  await cluster?.close();
  backend?.closeAllConnections();
  backend?.close();
});

const node = () => cluster.nodes[0]!;
const times = (target: string) => heard.filter((one) => one === target).length;

async function metric(line: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${node().internal}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((one) => one.startsWith(line))
      ?.split(' ')
      .at(-1) ?? 0,
  );
}

for (const service of ['crowded', 'cached']) {
  test(`${CROWD} visitors of a cold page of a ${service} service reach the backend once`, async () => {
    const host = `${service}.example`;
    const before = heard.length;
    const crowd = Array.from({ length: CROWD }, () => visit(node().http, host, `/held/${service}`));
    await cluster.until('the backend is asked', () => heard.length > before);
    await cluster.until('all are there', async () => (await metric('kontrol_connections_active')) >= CROWD);
    for (const response of held.splice(0)) response.end('at last');
    const answers = await Promise.all(crowd);
    assert.equal(answers.filter(({ status, body }) => status === 200 && body === 'at last').length, CROWD);
    assert.equal(times(`/held/${service}`), 1);
    await cluster.until(
      'they are counted',
      async () =>
        (await metric(`kontrol_cache_requests_total{service="${service}",outcome="collapsed"}`)) ===
        CROWD - 1,
    );
  });
}

test('a purge reaches every node', async () => {
  for (const path of ['/purged/a', '/purged/b']) {
    for (const { http } of cluster.nodes) {
      await visit(http, 'cached.example', path);
      assert.match(String((await visit(http, 'cached.example', path)).headers['cache-status']), /hit/);
    }
  }
  const one = await cluster.ok('DELETE', '/v1/services/cached/cache?path=/purged/a');
  assert.equal(one.status, 200);
  assert.equal(one.body.purged, 2);
  assert.deepEqual(one.body.pending, []);
  assert.deepEqual(one.body.nodes.map(({ node }: { node: string }) => node).sort(), ['n1', 'n2']);
  for (const { http } of cluster.nodes) {
    assert.match(
      String((await visit(http, 'cached.example', '/purged/a')).headers['cache-status']),
      /uri-miss/,
    );
  }
  assert.equal((await cluster.ok('DELETE', '/v1/services/cached/cache?path=/purged/*')).body.purged, 4);
  assert.equal((await cluster.call('DELETE', '/v1/services/nothing/cache')).status, 404);
  assert.equal((await cluster.call('DELETE', '/v1/services/cached/cache?path=purged')).status, 400);
});

test('a killed backend is stood in for by what is stored, and by nothing else', async () => {
  const fresh = await visit(node().http, 'cached.example', '/kept');
  assert.equal(fresh.status, 200);
  await cluster.until('it is past its lifetime', async () => {
    const { headers } = await visit(node().http, 'cached.example', '/kept');
    return Number(headers['age'] ?? 0) >= 1 || /stale/.test(String(headers['cache-status']));
  });
  backend.closeAllConnections();
  backend.close();
  await once(backend, 'close');
  await cluster.until('the stored answer stands in', async () => {
    const { status, headers } = await visit(node().http, 'cached.example', '/kept');
    assert.equal(status, 200);
    return /stale-if-error/.test(String(headers['cache-status']));
  });
  assert.equal((await visit(node().http, 'cached.example', '/never-seen')).status, 503);
  assert.equal((await visit(node().http, 'crowded.example', '/kept')).status, 503);
});

/** The cache of two nodes with several serving processes: each keeps its own answers, and all of them forget together. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { Cluster, visit } from '../../cluster.ts';

const NODES = 2;
const PROCESSES = 2;

let cluster: Cluster;
let backend: Server;
let gets = 0;

before(async () => {
  backend = createServer((request, response) => {
    if (request.method === 'GET') gets++;
    request.resume().on('end', () => response.end('page'));
  });
  backend.listen(0, '127.0.0.1');
  await once(backend, 'listening');
  cluster = await Cluster.start(NODES, { processes: PROCESSES });
  const backends = [`127.0.0.1:${(backend.address() as AddressInfo).port}`];
  await cluster.apply(
    { kind: 'service', name: 'cached', backends, cache: { ttl: '1h' } },
    { kind: 'domain', name: 'cached.example', service: 'cached' },
  );
});
after(async () => {
  await cluster?.close();
  backend?.closeAllConnections();
  backend?.close();
});

/** The page from each node. */
async function pages(): Promise<void> {
  for (const { http } of cluster.nodes) await visit(http, 'cached.example', '/page');
}

test('an unsafe request makes answers invalid in every serving process of every node', async () => {
  await cluster.until('each process keeps the page', async () => {
    await pages();
    return gets === NODES * PROCESSES;
  });
  const written = await visit(cluster.nodes[0]!.http, 'cached.example', '/page', { method: 'PUT' });
  assert.equal(written.status, 200);
  await cluster.until('each process asks again', async () => {
    await pages();
    return gets === 2 * NODES * PROCESSES;
  });
});

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { MongoClient } from 'mongodb';
import { Cluster, visit } from '../../cluster.ts';
import { type MongoService, type RedisService, startMongo, startRedis } from '../../services/index.ts';

// How soon a change is live without any message, the re-read interval of kontrolapi and of every node.
process.env['KONTROL_TTL'] = '2s';

interface Document {
  readonly _id: string;
  readonly [field: string]: unknown;
}

let mongo: MongoService;
let redis: RedisService;
let client: MongoClient;
let cluster: Cluster;
before(async () => {
  [mongo, redis] = await Promise.all([startMongo({ own: true }), startRedis({ own: true })]);
  client = await MongoClient.connect(mongo.url);
  cluster = await Cluster.start(2, { mongoUrl: mongo.url, redisUrl: redis.url });
});
after(async () => {
  await cluster?.close();
  await client?.close();
  await Promise.all([mongo?.stop(), redis?.stop()]);
});

const domains = () => client.db().collection<Document>('domains');
const answering = (body: string) => ({ routes: [{ path: '/', answer: { status: 200, body } }] });

/** What every serving process of every node answers; a fresh connection may reach any of them. */
async function bodies(of: Cluster, host: string): Promise<string[]> {
  const all = of.nodes.flatMap((node) => [node, node, node]).map((node) => visit(node.http, host));
  return (await Promise.all(all)).map(({ status, body }) => (status === 200 ? body : String(status)));
}

async function liveEverywhere(of: Cluster, host: string, wanted: string, ms?: number): Promise<void> {
  await of.until(
    `${host} answers ${wanted} on every node`,
    async () => (await bodies(of, host)).every((body) => body === wanted),
    ms,
  );
}

/** `wait=all` answers with every node, and each of them has the API's state. */
async function putAndWait(of: Cluster, host: string, body: string): Promise<number> {
  const reply = await of.ok('PUT', `/v1/domains/${host}?wait=all&timeout=10s`, answering(body));
  assert.deepEqual(reply.body.pending, []);
  const nodes = (reply.body.nodes as { node: string; ms: number }[]).map(({ node }) => node).sort();
  assert.deepEqual(
    nodes,
    of.nodes.map(({ name }) => name),
  );
  return Number(reply.headers.get('kontrol-seq'));
}

async function sameEverywhere(of: Cluster): Promise<void> {
  await of.until('every node has the seq and hash of the API', async () => {
    const { items, seq, hash } = (await of.ok('GET', '/v1/nodes')).body;
    assert.equal(items.length, of.nodes.length);
    for (const item of items) assert.deepEqual([item.name, item.seq, item.hash], [item.name, seq, hash]);
    return seq > 0;
  });
}

test('a change by the API is live on every node, and wait=all says so', async () => {
  const seq = await putAndWait(cluster, 'api.test', 'one');
  // No waiting: the answer promised it.
  assert.deepEqual(new Set(await bodies(cluster, 'api.test')), new Set(['one']));
  await cluster.ok('PUT', '/v1/domains/api.test', answering('two'));
  await liveEverywhere(cluster, 'api.test', 'two');
  await sameEverywhere(cluster);
  const { items } = (await cluster.ok('GET', '/v1/nodes')).body;
  for (const item of items) assert.equal(item.seq, seq + 1);
});

test('an object deleted by the API is gone on every node', async () => {
  await putAndWait(cluster, 'gone.test', 'here');
  const reply = await cluster.ok('DELETE', '/v1/domains/gone.test?wait=all&timeout=10s');
  assert.deepEqual(reply.body.pending, []);
  assert.deepEqual(new Set(await bodies(cluster, 'gone.test')), new Set(['404']));
  await sameEverywhere(cluster);
});

test('a document edited in MongoDB is live everywhere and becomes a revision by mongodb', async () => {
  const seq = await putAndWait(cluster, 'hand.test', 'api');
  await cluster.until(
    'it is projected',
    async () => (await domains().findOne({ _id: 'hand.test' }))?.['rev'] === seq,
  );
  await domains().updateOne({ _id: 'hand.test' }, { $set: { 'routes.0.answer.body': 'hand' } });
  await liveEverywhere(cluster, 'hand.test', 'hand');
  await cluster.until('it is adopted', async () => {
    const { items } = (await cluster.ok('GET', '/v1/revisions?kind=domain&name=hand.test&limit=1')).body;
    return items[0].author === 'mongodb' && items[0].seq > seq;
  });
  await sameEverywhere(cluster);
  await cluster.until('nothing is reported as drift any more', async () =>
    (await cluster.ok('GET', '/v1/nodes')).body.items.every(
      (item: { drift: string[] }) => item.drift.length === 0,
    ),
  );
});

test('a document written into MongoDB without rev is live everywhere', async () => {
  await domains().insertOne({ _id: 'written.test', name: 'written.test', ...answering('by hand') });
  await liveEverywhere(cluster, 'written.test', 'by hand');
  await cluster.until(
    'it is adopted',
    async () => (await cluster.call('GET', '/v1/domains/written.test')).status === 200,
  );
  await sameEverywhere(cluster);
});

test('without Redis a change is live at the next re-read; with Redis again at once', async () => {
  await redis.stop();
  await cluster.until('every node says that its bus is down', async () =>
    (await cluster.ok('GET', '/v1/nodes')).body.items.every((item: { bus: string }) => item.bus === 'down'),
  );
  await cluster.ok('PUT', '/v1/domains/bus.test', answering('without'));
  await liveEverywhere(cluster, 'bus.test', 'without', 10_000);
  await redis.restart();
  await cluster.until('every node says that its bus is up', async () =>
    (await cluster.ok('GET', '/v1/nodes')).body.items.every((item: { bus: string }) => item.bus === 'up'),
  );
  await cluster.until('kontrolapi has its bus again', async () => {
    const reply = await cluster.ok('PUT', '/v1/domains/bus.test?wait=all&timeout=2s', answering('with'));
    return reply.status === 200;
  });
  await putAndWait(cluster, 'bus.test', 'again');
  assert.deepEqual(new Set(await bodies(cluster, 'bus.test')), new Set(['again']));
});

test('two nodes on one embedded store, without MongoDB and Redis', async () => {
  const embedded = await Cluster.start(2);
  try {
    await putAndWait(embedded, 'embedded.test', 'one');
    assert.deepEqual(new Set(await bodies(embedded, 'embedded.test')), new Set(['one']));
    await embedded.ok('PUT', '/v1/domains/embedded.test', answering('two'));
    await liveEverywhere(embedded, 'embedded.test', 'two');
    await sameEverywhere(embedded);
    await embedded.ok('DELETE', '/v1/domains/embedded.test?wait=all&timeout=10s');
    assert.deepEqual(new Set(await bodies(embedded, 'embedded.test')), new Set(['404']));
  } finally {
    await embedded.close();
  }
});

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Document as Bson, MongoClient } from 'mongodb';
import { Cluster, type NodeOfCluster, visit } from '../../cluster.ts';
import { type MongoService, startMongo } from '../../services/index.ts';

process.env['KONTROL_TTL'] = '1s';

interface Document extends Bson {
  readonly _id: string;
}

interface Quarantined {
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
  readonly lastGood: boolean;
}

let mongo: MongoService;
let client: MongoClient;
let cluster: Cluster;
let node: NodeOfCluster;
before(async () => {
  mongo = await startMongo({ own: true });
  client = await MongoClient.connect(mongo.url);
  cluster = await Cluster.start(1, { mongoUrl: mongo.url });
  node = cluster.nodes[0] as NodeOfCluster;
  await cluster.apply(
    domain('*', 'default'),
    domain('good.test', 'good'),
    { kind: 'service', name: 'good', backends: ['127.0.0.1:9'] },
    {
      kind: 'rule',
      name: 'office',
      list: 'whitelist',
      type: 'ip',
      match: ['127.0.0.1'],
    },
    {
      ...domain('ruled.test', 'open'),
      routes: [
        { path: '/inside', firewall: ['office'], answer: { status: 200, body: 'inside' } },
        { path: '/', answer: { status: 200, body: 'open' } },
      ],
    },
  );
});
after(async () => {
  await cluster?.close();
  await client?.close();
  await mongo?.stop();
});

const domain = (name: string, body: string) => ({
  kind: 'domain',
  name,
  routes: [{ path: '/', answer: { status: 200, body } }],
});
const collection = (name: string) => client.db().collection<Document>(name);
const alarmsOfApi = () => (cluster.api?.output ?? '').split('"deletions_held"').length - 1;
const nodeRecord = async () => (await cluster.ok('GET', '/v1/nodes')).body.items[0];
const quarantined = async (): Promise<Quarantined[]> => (await nodeRecord()).quarantined;
const seen = async (host: string, path = '/') => {
  const { status, body } = await visit(node.http, host, path);
  return status === 200 ? body : status;
};

/** Waits until these objects, and no others, are in quarantine. */
async function untilQuarantined(...names: readonly string[]): Promise<Quarantined[]> {
  let list: Quarantined[] = [];
  await cluster.until(`in quarantine: ${names.join(', ')}`, async () => {
    list = await quarantined();
    assert.deepEqual(list.map(({ kind, name }) => `${kind}/${name}`).sort(), [...names].sort());
    return true;
  });
  return list;
}

const BROKEN: readonly [collection: string, document: Document, reason: RegExp][] = [
  ['domains', { _id: 'types.test', name: 7, routes: 'none', aliases: { a: 1 } }, /name|routes|aliases/],
  [
    'domains',
    { _id: '~^([a-z]+\\.test', name: '~^([a-z]+\\.test', mode: 'on' },
    /regular expression|pattern|regex/i,
  ],
  [
    'domains',
    { _id: 'route.test', name: 'route.test', routes: [{ path: '~(a?){1000}(', service: 'x' }] },
    /path/,
  ],
  [
    'services',
    {
      _id: 'many',
      name: 'many',
      keys: { 1: { backends: Array.from({ length: 50_000 }, (_, i) => ({ address: `10.0.0.1:${i + 1}` })) } },
    },
    /./,
  ],
  ['services', { _id: 'huge', name: 'huge', labels: { text: 'x'.repeat(9_000_000) } }, /./],
  ['rules', { _id: 'net', name: 'net', list: 'blacklist', type: 'ip', match: ['300.1.2.3/99'] }, /match/],
];

test('broken documents in MongoDB change nothing else and are listed with their reasons', async () => {
  for (const [name, document] of BROKEN) await collection(name).insertOne(document);
  await collection('domains').insertOne({ _id: 'beside.test', ...domain('beside.test', 'beside') });
  const kinds: Record<string, string> = { domains: 'domain', services: 'service', rules: 'rule' };
  const list = await untilQuarantined(...BROKEN.map(([name, { _id }]) => `${kinds[name]}/${_id}`));
  for (const [, { _id }, reason] of BROKEN) {
    const found = list.find(({ name }) => name === _id);
    assert.match(found?.reason ?? '', reason, _id);
    assert.ok((found?.reason ?? '').length <= 300, 'a reason stays short');
    assert.equal(found?.lastGood, false, _id);
  }
  await cluster.until('a good one beside them is live', async () => (await seen('beside.test')) === 'beside');
  assert.deepEqual(
    [await seen('good.test'), await seen('other.example'), await seen('ruled.test', '/inside')],
    ['good', 'default', 'inside'],
  );
  // The API goes on, too; and what is broken there does not become a revision.
  await cluster.apply(domain('good.test', 'better'));
  assert.equal(await seen('good.test'), 'better');
  assert.equal((await cluster.call('GET', '/v1/services/many')).status, 404);
});

test('a field named __proto__ is an unknown one like any other', async () => {
  const routes =
    '"routes": [{"path": "/", "answer": {"status": 200, "body": "plain"}, "__proto__": {"methods": []}}]';
  await collection('domains').insertOne(
    JSON.parse(`{"_id": "proto.test", "name": "proto.test", ${routes}, "__proto__": {"mode": "off"}}`),
  );
  await cluster.until('it is served without it', async () => (await seen('proto.test')) === 'plain');
  await cluster.until('the log names it', () => /"fields_ignored".*__proto__/.test(node.command.output));
  assert.equal((await cluster.call('GET', '/v1/domains/proto.test')).status, 404, 'it is not adopted');
  assert.equal(await seen('good.test'), 'better');
  await collection('domains').deleteOne({ _id: 'proto.test' });
});

test('a domain without a good version answers 503, not what the default domain says', async () => {
  for (const host of ['types.test', 'route.test']) {
    const answer = await visit(node.http, host);
    assert.equal(answer.status, 503, host);
    assert.match(String(answer.headers['proxy-status']), /kontrol/);
  }
  assert.equal(await seen('unknown.test'), 'default');
});

test('a domain with a good version keeps it, and is released when it is mended', async () => {
  for (const [name, { _id }] of BROKEN) await collection(name).deleteOne({ _id });
  await untilQuarantined();
  await collection('domains').updateOne({ _id: 'good.test' }, { $set: { mode: 'sideways' } });
  const [only] = await untilQuarantined('domain/good.test');
  assert.equal(only?.lastGood, true);
  assert.match(only?.reason ?? '', /mode/);
  assert.equal(await seen('good.test'), 'better');
  await collection('domains').updateOne({ _id: 'good.test' }, { $set: { mode: 'off' } });
  await untilQuarantined();
  await cluster.until('it is in force', async () => (await seen('good.test')) === 503);
});

test('a rule without a good version closes the routes that name it, and no others', async () => {
  await collection('rules').insertOne({ _id: 'broken', name: 'broken', list: 'whitelist', type: 'planet' });
  await collection('domains').insertOne({
    _id: 'closed.test',
    name: 'closed.test',
    routes: [
      { path: '/inside', firewall: ['broken'], answer: { status: 200, body: 'inside' } },
      { path: '/', answer: { status: 200, body: 'open' } },
    ],
  });
  await untilQuarantined('rule/broken');
  await cluster.until('the domain is live', async () => (await seen('closed.test')) === 'open');
  assert.equal(await seen('closed.test', '/inside'), 503);
  assert.equal(await seen('ruled.test', '/inside'), 'inside');
});

test('when all domains vanish the table stays, with an alarm, until somebody confirms', async () => {
  const count = await collection('domains').countDocuments({ deleted: { $ne: true } });
  await collection('domains').deleteMany({});
  await cluster.until('the alarm is up', async () => (await nodeRecord()).held.length === count);
  await cluster.until('the API says so once', () => alarmsOfApi() === 1);
  await cluster.until('the log says so', () => node.command.output.includes('"deletions_held"'));
  assert.equal(await seen('ruled.test'), 'open');
  assert.equal(await seen('anything.test'), 'default');
  assert.equal((await cluster.call('GET', '/v1/domains/ruled.test')).status, 200);

  // Writes go on meanwhile and confirm nothing.
  await cluster.apply(domain('new.test', 'new'));
  assert.equal(await seen('new.test'), 'new');
  assert.equal(await seen('ruled.test'), 'open');

  // Two more re-reads of the API.
  for (const name of ['tick-a', 'tick-b']) {
    await collection('pages').insertOne({ _id: name, name, templates: { 404: name } });
    await cluster.until(
      `${name} is adopted`,
      async () => (await cluster.call('GET', `/v1/pages/${name}`)).status === 200,
    );
  }
  assert.equal(await seen('ruled.test'), 'open', 'what is held stays held beside new objects');
  assert.equal(alarmsOfApi(), 1, 'the same alarm is not repeated at every re-read');

  await cluster.ok('POST', '/v1/nodes/confirm');
  await cluster.until('they are gone', async () => (await seen('ruled.test')) === 404);
  await cluster.until('the alarm is over', async () => (await nodeRecord()).held.length === 0);
  await cluster.until(
    'the API has adopted it',
    async () => (await cluster.call('GET', '/v1/domains/ruled.test')).status === 404,
  );
  assert.equal(await seen('new.test'), 'new');
});

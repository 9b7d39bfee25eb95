import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { Cluster, visit } from '../../cluster.ts';

let cluster: Cluster;
let server: Server;
let backend: string;
before(async () => {
  server = createServer((_request, response) => response.end('shop')).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  backend = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  cluster = await Cluster.start(2);
  await cluster.apply(
    {
      kind: 'service',
      name: 'shop',
      balance: 'first-alive',
      keys: {
        1: {
          backends: [
            { address: '127.0.0.1:1', state: 'maintenance' },
            { address: backend },
            { address: '127.0.0.1:2', tier: 1 },
          ],
        },
      },
    },
    { kind: 'rule', name: 'bad', list: 'blacklist', type: 'ip', match: ['192.0.2.0/24'] },
    {
      kind: 'domain',
      name: 'shop.test',
      routes: [
        { path: '/admin', service: 'shop', firewall: ['bad'] },
        { path: '/', service: 'shop' },
      ],
    },
  );
});
after(async () => {
  await cluster?.close();
  server?.close();
});

const explain = async (body: object) => (await cluster.ok('POST', '/v1/explain', body)).body;
const stage = (
  explained: { stages: { stage: string; candidates: object[]; rules: object[] }[] },
  name: string,
) => explained.stages.find((each) => each.stage === name);

test('explain tells every stage with its candidates, and the backend with the reason of each', async () => {
  const explained = await explain({ url: 'http://Shop.Test/admin/x?y=1', address: '198.51.100.1' });
  assert.deepEqual(stage(explained, 'host')?.candidates, [
    { name: 'shop.test', won: true, reason: 'the most specific match' },
  ]);
  assert.deepEqual(stage(explained, 'route')?.candidates, [
    { name: '0: /admin', won: true, reason: 'the first that fits' },
    { name: '1: /', won: false, reason: '/admin goes before it' },
  ]);
  const [rule] = (stage(explained, 'route-rules')?.rules ?? []) as { rule: string; outcome: string }[];
  assert.deepEqual([rule?.rule, rule?.outcome], ['bad', 'passed']);
  assert.deepEqual([explained.decision.type, explained.decision.service], ['forward', 'shop']);
  assert.equal(explained.backends.pick, backend);
  assert.deepEqual(
    explained.backends.candidates.map(({ address, eligible, reason }: Record<string, unknown>) => [
      address,
      eligible,
      reason,
    ]),
    [
      ['127.0.0.1:1', false, 'it is in maintenance'],
      [backend, true, 'it may get it'],
      ['127.0.0.1:2', false, 'it is of tier 1, and tier 0 has some that are alive'],
    ],
  );
  assert.deepEqual(explained.backends.nodes, ['n1', 'n2']);
  assert.equal(explained.backends.candidates[1].processes, 4);
});

test('explain says what a visitor gets: the same status and cause, for each kind of end', async () => {
  await cluster.apply(
    { kind: 'domain', name: 'off.test', mode: 'off' },
    { kind: 'domain', name: 'old.test', routes: [{ path: '/', redirect: { to: 'https://new.test' } }] },
    { kind: 'domain', name: 'fixed.test', routes: [{ path: '/', answer: { status: 418, body: 'tea' } }] },
    { kind: 'domain', name: 'nowhere.test', service: 'no-such-service' },
    { kind: 'rule', name: 'everyone', list: 'blacklist', type: 'all' },
    { kind: 'domain', name: 'closed.test', service: 'shop', firewall: ['everyone'] },
  );
  const [node] = cluster.nodes;
  for (const host of ['off', 'old', 'fixed', 'nowhere', 'closed', 'unknown', 'shop']) {
    const { decision } = await explain({ url: `http://${host}.test/` });
    const { status } = await visit(node?.http ?? 0, `${host}.test`);
    assert.equal(decision.type === 'forward' ? 200 : decision.status, status, host);
  }
});

test('explain at an earlier revision decides by what was then', async () => {
  const { body } = await cluster.ok('PUT', '/v1/domains/moved.test', { service: 'shop' });
  await cluster.ok('PUT', '/v1/domains/moved.test', { mode: 'off' });
  const then = await explain({ url: 'http://moved.test/', at: body.seq });
  const now = await explain({ url: 'http://moved.test/' });
  assert.deepEqual([then.decision.type, then.seq, now.decision.cause], ['forward', body.seq, 'domain_off']);
  assert.equal(
    (await cluster.call('POST', '/v1/explain', { url: 'http://moved.test/', at: 9_999 })).status,
    404,
  );
});

test('a request that was made is explained by its id, as things were then', async () => {
  const [node] = cluster.nodes;
  const { headers } = await visit(node?.http ?? 0, 'shop.test', '/seen?by=me');
  const id = String(headers['x-request-id'] ?? '');
  const page = await visit(node?.http ?? 0, 'nobody.test', '/');
  const refused = String(page.headers['x-request-id']);
  assert.notEqual(refused, '');
  await cluster.until('the request is explained', async () => {
    const reply = await cluster.call('POST', '/v1/explain', { request: refused });
    return reply.status === 200 && reply.body.decision.cause === 'host_unknown';
  });
  const explained = await explain({ request: refused });
  assert.deepEqual([explained.record.status, explained.record.node], [404, 'n1']);
  if (id !== '') assert.equal((await explain({ request: id })).record.backend, backend);
  assert.equal((await cluster.call('POST', '/v1/explain', { request: 'never-seen' })).status, 404);
});

test('hostile questions are refused, not obeyed', async () => {
  for (const body of [
    {},
    { url: '' },
    { url: 'http://' },
    { url: 'http://*.test/' },
    { url: 'http://~.*/' },
    { url: 'http://a b/' },
    { url: 'http://shop.test/', request: 'x' },
    { url: 'http://shop.test/', address: 'not-an-address' },
    { url: 'http://shop.test/', method: 'GET /' },
    { url: 'http://shop.test/', at: -1 },
    { url: `http://shop.test/${'x'.repeat(20_000)}` },
    { url: 'http://shop.test/', headers: { a: 1 } },
  ]) {
    const reply = await cluster.call('POST', '/v1/explain', body);
    assert.equal(reply.status, 400, JSON.stringify(body).slice(0, 80));
  }
  for (const url of [
    'shop.test',
    'http://shop.test/%00/..//%2e',
    'http://[::1]/',
    'ws://shop.test/a;b/../',
  ]) {
    assert.equal((await cluster.call('POST', '/v1/explain', { url })).status, 200, url);
  }
});

test('a rule is tried on the traffic that was seen, without refusing anybody', async () => {
  for (let round = 0; round < 5; round++)
    for (const node of cluster.nodes) await visit(node.http, 'shop.test', `/try${round}`);
  const tryout = async (body: object, name = 'trial') =>
    (await cluster.ok('POST', `/v1/rules/${name}/tryout`, body)).body;
  await cluster.until('the requests are remembered', async () => {
    const { outcomes } = await tryout({ list: 'blacklist', type: 'ip', match: ['127.0.0.0/8'] });
    return (outcomes.refused ?? 0) >= 10;
  });
  const all = await tryout({ list: 'blacklist', type: 'ip', match: ['127.0.0.0/8'] });
  assert.equal(all.outcomes.refused, all.requests);
  assert.deepEqual(all.nodes, ['n1', 'n2']);
  assert.equal(all.addresses[0].address, '127.0.0.1');
  assert.equal(all.examples[0].outcome, 'refused');
  const none = await tryout({ list: 'blacklist', type: 'ip', match: ['192.0.2.1'] });
  assert.deepEqual([none.outcomes.refused, none.requests], [undefined, all.requests]);
  const rate = await tryout({ list: 'limit', type: 'rate', rate: { requests: 2, per: 'day' } });
  assert.ok(rate.outcomes.limited >= all.requests - 4);
  // One that is saved is tried where it is used.
  const used = await tryout({}, 'bad');
  assert.ok(used.requests < all.requests && used.requests >= 10);
  assert.equal((await cluster.call('POST', '/v1/rules/no-such/tryout')).status, 404);
  assert.equal((await cluster.call('POST', '/v1/rules/x/tryout', { list: 'nonsense' })).status, 400);
  assert.equal((await visit(cluster.nodes[0]?.http ?? 0, 'shop.test')).status, 200);
});

test('the last minutes are told by node, service and domain', async () => {
  for (let round = 0; round < 4; round++)
    for (const node of cluster.nodes) await visit(node.http, 'shop.test', '/counted');
  await cluster.until('all are counted', async () => {
    const { body } = await cluster.ok('GET', '/v1/stats');
    const of = (list: { name: string; requests: number }[], name: string) =>
      list.find((each) => each.name === name)?.requests ?? 0;
    return of(body.services, 'shop') >= 8 && of(body.domains, 'shop.test') >= 8;
  });
  const { body } = await cluster.ok('GET', '/v1/stats?limit=1');
  assert.deepEqual([body.nodes.map(({ node }: { node: string }) => node), body.silent], [['n1', 'n2'], []]);
  assert.deepEqual([body.services.length, body.domains.length], [1, 1]);
  assert.ok(body.minutes.at(-1).requests > 0 && body.minutes.at(-1).meanMs > 0);
});

test('the command explains, watches, and confirms', async () => {
  const explained = cluster.run(['explain', 'http://shop.test/admin', '--address', '192.0.2.9']);
  await cluster.until('it ends', () => !explained.running);
  assert.match(explained.output, /> 0: \/admin[\s\S]*rule bad: refused[\s\S]*=> page 403 \(rule_blocked\)/);
  const watching = cluster.run(['status', '--watch']);
  await cluster.until('the status is shown', () => /workers:/.test(watching.output));
  await cluster.until('a change is told', async () => {
    await cluster.ok('PATCH', '/v1/services/shop', { labels: { n: String(Math.random()) } });
    return /revision \d+ \S+: service shop/.test(watching.output);
  });
  const changing = cluster.run([
    'set',
    'service',
    'shop',
    'balance=random',
    '--confirm-within',
    '1m',
    '--wait',
  ]);
  await cluster.until('it ends', () => !changing.running);
  const [, seq] = /revision (\d+); served by every node \(n1 \d+ ms, n2 \d+ ms\)/.exec(changing.output) ?? [];
  assert.match(changing.output, /unless confirmed: kontrol confirm \d+/);
  const confirming = cluster.run(['confirm', String(seq)]);
  await cluster.until('it ends', () => !confirming.running);
  assert.match(confirming.output, /is confirmed/);
});

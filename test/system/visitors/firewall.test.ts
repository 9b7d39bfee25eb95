import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { Cluster } from '../../cluster.ts';
import { type Answer, type Asking, ask, causeOf } from './asking.ts';
import { Backend } from './backends.ts';
import { directly, GUARDED, HAS_IPV6, TRUSTED, through } from './firewall-cases.ts';

const HTML = 'text/html,application/xhtml+xml,*/*;q=0.8';
let cluster: Cluster;
let backend: Backend;
let sockets: WebSocketServer;
const names = GUARDED.map((_, index) => `guarded-${index}`);
const hostOf = (index: number) => `${names[index]}.example.com`;

before(async () => {
  cluster = await Cluster.start(2, {
    processes: 1,
    addresses: HAS_IPV6 ? ['[::1]'] : [],
    proxyArguments: ['--trusted-proxies', `${TRUSTED}/32`],
  });
  backend = await Backend.start('web');
  sockets = new WebSocketServer({ server: backend.server });
  sockets.on('connection', (socket) => socket.on('error', () => {}));
  await cluster.apply(
    { kind: 'service', name: 'web', backends: [backend.address] },
    ...GUARDED.flatMap(({ rules }, index) => {
      const named = rules.map((rule, place) => ({ kind: 'rule', name: `${names[index]}-${place}`, ...rule }));
      const firewall = named.map(({ name }) => name);
      return [...named, { kind: 'domain', name: hostOf(index), service: 'web', firewall }];
    }),
  );
});
after(async () => {
  await cluster.close();
  sockets.close();
  await backend.close();
});

const get = (host: string, asking: Asking = {}, path = '/', node = 0): Promise<Answer> =>
  ask(cluster.nodes[node]!.http, host, path, asking);
const person = (asking: Asking = {}): Asking => ({ ...asking, headers: { accept: HTML, ...asking.headers } });
const text = (asking: Asking) => JSON.stringify(asking);

/** What becomes of a WebSocket handshake: the status of the answer. */
async function upgrade(host: string, { from = '127.0.0.1', headers = {} }: Asking): Promise<number> {
  const socket = new WebSocket(
    `ws://${from.includes(':') ? '[::1]' : '127.0.0.1'}:${cluster.nodes[0]!.http}/`,
    {
      headers: { ...headers, host },
      localAddress: from,
    },
  );
  socket.on('error', () => {});
  const [kind, , response] = await Promise.race([
    once(socket, 'open').then(() => ['open']),
    once(socket, 'unexpected-response').then((args) => ['refused', ...args]),
  ]);
  socket.terminate();
  return kind === 'open' ? 101 : response.statusCode;
}

for (const [index, { what, pass, blocked, asked = [] }] of GUARDED.entries()) {
  test(`${what}: requests and WebSockets`, async () => {
    const host = hostOf(index);
    for (const asking of pass) {
      assert.equal((await get(host, person(asking))).status, 200, text(asking));
      assert.equal(JSON.parse((await get(host, person(asking))).body).name, 'web', text(asking));
    }
    for (const asking of blocked) {
      const answer = await get(host, person(asking));
      assert.deepEqual([answer.status, causeOf(answer)], [403, 'rule_blocked'], text(asking));
    }
    for (const asking of asked) {
      const answer = await get(host, person(asking));
      assert.match(String(answer.headers['set-cookie']), /^kontrol_secure=/, text(asking));
      assert.equal((await get(host, asking)).status, 200, text(asking));
      assert.equal(JSON.parse((await get(host, asking)).body).name, 'web', text(asking));
    }
    for (const asking of [pass[0], asked[0]])
      if (asking !== undefined) assert.equal(await upgrade(host, asking), 101, text(asking));
    if (blocked[0] !== undefined) assert.equal(await upgrade(host, blocked[0]), 403, text(blocked[0]));
  });
}

test('a refused request never reaches a backend', async () => {
  const index = GUARDED.findIndex(({ what }) => what === 'blacklist × all');
  const before = backend.requests;
  await get(hostOf(index), { method: 'POST', body: 'x' });
  await upgrade(hostOf(index), {});
  assert.equal(backend.requests, before);
});

test('rules are asked globally, then of the domain, then of the route; the log names the one that refused', async () => {
  const block = (name: string, ...match: string[]) => ({
    kind: 'rule',
    name,
    list: 'blacklist',
    type: 'ip',
    match,
  });
  await cluster.apply(
    block('by-all', '127.0.1.1'),
    block('by-domain', '127.0.1.1', '127.0.1.2'),
    block('by-route', '127.0.1.1', '127.0.1.2', '127.0.1.3'),
    { kind: 'rule', name: 'friends', list: 'allow', type: 'ip', match: ['127.0.1.0/24'] },
    {
      kind: 'domain',
      name: 'ordered.example.com',
      firewall: ['by-domain', 'friends'],
      routes: [
        { path: '/', service: 'web' },
        { path: '/guarded', service: 'web', firewall: ['by-route'] },
      ],
    },
  );
  await cluster.ok('PATCH', '/v1/settings?wait=all&timeout=10s', { firewall: ['by-all', 'friends'] });
  const refusedBy = async (from: string, path: string) => {
    const answer = await get('ordered.example.com', { from }, path);
    return (await logged(idOf(answer)))['rule'] ?? null;
  };
  assert.equal(await refusedBy('127.0.1.1', '/guarded'), 'by-all');
  assert.equal(await refusedBy('127.0.1.2', '/guarded'), 'by-domain');
  assert.equal(await refusedBy('127.0.1.3', '/guarded'), 'by-route');
  assert.equal(await refusedBy('127.0.1.4', '/guarded'), null);
  assert.equal(await refusedBy('127.0.1.3', '/'), null);
  // A host that nobody has set up is refused by nobody.
  assert.equal((await get('nobody.example.com', { from: '127.0.1.1' })).status, 404);
  await cluster.ok('PATCH', '/v1/settings?wait=all&timeout=10s', { firewall: [] });
});

/** The request id, which a backend is told and answers of the proxy itself carry. */
const idOf = (answer: Answer): string =>
  String(answer.headers['x-request-id'] ?? JSON.parse(answer.body).headers['x-request-id']);

/** The line of the first node's access log for a request. */
async function logged(id: string): Promise<Record<string, unknown>> {
  let found: Record<string, unknown> | undefined;
  await cluster.until(`request ${id} is logged`, () => {
    const lines = readFileSync(join(cluster.folder, 'n1-access.log'), 'utf8').trimEnd().split('\n');
    found = lines.map((line) => JSON.parse(line)).find((line) => line.id === id);
    return found !== undefined;
  });
  return found!;
}

test('the address that is judged is the one that is logged and told to the backend', async () => {
  const index = GUARDED.findIndex(({ what }) => what.startsWith('forwarding fields'));
  const answer = await get(hostOf(index), through('8.8.8.8', '::ffff:203.0.113.7'));
  assert.equal((await logged(idOf(answer)))['address'], '203.0.113.7');
  const { headers } = JSON.parse(answer.body);
  assert.equal(headers['x-real-ip'], '203.0.113.7');
  assert.equal(headers['x-forwarded-for'], `8.8.8.8, ::ffff:203.0.113.7, ${TRUSTED}`);
});

test('behind a proxy that ends TLS a site on https is served, and nobody else can pretend to be one', async () => {
  await cluster.apply({
    kind: 'domain',
    name: 'tls-ended.example.com',
    service: 'web',
    https: 'redirect',
    hsts: { maxAge: '1d' },
  });
  const statusOf = async (from: string, proto: string) =>
    (await get('tls-ended.example.com', { from, headers: { 'X-Forwarded-Proto': proto } })).status;
  assert.equal(await statusOf(TRUSTED, 'https'), 200);
  assert.equal(await statusOf(TRUSTED, 'http'), 308);
  assert.equal(await statusOf('127.0.0.8', 'https'), 308);
  const answer = await get('tls-ended.example.com', {
    from: TRUSTED,
    headers: { 'X-Forwarded-Proto': 'https' },
  });
  assert.equal(answer.headers['strict-transport-security'], 'max-age=86400');
});

test('the secure page is seen once: its cookie passes on every node, for its host alone, and cannot be made up', async () => {
  const ask = { kind: 'rule', name: 'ask', list: 'securepage', type: 'all' };
  const guarded = (name: string) => ({ kind: 'domain', name, service: 'web', firewall: ['ask'] });
  await cluster.apply(ask, guarded('ask.example.com'), guarded('other.example.com'));
  const first = await get('ask.example.com', person(), '/deep/link?x=1');
  assert.equal(first.status, 200);
  assert.equal(causeOf(first), null);
  assert.match(first.body, /You are about to open <strong>ask\.example\.com<\/strong>/);
  assert.equal(first.headers['cache-control'], 'no-store');
  const [field] = first.headers['set-cookie'] ?? [];
  assert.match(field ?? '', /^kontrol_secure=[^;]+; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/);
  const cookie = field!.split(';')[0]!;

  const seesBackend = async (host: string, sent: string, node = 0) => {
    const answer = await get(host, person({ headers: { cookie: sent } }), '/', node);
    assert.equal(answer.status, 200);
    return answer.headers['content-type'] === 'application/json';
  };
  assert.equal(await seesBackend('ask.example.com', cookie), true);
  assert.equal(await seesBackend('ask.example.com', `a=b; ${cookie}; c=d`), true);
  assert.equal(await seesBackend('ask.example.com', cookie, 1), true, 'the other node');
  assert.equal(await seesBackend('other.example.com', cookie), false);
  for (const made of [
    `${cookie}x`,
    cookie.replace(/=./, '=Z'),
    'kontrol_secure=',
    'kontrol_secure=.zzzz.AAAA',
  ])
    assert.equal(await seesBackend('ask.example.com', made), false, made);

  // What is no page view passes: calls, other methods, programs.
  for (const asking of [
    {},
    { headers: { accept: 'application/json' } },
    person({ method: 'POST', body: '' }),
  ])
    assert.match(
      String((await get('ask.example.com', asking)).headers['content-type']),
      /json/,
      text(asking),
    );
});

test('a pattern that would hang a backtracking engine is saved, and answers as fast as any other', async () => {
  const evil = '^(([0-9a-f]*):*)+g';
  await cluster.ok('PUT', '/v1/rules/evil?wait=all&timeout=10s', {
    list: 'blacklist',
    type: 'ip-regex',
    match: [evil],
  });
  await cluster.ok('PUT', '/v1/domains/evil.example.com?wait=all&timeout=10s', {
    service: 'web',
    firewall: ['evil'],
  });
  const longest = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
  assert.equal((await get('evil.example.com', through(longest))).status, 200);
  assert.equal(
    (await get('evil.example.com', through('1111:2222:3333:4444:5555:6666:7777:8888'))).status,
    200,
  );
});

test('what cannot be a rule is refused when it is saved, with the place of what is wrong', async () => {
  const refused: [rule: object, path: string][] = [
    [{ list: 'blacklist', type: 'ip', match: ['10.0.0.0/33'] }, 'match.0'],
    [{ list: 'blacklist', type: 'ip', match: ['192.0.2.1', '192.0.2.256'] }, 'match.1'],
    [{ list: 'blacklist', type: 'ip', match: [] }, 'match'],
    [{ list: 'blacklist', type: 'ip-regex', match: ['(unclosed'] }, 'match.0'],
    [{ list: 'blacklist', type: 'ip-regex', match: ['a'.repeat(257)] }, 'match.0'],
    [{ list: 'blacklist', type: 'ip-regex', match: ['(a)\\1'] }, 'match.0'],
    [{ list: 'blacklist', type: 'country', match: ['Germany'] }, 'match.0'],
    [{ list: 'blacklist', type: 'all', match: ['10.0.0.0/8'] }, 'match'],
    [{ list: 'greylist', type: 'all' }, 'list'],
    [{ list: 'blacklist', type: 'rate', rate: { requests: 1, per: 'minute' } }, 'list'],
    [{ list: 'blacklist', type: 'all', expires: 'tomorrow' }, 'expires'],
    [{ list: 'blacklist', type: 'all', note: 'x' }, 'note'],
  ];
  for (const [rule, path] of refused) {
    const reply = await cluster.call('PUT', '/v1/rules/refused', rule);
    assert.equal(reply.status, 400, JSON.stringify(rule));
    const paths = (reply.body.errors as { path: string }[]).map((error) => error.path);
    assert.ok(paths.includes(path), `${JSON.stringify(rule)}: ${paths}`);
  }
});

test('disabling a whitelist in use warns, deleting it is refused, and two that nobody can meet are said', async () => {
  const office = { kind: 'rule', name: 'office', list: 'whitelist', type: 'ip', match: ['127.0.0.2'] };
  const home = { kind: 'rule', name: 'home', list: 'whitelist', type: 'ip', match: ['127.0.0.3'] };
  await cluster.apply(office, home, {
    kind: 'domain',
    name: 'office.example.com',
    service: 'web',
    firewall: ['office'],
  });
  const both = await cluster.ok('PATCH', '/v1/domains/office.example.com?dryRun=1', {
    firewall: ['office', 'home'],
  });
  assert.match(JSON.stringify(both.body.warnings), /nobody can meet both/);
  const gone = await cluster.call('DELETE', '/v1/rules/office');
  assert.equal(gone.status, 409);
  assert.match(JSON.stringify(gone.body), /office\.example\.com/);
  assert.equal((await get('office.example.com')).status, 403);
  const off = await cluster.ok('PATCH', '/v1/rules/office?wait=all&timeout=10s', { enabled: false });
  assert.match(JSON.stringify(off.body.warnings), /no longer protects/);
  assert.equal((await get('office.example.com')).status, 200);
});

test('a dry run counts whom it would have refused, and says so in the log', async () => {
  await cluster.apply(
    { kind: 'rule', name: 'trial', list: 'blacklist', type: 'ip', match: ['127.0.2.0/24'], dryRun: true },
    { kind: 'domain', name: 'trial.example.com', service: 'web', firewall: ['trial'] },
  );
  for (const from of ['127.0.2.1', '127.0.2.2', '127.0.3.1'])
    assert.equal((await get('trial.example.com', directly(from))).status, 200);
  const [node] = cluster.nodes;
  await cluster.until('it is counted', async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${node!.internal}/metrics`)).text();
    return /^kontrol_rule_dry_runs_total\{rule="trial",outcome="refused"\} 2$/m.test(metrics);
  });
  assert.match(node!.command.output, /"code":"rule_dry_run"[^\n]*trial/);
});

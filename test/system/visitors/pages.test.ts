import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { after, before, test } from 'node:test';
import { CAUSES, type CauseCode } from '../../../shared/causes.ts';
import { Cluster } from '../../cluster.ts';
import { type Answer, type Asking, ask, causeOf } from './asking.ts';
import { Backend } from './backends.ts';

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8';
let cluster: Cluster;
const backends: Backend[] = [];
const silent: Server[] = [];

/** A server that answers each connection with these bytes and an end, or never (null). */
async function scripted(bytes: string | null): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => {
      if (bytes !== null) socket.end(bytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  silent.push(server);
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const get = (host: string, asking: Asking = {}, path = '/'): Promise<Answer> =>
  ask(cluster.nodes[0]!.http, host, path, asking);
const browser = (asking: Asking = {}): Asking => ({
  ...asking,
  headers: { accept: BROWSER, ...asking.headers },
});

/** How each cause that a visitor can see is brought about, on a host of its own. */
interface Situation {
  readonly cause: CauseCode;
  readonly domain?: object;
  readonly asking?: Asking;
  readonly path?: string;
  /** Seconds in Retry-After; null for none. */
  readonly retryAfter: string | null;
  /** The head is refused before anybody looked at what its sender prefers: text for all. */
  readonly unread?: boolean;
}

const SITUATIONS: readonly Situation[] = [
  { cause: 'host_unknown', retryAfter: null },
  { cause: 'route_unknown', domain: { routes: [{ path: '/elsewhere', service: 'web' }] }, retryAfter: null },
  { cause: 'key_gone', domain: { service: 'builds', key: 1 }, retryAfter: null },
  { cause: 'key_future', domain: { service: 'builds', key: 9 }, retryAfter: '60' },
  { cause: 'key_disabled', domain: { service: 'builds', key: 3 }, retryAfter: null },
  { cause: 'service_disabled', domain: { service: 'off' }, retryAfter: null },
  { cause: 'service_missing', domain: { service: 'missing' }, retryAfter: '60' },
  { cause: 'domain_off', domain: { service: 'web', mode: 'off' }, retryAfter: null },
  { cause: 'maintenance', domain: { service: 'web', mode: 'maintenance' }, retryAfter: '60' },
  { cause: 'no_backend', domain: { service: 'empty' }, retryAfter: '60' },
  { cause: 'all_dead', domain: { service: 'dead' }, retryAfter: '5' },
  { cause: 'rule_blocked', domain: { service: 'web', firewall: ['nobody'] }, retryAfter: null },
  { cause: 'https_only', domain: { service: 'web', https: 'only' }, retryAfter: null },
  { cause: 'backend_protocol', domain: { service: 'nonsense' }, retryAfter: null },
  {
    cause: 'backend_reset',
    domain: { service: 'hangs-up' },
    asking: { method: 'POST', body: 'x' },
    retryAfter: null,
  },
  { cause: 'first_byte_timeout', domain: { service: 'silent' }, retryAfter: null },
  { cause: 'queue_full', domain: { service: 'busy' }, retryAfter: '1' },
  {
    cause: 'path_ambiguous',
    domain: { routes: [{ path: '/a', service: 'web' }] },
    path: '/b/..%2Fa',
    retryAfter: null,
  },
  {
    cause: 'method_refused',
    domain: { service: 'web' },
    asking: { method: 'TRACE' },
    retryAfter: null,
    unread: true,
  },
  {
    cause: 'head_too_large',
    domain: { service: 'web' },
    asking: { headers: { x: 'x'.repeat(17_000) } },
    retryAfter: null,
    unread: true,
  },
  {
    cause: 'expectation_unknown',
    domain: { service: 'web' },
    asking: { headers: { expect: 'tea' } },
    retryAfter: null,
    unread: true,
  },
  {
    cause: 'body_too_large',
    domain: { service: 'web', limits: { body: 10 } },
    asking: { method: 'POST', body: 'x'.repeat(11) },
    retryAfter: null,
  },
];
const hostOf = ({ cause }: Situation) => `${cause.replaceAll('_', '-')}.example.com`;

before(async () => {
  cluster = await Cluster.start(1);
  const web = await Backend.start('web', {
    handler: (_request, response) => response.writeHead(404, { 'x-mine': 'yes' }).end('the backend says so'),
  });
  const slow = await Backend.start('slow', { handler: () => {} });
  backends.push(web, slow);
  const service = (name: string, address: string | null, more: object = {}) => ({
    kind: 'service',
    name,
    ...(address === null ? {} : { backends: [address] }),
    ...more,
  });
  const build = { backends: [{ address: web.address }] };
  await cluster.apply(
    service('web', web.address),
    service('off', web.address, { enabled: false }),
    service('empty', null),
    service('dead', '127.0.0.1:1'),
    service('nonsense', await scripted('SSH-2.0-nonsense\r\n\r\n')),
    service('hangs-up', await scripted('')),
    service('silent', await scripted(null), { timeouts: { firstByte: '200ms' }, health: { type: 'off' } }),
    service('busy', slow.address, { pool: { max: 1 }, queue: { size: 0, wait: '1s' } }),
    { kind: 'service', name: 'builds', keys: { '2': build, '3': { ...build, enabled: false }, '4': build } },
    { kind: 'rule', name: 'nobody', list: 'blacklist', type: 'all' },
    ...SITUATIONS.flatMap((situation) =>
      situation.domain === undefined
        ? []
        : [{ kind: 'domain', name: hostOf(situation), ...situation.domain }],
    ),
  );
});
after(async () => {
  await cluster.close();
  for (const server of silent) server.close();
  await Promise.all(backends.map((backend) => backend.close()));
});

for (const situation of SITUATIONS) {
  const { cause, retryAfter, path = '/', asking = {}, unread = false } = situation;
  const forms = unread ? 'text for everyone' : 'HTML for browsers, JSON and text for programs';
  test(`${cause}: ${forms}, complete and never cached`, async () => {
    const host = hostOf(situation);
    const held = cause === 'queue_full' ? await occupy(host) : null;
    const see = (accept: string | null): Promise<Answer> =>
      get(host, { ...asking, headers: { ...asking.headers, ...(accept === null ? {} : { accept }) } }, path);
    const html = await see(BROWSER);
    const json = await see('application/json');
    const text = await see(null);
    held?.();
    for (const answer of [html, json, text]) {
      const { headers, body } = answer;
      assert.deepEqual([answer.status, causeOf(answer)], [CAUSES[cause].status, cause]);
      assert.match(
        String(headers['proxy-status']),
        new RegExp(`^kontrol; error=${CAUSES[cause].proxyStatus};`),
      );
      assert.equal(headers['cache-control'], 'no-store');
      assert.equal(headers['retry-after'] ?? null, retryAfter);
      assert.equal(headers['content-length'], String(Buffer.byteLength(body)));
      assert.ok(headers.date !== undefined && headers.vary === 'Accept');
      assert.match(String(headers['x-request-id']), /^[\x21-\x7e]{8,}$/);
      assert.ok(body.includes(String(headers['x-request-id'])), 'the page names its request');
    }
    assert.equal(text.headers['content-type'], 'text/plain; charset=utf-8');
    assert.match(text.body, new RegExp(`^${CAUSES[cause].status} `));
    assert.equal(new Set([html, json, text].map(({ headers }) => headers['x-request-id'])).size, 3);
    if (unread) {
      for (const answer of [html, json]) assert.match(answer.body, new RegExp(`^${CAUSES[cause].status} `));
      return;
    }
    assert.equal(html.headers['content-type'], 'text/html; charset=utf-8');
    assert.match(html.body, /^<!doctype html>/);
    assert.match(html.body, /<h1>[^<]+<\/h1>/);
    assert.equal(json.headers['content-type'], 'application/problem+json');
    const problem = JSON.parse(json.body);
    assert.deepEqual([problem.status, problem.code], [CAUSES[cause].status, cause]);
  });
}

/** Takes the only connection to the backend until the answer is called, on every serving process. */
async function occupy(host: string, full = 503): Promise<() => void> {
  const calls = Array.from({ length: 12 }, () => {
    const call = request({
      host: '127.0.0.1',
      port: cluster.nodes[0]!.http,
      headers: { host },
      agent: false,
    });
    call.on('error', () => {});
    call.end();
    return call;
  });
  await cluster.until('no connection is left in any process', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => Promise.race([get(host), never(300)])));
    return answers.every((answer) => answer !== null && answer.status === full);
  });
  return () => {
    for (const call of calls) call.destroy();
  };
}

const never = (ms: number) => new Promise<null>((resolve) => setTimeout(resolve, ms, null));

test('a HEAD gets the head that GET would, and no body', async () => {
  for (const cause of ['host_unknown', 'maintenance', 'rule_blocked'] as const) {
    const situation = SITUATIONS.find((each) => each.cause === cause)!;
    const [whole, head] = [
      await get(hostOf(situation), browser()),
      await get(hostOf(situation), browser({ method: 'HEAD' })),
    ];
    assert.equal(head.body, '');
    const fields = ({ rawHeaders }: Answer) =>
      rawHeaders.filter((_, index) => !/^(date|x-request-id)$/i.test(rawHeaders[index - (index % 2)]!));
    assert.deepEqual([head.status, fields(head)], [whole.status, fields(whole)], cause);
  }
});

test('an answer of a backend passes untouched, whatever its status', async () => {
  await cluster.apply({ kind: 'domain', name: 'own.example.com', service: 'web' });
  const answer = await get('own.example.com', browser());
  assert.deepEqual(
    [answer.status, answer.body, answer.headers['x-mine']],
    [404, 'the backend says so', 'yes'],
  );
  for (const name of ['proxy-status', 'x-request-id', 'cache-control'])
    assert.equal(answer.headers[name], undefined, name);
});

test('brands: of the domain, else of the settings, else the default pages; a template that is missing falls back', async () => {
  const page = (name: string, templates: Record<string, string>) => ({ kind: 'page', name, templates });
  const line = '{{host}}|{{status}}|{{title}}|{{message}}|{{requestId}}|{{retryAfter}}|{{other}}';
  await cluster.apply(
    page('shop', { maintenance: `shop ${line}`, '404': 'shop 404' }),
    page('house', { maintenance: 'house maintenance', '404': 'house 404', '410': 'house 410' }),
    {
      kind: 'domain',
      name: 'branded.example.com',
      pages: 'shop',
      routes: [
        { path: '/soon', maintenance: true },
        { path: '/old', service: 'builds', key: 1 },
      ],
    },
    { kind: 'domain', name: 'plain.example.com', routes: [{ path: '/soon', maintenance: true }] },
  );
  const see = async (host: string, path: string) => (await get(host, browser(), path)).body;
  const branded = await get('branded.example.com', browser(), '/soon');
  const id = branded.headers['x-request-id'];
  assert.equal(
    branded.body,
    `shop branded.example.com|503|Back soon|The site is under maintenance and will be back soon.|${id}|60|{{other}}`,
  );
  assert.equal(await see('branded.example.com', '/'), 'shop 404');
  assert.match(await see('branded.example.com', '/old'), /<!doctype html>/);
  assert.match(await see('plain.example.com', '/'), /<!doctype html>/);

  await cluster.ok('PATCH', '/v1/settings?wait=all&timeout=10s', { pages: 'house' });
  assert.equal(await see('plain.example.com', '/'), 'house 404');
  assert.equal(await see('nobody.example.com', '/'), 'house 404');
  assert.equal(await see('branded.example.com', '/'), 'shop 404');
  // A missing template of the domain's brand falls back to the default pages.
  assert.match(await see('branded.example.com', '/old'), /<!doctype html>/);

  await cluster.apply(page('house', { '404': 'house 404, again' }));
  assert.equal(await see('plain.example.com', '/'), 'house 404, again');
  await cluster.ok('PATCH', '/v1/settings?wait=all&timeout=10s', { pages: null });
  assert.match(await see('plain.example.com', '/'), /<!doctype html>/);
});

test('a brand that is named somewhere cannot be deleted', async () => {
  const reply = await cluster.call('DELETE', '/v1/pages/shop');
  assert.equal(reply.status, 409);
  assert.match(JSON.stringify(reply.body), /branded\.example\.com/);
});

test('a host that could carry markup is refused before there is a page for it', async () => {
  for (const host of ["a'b.example.com", 'a&b.example.com', 'a<b>.example.com', 'a"b.example.com']) {
    const answer = await get(host, browser());
    assert.deepEqual([answer.status, causeOf(answer)], [400, 'bad_request'], host);
    assert.ok(!answer.body.includes(host));
  }
});

test('the preferred form follows the qualities of Accept', async () => {
  const cases: [accept: string, type: RegExp][] = [
    ['text/html', /html/],
    ['application/json', /problem\+json/],
    ['application/problem+json', /problem\+json/],
    ['text/html;q=0.5, application/json', /problem\+json/],
    ['application/json;q=0.5, text/html', /html/],
    ['text/plain, application/json;q=0.9', /plain/],
    ['*/*', /plain/],
    ['image/png', /plain/],
    ['text/html;q=0, */*', /plain/],
    ['', /plain/],
  ];
  for (const [accept, type] of cases) {
    const answer = await get('nobody.example.com', { headers: { accept } });
    assert.match(String(answer.headers['content-type']), type, accept);
  }
});

test('a request id that a visitor made up is not believed', async () => {
  const forged = await get('nobody.example.com', { headers: { 'X-Request-Id': 'mine' } });
  assert.notEqual(forged.headers['x-request-id'], 'mine');
});

test('429 instead of 503 where the service says so', async () => {
  const slow = backends.find(({ name }) => name === 'slow')!;
  const queue = { size: 0, status: 429 };
  await cluster.apply({ kind: 'service', name: 'busy', backends: [slow.address], pool: { max: 1 }, queue });
  const release = await occupy('queue-full.example.com', 429);
  const answer = await get('queue-full.example.com', browser());
  release();
  assert.deepEqual([answer.status, causeOf(answer), answer.headers['retry-after']], [429, 'queue_full', '2']);
});

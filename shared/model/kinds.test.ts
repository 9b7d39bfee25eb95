import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kind, nameOf, parseObject } from './kinds.ts';

type Doc = Record<string, unknown>;

/** The paths of the problems of a document. */
function problems(kind: Kind, doc: unknown): string[] {
  const result = parseObject(kind, doc);
  return result.ok ? [] : result.problems.map((problem) => problem.path);
}

function parsed(kind: Kind, doc: unknown, unknown: 'refuse' | 'ignore' = 'refuse'): Doc {
  const result = parseObject(kind, doc, unknown);
  if (!result.ok) assert.fail(JSON.stringify(result.problems));
  return result.value as Doc;
}

const route = (more: Doc): Doc => ({ name: 'a.example.com', routes: [{ service: 'web', ...more }] });

/** One document of each kind that uses every field of behaviour.md. */
const EXAMPLES: readonly [kind: Kind, doc: Doc][] = [
  [
    'domain',
    {
      name: 'shop.example.com',
      aliases: ['www.shop.example.com'],
      mode: 'on',
      routes: [
        { path: '/api', service: 'shop-api', stripPrefix: true, addPrefix: '/v2' },
        { path: '=/robots.txt', answer: { status: 200, body: 'x', type: 'text/plain' } },
        {
          path: '~^/v[0-9]+/',
          service: 'old',
          key: 41,
          priority: 10,
          methods: ['GET'],
          headers: { 'X-Beta': '1' },
        },
        { path: '/old', redirect: { to: 'https://new.example.com', status: 308, keepPath: true } },
        { path: ['~\\.png$', '~\\.css$'], service: 's', rewrite: { match: '~^/static/(.*)', to: '/$1' } },
        { path: '/soon', maintenance: true },
        {
          path: '/admin',
          firewall: ['office'],
          service: 'shop',
          request: { set: { 'x-from': 'proxy' }, add: {}, remove: [] },
          response: { set: {} },
        },
      ],
      firewall: ['no-bots'],
      pages: 'shop-brand',
      https: 'redirect',
      hsts: null,
      clientCertificates: null,
      limits: { body: '1MB', bodyIdle: '10s', bodyRate: '1KB' },
      labels: { team: 'shop' },
      owner: 'site',
    },
  ],
  ['domain', { name: 'a.example.com', service: 'shop', key: 'latest' }],
  [
    'service',
    {
      name: 'shop',
      protocol: 'https',
      tls: { verify: true, ca: 'PEM', serverName: 'Shop.internal', certificate: 'c' },
      enabled: true,
      balance: 'rendezvous',
      hash: { by: 'header:X-User', boundedLoad: 1.25 },
      latest: 'auto',
      keys: {
        '42': { enabled: true, backends: [{ address: '10.0.0.5:3000', weight: 1, tier: 0, state: 'ready' }] },
      },
      host: 'shop.internal:8080',
      sticky: { cookie: 'kontrol_shop', maxAge: '1h' },
      health: {
        type: 'http',
        path: '/up',
        status: [200],
        body: 'ok',
        interval: '5s',
        timeout: '2s',
        rise: 2,
        fall: 3,
        jitter: 0.1,
      },
      passive: { attempts: 3, offline: '10s' },
      pool: { max: 256, min: 0, idle: '4s' },
      queue: { size: 100, wait: '2s', status: 429 },
      timeouts: { connect: '3s', firstByte: '60s', idle: '60s' },
      retries: { max: 2, on: ['reset', 502] },
      websocket: { balance: 'least-connections', pool: { max: 10_000 } },
      coalesce: { headers: ['Accept'], withCookies: false, waiters: 10 },
      cache: { size: '64MB', ttl: '1s', staleWhileRevalidate: '0s', staleIfError: '0s' },
      slowStart: '0s',
      eject: { status5xx: 0, latency: null, maxShare: 0.5 },
      onAllDead: 'maintenance',
    },
  ],
  [
    'service',
    { name: 'short', backends: ['10.0.0.5:3000', { address: '[::1]:80', weight: 2 }, 'unix:/run/x'] },
  ],
  [
    'rule',
    {
      name: 'office',
      list: 'whitelist',
      type: 'ip',
      match: ['10.0.0.0/8', '::1'],
      enabled: true,
      dryRun: false,
      expires: null,
    },
  ],
  [
    'rule',
    { name: 'slow', list: 'limit', type: 'rate', rate: { requests: 100, per: 'minute', by: 'header:X-Key' } },
  ],
  ['page', { name: 'brand', templates: { '404': '<html>', maintenance: 'x' } }],
  ['certificate', { name: 'c', certificate: 'PEM', keyDigest: 'a'.repeat(64) }],
  [
    'listener',
    {
      name: 'l',
      address: '::1',
      port: 3306,
      service: 'mysql',
      firewall: [],
      proxyProtocol: { in: false, out: true },
      idle: null,
    },
  ],
  ['listener', { name: 'l', port: 443, tls: 'passthrough', hosts: { 'DB.example.com': 'db' } }],
  [
    'settings',
    {
      firewall: ['a'],
      pages: 'brand',
      timeouts: { connect: '1s' },
      via: false,
      limits: { headSize: '16KB', headTimeout: '20s', halfClose: true, connections: 0 },
      maintenance: {
        from: '2026-01-01T00:00:00Z',
        until: '2026-01-02T00:00:00+01:00',
        bypass: {
          addresses: ['10.0.0.0/8'],
          cookie: { name: 'c', value: 'v' },
          header: { name: 'X-H', value: 'v' },
        },
      },
      backendAddresses: { refuse: ['metadata'] },
      workers: { loopback: true },
      history: { days: 90, revisions: 1_000 },
    },
  ],
];

for (const [kind, doc] of EXAMPLES) {
  test(`a ${kind} like ${JSON.stringify(doc).slice(0, 60)}… is valid, and its long form is its own long form`, () => {
    const long = parsed(kind, doc);
    assert.deepEqual(parsed(kind, long), long);
    assert.deepEqual(parsed(kind, JSON.parse(JSON.stringify(long))), long);
  });
}

test('short forms become long ones', () => {
  assert.deepEqual(parsed('domain', { name: 'A.example.com', service: 'Shop', key: 7 }), {
    name: 'a.example.com',
    routes: [{ path: ['/'], service: 'shop', key: 7 }],
  });
  assert.deepEqual(parsed('service', { name: 's', backends: ['a:1'] }), {
    name: 's',
    keys: { '1': { backends: [{ address: 'a:1' }] } },
  });
  assert.deepEqual(parsed('domain', route({ path: '/a' }))['routes'], [{ path: ['/a'], service: 'web' }]);
});

test('a short form beside its long form is refused', () => {
  assert.deepEqual(problems('domain', { name: 'a.b', service: 's', routes: [] }), ['service']);
  assert.deepEqual(problems('domain', { name: 'a.b', key: 1 }), ['key']);
  assert.deepEqual(problems('service', { name: 's', backends: [], keys: {} }), ['backends']);
});

test('a route has exactly one target', () => {
  const targets: Doc[] = [
    { service: undefined },
    { redirect: { to: '/x' } },
    { answer: {} },
    { service: undefined, maintenance: false },
  ];
  for (const more of targets)
    assert.deepEqual(problems('domain', route(more)), ['routes.0'], JSON.stringify(more));
  assert.deepEqual(problems('domain', route({ service: undefined, answer: {}, key: 1 })), ['routes.0.key']);
  assert.deepEqual(
    problems('domain', route({ maintenance: { until: null } })),
    [],
    'a schedule beside a service',
  );
});

test('what a route may say', () => {
  const refused: [more: Doc, path: string][] = [
    [{ path: 'api' }, 'path'],
    [{ path: '/a?b' }, 'path'],
    [{ path: '/a b' }, 'path'],
    [{ path: '~(' }, 'path'],
    [{ path: ['/a', '=b'] }, 'path.1'],
    [{ path: [] }, 'path'],
    [{ methods: ['get'] }, 'methods.0'],
    [{ addPrefix: 'v2' }, 'addPrefix'],
    [{ addPrefix: '/v2?x' }, 'addPrefix'],
    [{ rewrite: { match: '^/a', to: '/b' } }, 'rewrite.match'],
    [{ rewrite: { match: '~(', to: '/b' } }, 'rewrite.match'],
    [{ rewrite: { match: '~a', to: 'b' } }, 'rewrite.to'],
    [{ rewrite: { match: '~a', to: '/b?c' } }, 'rewrite.to'],
    [{ rewrite: { match: '~(a)', to: '/$1$2' } }, 'rewrite.to'],
    [{ service: undefined, redirect: { to: 'ftp://x' } }, 'redirect.to'],
    [{ service: undefined, redirect: { to: 'https://' } }, 'redirect.to'],
    [{ service: undefined, redirect: { to: 'https://?x' } }, 'redirect.to'],
    [{ service: undefined, redirect: { to: 'http://é' } }, 'redirect.to'],
    [{ service: undefined, redirect: { to: 'http:// a' } }, 'redirect.to'],
    [{ service: undefined, redirect: { to: '/a b' } }, 'redirect.to'],
    [{ service: undefined, redirect: { to: '/a\r\nx: y' } }, 'redirect.to'],
    [{ service: undefined, redirect: { to: '/a', status: 200 } }, 'redirect.status'],
    [{ service: undefined, redirect: { to: '/a?b', keepPath: true } }, 'redirect.to'],
    [{ service: undefined, answer: { status: 199 } }, 'answer.status'],
    [{ service: undefined, answer: { type: 'a\nb' } }, 'answer.type'],
    [{ key: 0 }, 'key'],
    [{ key: 'newest' }, 'key'],
    [{ firewall: ['A B'] }, 'firewall.0'],
    [{ maintenance: { from: 'tomorrow' } }, 'maintenance.from'],
    [
      { maintenance: { from: '2026-01-02T00:00:00Z', until: '2026-01-02T00:59:00+01:00' } },
      'maintenance.until',
    ],
    [{ maintenance: { bypass: { addresses: ['10.0.0.0/40'] } } }, 'maintenance.bypass.addresses.0'],
    [{ maintenance: { bypass: { cookie: { name: 'a=b', value: 'x' } } } }, 'maintenance.bypass.cookie.name'],
  ];
  for (const [more, path] of refused) {
    assert.ok(
      problems('domain', route(more)).includes(`routes.0.${path}`),
      `${JSON.stringify(more)}: ${problems('domain', route(more))}`,
    );
  }
});

test('a route cannot change the fields that frame a message', () => {
  for (const name of [
    'Content-Length',
    'transfer-encoding',
    'Connection',
    'Host',
    'Upgrade',
    'TE',
    'Trailer',
    'Keep-Alive',
  ]) {
    for (const change of [{ set: { [name]: 'x' } }, { add: { [name]: 'x' } }, { remove: [name] }]) {
      assert.equal(problems('domain', route({ request: change })).length, 1, name);
      assert.equal(problems('domain', route({ response: change })).length, 1, name);
    }
  }
});

test('what a service may say', () => {
  const refused: [more: Doc, path: string][] = [
    [{ balance: 'luck' }, 'balance'],
    [{ keys: { '0': {} } }, 'keys.0'],
    [{ keys: { '01': {} } }, 'keys.01'],
    [{ keys: { '1': { backends: [{ address: 'a' }] } } }, 'keys.1.backends.0.address'],
    [{ backends: ['a:1', 'A:1'] }, 'backends'],
    [{ backends: Array.from({ length: 1_001 }, (_, n) => `a${n}:1`) }, 'backends'],
    [{ hash: { by: 'moon' } }, 'hash.by'],
    [{ host: 'a\r\nb' }, 'host'],
    [{ tls: { serverName: 'a:80' } }, 'tls.serverName'],
    [{ health: { type: 'magic' } }, 'health.type'],
    [{ health: { type: 'http', path: 'up' } }, 'health.path'],
    [{ queue: { status: 500 } }, 'queue.status'],
    [{ sticky: true }, 'sticky'],
    [{ name: 'constructor!' }, 'name'],
  ];
  for (const [more, path] of refused) {
    assert.ok(
      problems('service', { name: 's', ...more }).includes(path),
      `${JSON.stringify(more).slice(0, 80)}: ${problems('service', { name: 's', ...more })}`,
    );
  }
});

test('what a rule may say', () => {
  const rule = (more: Doc): Doc => ({
    name: 'r',
    list: 'blacklist',
    type: 'ip',
    match: ['10.0.0.1'],
    ...more,
  });
  const refused: [more: Doc, path: string][] = [
    [{ match: [] }, 'match'],
    [{ match: undefined }, 'match'],
    [{ match: ['10.0.0.0/33'] }, 'match.0'],
    [{ match: ['10.0.0.1', 'x'] }, 'match.1'],
    [{ match: ['fe80::1%eth0'] }, 'match.0'],
    [{ match: ['127.1'] }, 'match.0'],
    [{ type: 'ip-regex', match: ['('] }, 'match.0'],
    [{ type: 'country', match: ['DEU'] }, 'match.0'],
    [{ type: 'all' }, 'match'],
    [{ type: 'rate', match: undefined, rate: { requests: 1, per: 'minute' } }, 'list'],
    [{ list: 'limit' }, 'list'],
    [{ list: 'limit', type: 'rate', match: undefined }, 'rate'],
    [{ rate: { requests: 1, per: 'minute' } }, 'rate'],
    [
      { list: 'limit', type: 'rate', match: undefined, rate: { requests: 0, per: 'minute' } },
      'rate.requests',
    ],
    [{ expires: '2026-01-01' }, 'expires'],
    [{ list: 'greylist' }, 'list'],
  ];
  for (const [more, path] of refused) {
    assert.ok(
      problems('rule', rule(more)).includes(path),
      `${JSON.stringify(more)}: ${problems('rule', rule(more))}`,
    );
  }
});

test('a listener listens on an address', () => {
  assert.deepEqual(problems('listener', { name: 'l', port: 1, address: 'localhost' }), ['address']);
  assert.equal(parsed('listener', { name: 'l', port: 1, address: '::FFFF:10.0.0.1' })['address'], '10.0.0.1');
  assert.equal(parsed('listener', { name: 'l', port: 1, address: '' })['address'], '');
});

test('unknown fields are refused with the path of each', () => {
  const doc = {
    name: 'a.b',
    shiny: 1,
    routes: [{ service: 's', newer: 1, rewrite: { match: '~a', to: '/', more: 1 } }],
  };
  assert.deepEqual(problems('domain', doc).sort(), ['routes.0.newer', 'routes.0.rewrite.more', 'shiny']);
});

test('a node leaves unknown fields out at any depth, and lists them', () => {
  const cases: [kind: Kind, doc: Doc, ignored: string[]][] = [
    [
      'domain',
      { name: 'a.b', maintenance: { from: null, zz: 1 }, hsts: { maxAge: 1, zz: 1 } },
      ['hsts.zz', 'maintenance.zz'],
    ],
    [
      'service',
      { name: 's', sticky: { zz: 1 }, cache: { zz: 1 }, health: { type: 'tcp', zz: 1 } },
      ['cache.zz', 'health.zz', 'sticky.zz'],
    ],
    [
      'service',
      { name: 's', keys: { '1': { zz: 1, backends: [{ address: 'a:1', zz: 1 }] } } },
      ['keys.1.backends.0.zz', 'keys.1.zz'],
    ],
    ['page', { name: 'p', templates: { '999': 'x' } }, ['templates.999']],
    ['settings', { limits: { zz: 1 }, zz: { deep: [1] } }, ['limits.zz', 'zz']],
  ];
  for (const [kind, doc, ignored] of cases) {
    const result = parseObject(kind, doc, 'ignore');
    assert.ok(result.ok, JSON.stringify(result));
    assert.deepEqual([...result.ignored].sort(), ignored);
    assert.deepEqual(JSON.stringify(result.value).includes('zz'), false);
  }
});

test('leaving unknown fields out does not touch what was given', () => {
  const doc = { name: 'a.b', shiny: 1, routes: [{ service: 's', newer: 1 }] };
  const before = structuredClone(doc);
  parseObject('domain', doc, 'ignore');
  assert.deepEqual(doc, before);
});

test('what is not even an object is a problem, not an exception', () => {
  for (const input of [null, undefined, 7, 'x', [], [1]]) {
    assert.equal(parseObject('domain', input).ok, false);
    assert.equal(parseObject('domain', input, 'ignore').ok, false);
  }
});

test('prototype names are no fields', () => {
  const doc = JSON.parse('{"name": "a.b", "__proto__": {"polluted": 1}, "labels": {"__proto__": "x"}}');
  assert.equal(parseObject('domain', doc).ok, false);
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  assert.equal(parsed('service', { name: 'constructor' })['name'], 'constructor');
});

test('the name of the settings is settings', () => {
  assert.equal(nameOf('settings', {}), 'settings');
  assert.equal(nameOf('domain', { name: 'a.b' }), 'a.b');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from './decide.ts';
import {
  domainEntry,
  linesRecorder,
  NOW,
  request,
  ruleEntry,
  serviceEntry,
  settingsEntry,
  summary,
  tableOf,
} from './fixtures.ts';

const SHOP = 'shop.example.com';
const shop = (doc: Record<string, unknown>, more: Parameters<typeof tableOf>[0] = []) =>
  tableOf([serviceEntry('web'), domainEntry(SHOP, doc), ...more]);
const oneRoute = (route: Record<string, unknown>) => shop({ routes: [route] });

test('a request is forwarded byte for byte to the service of its route', () => {
  const table = shop({ routes: [{ service: 'web' }] });
  const decision = decide(table, request('/a%20b//c'));
  assert.equal(summary(decision), 'forward web/1');
  assert.deepEqual(decision.labels, { domain: SHOP, route: 0, service: 'web', pages: null, rule: null });
});

test('equal requests get the very same decision: nothing is made anew', () => {
  const table = shop({
    routes: [{ service: 'web' }, { path: '/gone', service: 'missing' }],
    hsts: { maxAge: '1d' },
  });
  for (const view of [request('/a'), request('/gone'), request('/', { secure: true })]) {
    assert.equal(decide(table, view), decide(table, view));
  }
});

test('an unknown host and an unknown path are not found', () => {
  const table = shop({ routes: [{ path: '/a', service: 'web' }] });
  const unknown = decide(table, request('/', { host: 'nobody.example.com' }));
  assert.equal(summary(unknown), 'page host_unknown');
  assert.equal(unknown.labels.domain, null);
  const decision = decide(table, request('/b'));
  assert.equal(summary(decision), 'page route_unknown');
  assert.equal(decision.labels.domain, SHOP);
});

test('without any domain the answer says that there is no site yet', () => {
  const table = tableOf([serviceEntry('web')]);
  assert.equal(summary(decide(table, request('/'))), 'page no_routes');
  table.apply([domainEntry(SHOP, { service: 'web' })]);
  const elsewhere = request('/', { host: 'other.example.com' });
  assert.equal(summary(decide(table, elsewhere)), 'page host_unknown');
  table.apply([{ kind: 'domain', name: SHOP, doc: null }]);
  assert.equal(summary(decide(table, elsewhere)), 'page no_routes');
});

test('names of object properties are just unknown hosts', () => {
  for (const host of ['constructor', '__proto__', 'toString', '']) {
    assert.equal(summary(decide(shop({}), request('/', { host }))), 'page host_unknown');
  }
});

test('what is wrong with a service or key has a cause of its own', () => {
  const table = tableOf([
    serviceEntry('web', { keys: { '3': {}, '5': {}, '6': { enabled: false } } }),
    serviceEntry('off', { enabled: false, keys: { '1': {} } }),
    serviceEntry('empty', {}),
    serviceEntry('pinned', { latest: 9, keys: { '3': {} } }),
    { kind: 'service', name: 'bad', doc: null, broken: { reason: 'why', claims: [] } },
    domainEntry(SHOP, {
      routes: [
        { path: '/3', service: 'web', key: 3 },
        { path: '/2', service: 'web', key: 2 },
        { path: '/4', service: 'web', key: 4 },
        { path: '/7', service: 'web', key: 7 },
        { path: '/6', service: 'web', key: 6 },
        { path: '/off', service: 'off' },
        { path: '/empty', service: 'empty' },
        { path: '/pinned', service: 'pinned' },
        { path: '/missing', service: 'missing' },
        { path: '/bad', service: 'bad' },
      ],
    }),
  ]);
  const expected: Record<string, string> = {
    '/3': 'forward web/3',
    '/2': 'page key_gone',
    '/4': 'page key_gone',
    '/7': 'page key_future',
    '/6': 'page key_disabled',
    '/off': 'page service_disabled',
    '/empty': 'page no_backend',
    '/pinned': 'page key_future',
    '/missing': 'page service_missing',
    '/bad': 'page quarantined',
  };
  for (const [path, line] of Object.entries(expected))
    assert.equal(summary(decide(table, request(path))), line);
});

test('a 503 that will pass says when to come back; one that will not does not', () => {
  const table = shop({ routes: [{ path: '/missing', service: 'missing' }] });
  const decision = decide(table, request('/missing'));
  assert.equal(decision.type === 'page' && decision.retryAfter, 60);
  const off = decide(shop({ mode: 'off' }), request());
  assert.equal(off.type === 'page' && off.retryAfter, null);
});

test('a service that appears is used by the routes that waited for it', () => {
  const table = tableOf([domainEntry(SHOP, { service: 'web' })]);
  assert.equal(summary(decide(table, request())), 'page service_missing');
  table.apply([serviceEntry('web')]);
  assert.equal(summary(decide(table, request())), 'forward web/1');
  table.apply([{ kind: 'service', name: 'web', doc: null, broken: { reason: 'x', claims: [] } }]);
  assert.equal(summary(decide(table, request())), 'page quarantined');
  table.apply([{ kind: 'service', name: 'web', doc: null }]);
  assert.equal(summary(decide(table, request())), 'page service_missing');
});

test('a route answers, redirects or says maintenance by itself', () => {
  const table = shop({
    routes: [
      { path: '=/robots.txt', answer: { body: 'no', type: 'text/x', status: 203 } },
      { path: '/empty', answer: {} },
      { path: '/old', redirect: { to: 'https://new.example.com/a' } },
      { path: '/see', redirect: { to: '/there', status: 303 } },
      { path: '/soon', maintenance: true },
    ],
  });
  const answer = decide(table, request('/robots.txt'));
  assert.equal(summary(answer), 'answer 203 no');
  assert.equal(answer.type === 'answer' && answer.contentType, 'text/x');
  assert.equal(summary(decide(table, request('/empty'))), 'answer 200 ');
  assert.equal(
    summary(decide(table, request('/old/x', { query: '?y' }))),
    'redirect 308 https://new.example.com/a',
  );
  assert.equal(summary(decide(table, request('/see'))), 'redirect 303 /there');
  assert.equal(summary(decide(table, request('/soon/x'))), 'page maintenance');
});

test('OPTIONS * goes where / goes, unchanged, and is answered where there is no such route', () => {
  const star = request('*', { method: 'OPTIONS' });
  assert.equal(summary(decide(oneRoute({ service: 'web', addPrefix: '/x' }), star)), 'forward web/1');
  assert.equal(summary(decide(oneRoute({ path: '/a', service: 'web' }), star)), 'answer 204 ');
});

test('an empty path is the root', () => {
  assert.equal(summary(decide(oneRoute({ service: 'web' }), request(''))), 'forward web/1 /');
});

test('a route strips, rewrites and adds to the path', () => {
  const cases: [route: Record<string, unknown>, raw: string, path: string][] = [
    [{ path: '/api', stripPrefix: true }, '/api', '/'],
    [{ path: '/api', stripPrefix: true }, '/api/', '/'],
    [{ path: '/api', stripPrefix: true }, '/api/x/y', '/x/y'],
    [{ path: '/api/', stripPrefix: true }, '/api/x', '/x'],
    [{ path: '=/api', stripPrefix: true }, '/api', '/'],
    [{ path: ['/a', '/a/b'], stripPrefix: true }, '/a/b/c', '/c'],
    [{ path: '/api', stripPrefix: true, addPrefix: '/v2' }, '/api', '/v2'],
    [{ path: '/api', stripPrefix: true, addPrefix: '/v2' }, '/api/x', '/v2/x'],
    [{ path: '/', addPrefix: '/v2/' }, '/x', '/v2/x'],
    [{ path: '/', stripPrefix: true, addPrefix: '/v2' }, '/x', '/v2/x'],
    [{ path: '/', rewrite: { match: '~^/static/(.*)', to: '/$1' } }, '/static/a/b', '/a/b'],
    [{ path: '/', rewrite: { match: '~^/static/(.*)', to: '/$1' } }, '/other', '/other'],
    [{ path: '/', rewrite: { match: '~^/(.*)', to: '$1' } }, '/a', '/a'],
    [{ path: '/a', stripPrefix: true, rewrite: { match: '~b', to: '/c' }, addPrefix: '/p' }, '/a/b', '/p//c'],
    // Bytes that mean the same stay as they came.
    [{ path: '/api', stripPrefix: true }, '/api/%7ex//y%2fz', '/%7ex//y%2fz'],
    [{ path: '/api', stripPrefix: true }, '/api/caf%c3%a9', '/caf%c3%a9'],
    // What would mean something else after the change does not.
    [{ path: '/api', stripPrefix: true }, '/api/../api/x', '/x'],
    [{ path: '/api', stripPrefix: true }, '/api//evil.example.com/x', '/evil.example.com/x'],
    [{ path: '/api', stripPrefix: true }, '/api/\\evil.example.com', '/evil.example.com'],
  ];
  for (const [route, raw, path] of cases) {
    const decision = decide(oneRoute({ service: 'web', ...route }), request(raw));
    assert.equal(
      decision.type === 'forward' ? decision.path : summary(decision),
      path,
      `${JSON.stringify(route)} ${raw}`,
    );
  }
});

test('a redirect that keeps the path appends path and query', () => {
  const to = (address: string, more: Record<string, unknown> = {}) =>
    oneRoute({ path: '/', redirect: { to: address, keepPath: true }, ...more });
  const location = (table: ReturnType<typeof to>, raw: string, query = '') => {
    const decision = decide(table, request(raw, { query }));
    return decision.type === 'redirect' ? decision.location : summary(decision);
  };
  assert.equal(location(to('https://new.example.com'), '/a/b', '?c=d'), 'https://new.example.com/a/b?c=d');
  assert.equal(location(to('https://new.example.com/'), '/a'), 'https://new.example.com/a');
  assert.equal(location(to('/new'), '/a', '?x'), '/new/a?x');
  assert.equal(
    location(to('https://n.example.com', { path: '/old', stripPrefix: true }), '/old/a'),
    'https://n.example.com/a',
  );
  // A path must not become another site, nor a field of its own.
  assert.equal(location(to('/'), '//evil.example.com/a'), '/evil.example.com/a');
  assert.equal(location(to('/'), '/\\evil.example.com'), '/%5Cevil.example.com');
  assert.equal(
    location(to('https://n.example.com'), '/a\r\nSet-Cookie: x=1', '?\r\n'),
    'https://n.example.com/a%0D%0ASet-Cookie:%20x=1?%0D%0A',
  );
});

test('plain http is sent to https, on the port that visitors see', () => {
  const entries = [
    serviceEntry('web'),
    domainEntry(SHOP, { service: 'web', https: 'redirect', hsts: { maxAge: 60_000 } }),
  ];
  const plain = request('/a//b', { query: '?c' });
  const standard = decide(tableOf(entries), plain);
  assert.equal(summary(standard), `redirect 308 https://${SHOP}/a//b?c`);
  assert.equal(standard.response, null, 'no HSTS over http');
  assert.equal(
    summary(decide(tableOf(entries, { publicHttpsPort: 8443 }), plain)),
    `redirect 308 https://${SHOP}:8443/a//b?c`,
  );
  assert.equal(summary(decide(tableOf(entries), request('/', { secure: true }))), 'forward web/1');
  assert.equal(
    summary(decide(tableOf(entries), request('*', { method: 'OPTIONS' }))),
    `redirect 308 https://${SHOP}/`,
  );
});

test('a domain of https only refuses plain http', () => {
  const table = shop({ service: 'web', https: 'only' });
  assert.equal(summary(decide(table, request())), 'page https_only');
  assert.equal(summary(decide(table, request('/', { secure: true }))), 'forward web/1');
});

test('HSTS goes with every answer over https, and only there', () => {
  const table = shop({
    hsts: { maxAge: '365d', includeSubDomains: true, preload: true },
    routes: [{ path: '/a', service: 'web', response: { set: { 'x-a': '1' } } }],
  });
  const hsts = ['strict-transport-security', 'max-age=31536000; includeSubDomains; preload'];
  assert.deepEqual(decide(table, request('/a', { secure: true })).response?.set, [['x-a', '1'], hsts]);
  assert.deepEqual(decide(table, request('/nowhere', { secure: true })).response?.set, [hsts]);
  assert.deepEqual(decide(table, request('/a')).response?.set, [['x-a', '1']]);
  assert.equal(decide(table, request('/nowhere')).response, null);
});

test('a route may leave HSTS out or say its own', () => {
  const table = shop({
    hsts: { maxAge: '1d' },
    routes: [
      { path: '/a', service: 'web', response: { remove: ['Strict-Transport-Security'] } },
      { path: '/b', service: 'web', response: { set: { 'Strict-Transport-Security': 'max-age=0' } } },
    ],
  });
  assert.deepEqual(decide(table, request('/a', { secure: true })).response?.set, []);
  assert.deepEqual(decide(table, request('/b', { secure: true })).response?.set, [
    ['strict-transport-security', 'max-age=0'],
  ]);
});

test('header changes go with the decision, lower-case', () => {
  const decision = decide(
    oneRoute({
      service: 'web',
      request: { set: { 'X-From': 'proxy' }, add: { 'X-More': '1' }, remove: ['Cookie'] },
      response: { set: { 'X-Frame-Options': 'DENY' } },
    }),
    request(),
  );
  assert.ok(decision.type === 'forward');
  assert.deepEqual(decision.request, {
    set: [['x-from', 'proxy']],
    add: [['x-more', '1']],
    remove: new Set(['cookie']),
  });
  assert.deepEqual(decision.response?.set, [['x-frame-options', 'DENY']]);
});

test('pages are those of the domain, else of the settings', () => {
  const table = tableOf([
    domainEntry(SHOP, { pages: 'shop-brand' }),
    domainEntry('other.example.com', { routes: [{ maintenance: true }] }),
    settingsEntry({ pages: 'house' }),
  ]);
  assert.equal(decide(table, request()).labels.pages, 'shop-brand');
  assert.equal(decide(table, request('/', { host: 'other.example.com' })).labels.pages, 'house');
  assert.equal(decide(table, request('/', { host: 'nobody' })).labels.pages, 'house');
  table.apply([settingsEntry({ pages: 'new' })]);
  assert.equal(decide(table, request('/', { host: 'other.example.com' })).labels.pages, 'new');
});

test('a domain lowers limits of the settings and cannot raise them', () => {
  const table = shop({ service: 'web', limits: { body: '1MB', bodyIdle: '5s', bodyRate: 0 } });
  const limits = () => {
    const decision = decide(table, request());
    return decision.type === 'forward' ? decision.limits : summary(decision);
  };
  assert.deepEqual(limits(), { body: 1_048_576, bodyIdleMs: 5_000, bodyRate: 0 });
  table.apply([settingsEntry({ limits: { body: '1KB', bodyIdle: '1s', bodyRate: 0 } })]);
  assert.deepEqual(limits(), { bodyRate: 0 });
  table.apply([domainEntry(SHOP, { service: 'web', limits: { body: 0, bodyIdle: '2s' } })]);
  assert.equal(limits(), null);
  table.apply([settingsEntry({ limits: { bodyIdle: 0 } })]);
  assert.deepEqual(limits(), { bodyIdleMs: 2_000 });
});

test('the steps come in their order', () => {
  const everything = {
    firewall: ['no'],
    https: 'redirect',
    mode: 'off',
    maintenance: true,
    routes: [{ path: '/', firewall: ['no'], service: 'web' }],
  };
  const rules = [
    ruleEntry('no', { list: 'blacklist', type: 'all' }),
    ruleEntry('global', { list: 'blacklist', type: 'all' }),
  ];
  const seen: string[] = [];
  const ask = (doc: Record<string, unknown>, settings: Record<string, unknown>) => {
    const decision = decide(shop(doc, [...rules, settingsEntry(settings)]), request());
    seen.push(`${summary(decision)} ${decision.labels.rule} ${decision.labels.route}`);
  };
  ask(everything, { firewall: ['global'], maintenance: true });
  ask(everything, { maintenance: true });
  ask({ ...everything, firewall: [] }, { maintenance: true });
  ask({ ...everything, firewall: [], https: 'allow' }, { maintenance: true });
  ask({ ...everything, firewall: [], https: 'allow' }, {});
  ask({ ...everything, firewall: [], https: 'allow', mode: 'on' }, {});
  ask({ ...everything, firewall: [], https: 'allow', mode: 'on', maintenance: false }, {});
  assert.deepEqual(seen, [
    'page rule_blocked global null',
    'page rule_blocked no null',
    `redirect 308 https://${SHOP}/ null null`,
    'page maintenance null null',
    'page domain_off null null',
    'page maintenance null null',
    'page rule_blocked no 0',
  ]);
});

test('a recorder hears of every step, candidate and rule, and changes nothing', () => {
  const table = tableOf([
    serviceEntry('web'),
    ruleEntry('local', { list: 'allow', type: 'ip', match: ['10.0.0.0/8'] }),
    domainEntry(SHOP, {
      firewall: ['local'],
      routes: [
        { service: 'web' },
        { path: '/a', service: 'web', methods: ['POST'] },
        { path: '~b', service: 'web' },
      ],
    }),
    domainEntry('*.example.com', {}),
  ]);
  const recorder = linesRecorder();
  const view = request('/a/./b', { now: NOW });
  assert.equal(decide(table, view, recorder), decide(table, view));
  assert.deepEqual(recorder.lines, [
    '[host]',
    '+ shop.example.com: the most specific match',
    '- *.example.com: shop.example.com is more specific',
    '[global-rules]',
    '[domain-rules]',
    'rule local passed: it does not concern this request',
    '[https]',
    '[mode]',
    '[route]',
    'the path is matched as /a/b',
    '+ 2: ~b: the first that fits',
    '- 1: /a: the method is not POST',
    '- 0: /: ~b goes before it',
    '[route-rules]',
    '[target]',
  ]);
});

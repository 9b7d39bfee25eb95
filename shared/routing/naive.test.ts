import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Route } from '../model/domain.ts';
import { compileDomain } from './compile-domain.ts';
import { NOW, request } from './fixtures.ts';
import { HostIndex } from './host-index.ts';
import { type HostClaim, matchingHosts, rankRoutes } from './naive.ts';

/** One case table for the naive matcher and the index: claims, host, the pattern that wins. */
const HOST_CASES: readonly [patterns: string[], host: string, winner: string | null][] = [
  [['a.x', '*.x', '**.x', '~^a', '*'], 'a.x', 'a.x'],
  [['*.x', '**.x', '~^a', '*'], 'a.x', '*.x'],
  [['**.x', '~^a.*', '*'], 'a.x', '**.x'],
  [['~^a.*', '*'], 'a.x', '~^a.*'],
  [['*'], 'a.x', '*'],
  [['*.x'], 'a.b.x', null],
  [['*.x', '**.x'], 'x', null],
  [['**.x', '**.b.x'], 'a.b.x', '**.b.x'],
  [['**.x', '**.b.x'], 'b.x', '**.x'],
  [['*.x', '**.b.x'], 'a.b.x', '**.b.x'],
  [['~a', '*.x'], 'b.a', null],
  [['~.*a.*'], 'b.a.c', '~.*a.*'],
  [['~a.*', '~.*'], 'a.x', '~.*'],
  [['10.0.0.1', '*'], '10.0.0.1', '10.0.0.1'],
  [['[::1]', '*'], '[::1]', '[::1]'],
  [['*.x'], '.x', null],
  [['a'], '__proto__', null],
];

function indexOf(claims: readonly HostClaim[]): HostIndex<string> {
  const index = new HostIndex<string>();
  for (const { pattern, domain } of claims) index.set(pattern, domain, pattern);
  return index;
}

for (const [patterns, host, winner] of HOST_CASES) {
  test(`of ${patterns.join(' ')} the host ${host} gets ${winner}`, () => {
    const claims = patterns.map((pattern) => ({ pattern, domain: pattern }));
    assert.equal(indexOf(claims).find(host) ?? null, winner);
    if (host !== '.x') assert.equal(matchingHosts(claims, host)[0]?.pattern ?? null, winner);
  });
}

test('regular expressions for hosts are tried in the order of the domain names', () => {
  const claims = [
    { pattern: '~.*', domain: 'zeta' },
    { pattern: '~a.*', domain: 'alpha' },
  ];
  assert.equal(indexOf(claims).find('a.x'), '~a.*');
  assert.equal(indexOf([...claims].reverse()).find('a.x'), '~a.*');
  assert.equal(matchingHosts(claims, 'a.x')[0]?.pattern, '~a.*');
});

test('a claim that is taken back leads nowhere', () => {
  const patterns = ['a.x', '*.x', '**.x', '~.*', '*'];
  const index = indexOf(patterns.map((pattern) => ({ pattern, domain: pattern })));
  for (const pattern of patterns) {
    assert.equal(index.find('a.x'), pattern);
    index.delete(pattern);
  }
  assert.equal(index.find('a.x'), undefined);
});

const label = fc.constantFrom('a', 'b', 'x');
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const hostPattern = fc.oneof(
  name,
  name.map((text) => `*.${text}`),
  name.map((text) => `**.${text}`),
  fc.constantFrom('~a.*', '~.*b', '~[ab]\\..*', '~x', '*'),
);
const claims = fc
  .array(fc.record({ pattern: hostPattern, domain: fc.constantFrom('p', 'q', 'r', 's') }), { maxLength: 12 })
  .map((list) => [...new Map(list.map((claim) => [claim.pattern, claim])).values()]);

test('the host index and the naive matcher agree, also after changes', () => {
  fc.assert(
    fc.property(claims, claims, fc.array(hostPattern), fc.array(name), (before, after, removed, hosts) => {
      const index = indexOf(before);
      const left = new Map(before.map((claim) => [claim.pattern, claim]));
      for (const pattern of removed) {
        index.delete(pattern);
        left.delete(pattern);
      }
      for (const claim of after) {
        index.set(claim.pattern, claim.domain, claim.pattern);
        left.set(claim.pattern, claim);
      }
      for (const host of hosts) {
        assert.equal(index.find(host), matchingHosts(left.values(), host)[0]?.pattern, host);
      }
    }),
    { numRuns: 1_000 },
  );
});

/** Routes, path, index of the route that wins. */
const ROUTE_CASES: readonly [routes: Partial<Route>[], path: string, winner: number | null][] = [
  [[{ path: ['/api'] }], '/api', 0],
  [[{ path: ['/api'] }], '/api/', 0],
  [[{ path: ['/api'] }], '/api/x', 0],
  [[{ path: ['/api'] }], '/apix', null],
  [[{ path: ['/api'] }], '/ap', null],
  [[{ path: ['/api'] }], '/API', null],
  [[{ path: ['/api/'] }], '/api', null],
  [[{ path: ['/api/'] }], '/api/x', 0],
  [[{ path: ['/api'] }, { path: ['/api/'] }], '/api/', 1],
  [[{}], '/anything', 0],
  [[{}, { path: ['/a'] }, { path: ['/a/b'] }], '/a/b/c', 2],
  [[{ path: ['/a'] }, { path: ['=/a'] }], '/a', 1],
  [[{ path: ['=/a'] }], '/a/', null],
  [[{ path: ['/abc'] }, { path: ['~b'] }], '/abc', 1],
  [[{ path: ['~a'] }, { path: ['~b'] }], '/ab', 0],
  [[{ path: ['~b'] }, { path: ['~a'] }], '/ab', 0],
  [[{ path: ['=/abc'] }, { path: ['~b'] }], '/abc', 0],
  [[{ path: ['~^B'] }, { path: ['~(?i)^/B'] }], '/b', 1],
  [[{ path: ['=/a'] }, { path: ['/'], priority: 1 }], '/a', 1],
  [[{ path: ['/'], priority: -1 }, { path: ['/'] }], '/a', 1],
  [[{ path: ['/x', '=/y', '~z$'] }], '/az', 0],
  [[{ path: ['/x', '=/y', '~z$'] }], '/y', 0],
  [[{ path: ['/x', '=/y', '~z$'] }], '/y/a', null],
  [[{ methods: ['POST'] }, {}], '/', 1],
  [[{ path: ['/a'], methods: ['POST'] }, {}], '/a', 1],
  [[{ path: ['/a'], headers: { 'x-beta': '1' } }, {}], '/a', 1],
  [[{ path: ['/a'], headers: { 'x-have': 'yes' } }, {}], '/a', 0],
  [[{ path: ['/a'], headers: { 'x-have': 'no' } }, {}], '/a', 1],
  [[{ path: ['/a'] }, { path: ['/a'] }], '/a', 0],
  [[{ path: ['/caf\u00e9'] }], '/caf%C3%A9', 0],
  [[{ path: ['/a//b/../%63'] }], '/a/c', 0],
  [[{ service: undefined, maintenance: { until: '2025-01-01T00:00:00Z' } }, {}], '/', 1],
  [[{ service: undefined, maintenance: { until: '2027-01-01T00:00:00Z' } }, {}], '/', 0],
  [[], '/', null],
];

const view = (path: string, method = 'GET') => request(path, { method, headers: { 'x-have': 'yes' } });
const routesOf = (routes: readonly Partial<Route>[]) =>
  routes.map((route) => ({ service: 's', ...route })) as Route[];

function indexed(routes: readonly Route[], path: string, method = 'GET'): number | null {
  const domain = compileDomain({ name: 'x', routes: [...routes] });
  return domain.paths.find(path, view(path, method))?.index ?? null;
}

function naive(routes: readonly Route[], path: string, method = 'GET'): number | null {
  return (
    rankRoutes(routes, path, view(path, method)).find((verdict) => verdict.against === null)?.route ?? null
  );
}

for (const [given, path, winner] of ROUTE_CASES) {
  test(`of ${JSON.stringify(given)} the path ${path} gets ${winner}`, () => {
    const routes = routesOf(given);
    assert.equal(indexed(routes, path), winner, 'index');
    assert.equal(naive(routes, path), winner, 'naive');
  });
}

const segments = fc
  .array(fc.constantFrom('a', 'b', 'ab', ''), { maxLength: 4 })
  .map((parts) => `/${parts.join('/')}`.replace(/\/+/g, '/'));
const routePath = fc.oneof(
  segments,
  segments.map((path) => `=${path}`),
  fc.constantFrom('~a', '~^/b', '~b$', '~(?i)AB', '~^/[ab]/'),
);
const route = fc.record(
  {
    path: fc.array(routePath, { minLength: 1, maxLength: 3 }),
    priority: fc.integer({ min: -1, max: 1 }),
    methods: fc.subarray(['GET', 'POST'], { minLength: 1 }),
    headers: fc.constantFrom({ 'x-have': 'yes' }, { 'x-have': 'no' }, { 'x-lack': '' }),
  },
  { requiredKeys: [] },
);

test('the path index and the naive matcher agree', () => {
  fc.assert(
    fc.property(fc.array(route, { maxLength: 8 }), fc.array(segments), (given, paths) => {
      const routes = routesOf(given as Partial<Route>[]);
      for (const path of paths) {
        for (const method of ['GET', 'POST', 'PUT']) {
          assert.equal(indexed(routes, path, method), naive(routes, path, method), `${method} ${path}`);
        }
      }
    }),
    { numRuns: 1_000 },
  );
});

test('the naive matcher says what is against each route', () => {
  const routes = routesOf([
    { path: ['/b'] },
    { methods: ['POST', 'PUT'] },
    { headers: { 'x-have': 'no' } },
    { service: undefined, maintenance: { from: new Date(NOW + 1).toISOString() } },
    {},
  ]);
  assert.deepEqual(
    rankRoutes(routes, '/a', view('/a')).map(({ route, against }) => [route, against]),
    [
      [0, 'the path does not match'],
      [1, 'the method is not POST or PUT'],
      [2, 'the field x-have is not "no"'],
      [3, 'its maintenance does not hold now, or not for this client'],
      [4, null],
    ],
  );
});

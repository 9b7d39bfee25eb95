import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Domain } from '../model/domain.ts';
import { decide } from './decide.ts';
import type { TableEntry } from './entry.ts';
import { domainEntry, request, ruleEntry, serviceEntry, settingsEntry, summary } from './fixtures.ts';
import { type HostClaim, matchingHosts, rankRoutes } from './naive.ts';
import { Table } from './table.ts';

const serviceName = fc.constantFrom('s1', 's2', 's3');
const ruleName = fc.constantFrom('r1', 'r2', 'r3');
const domainName = fc.constantFrom('a.x', 'b.x', '*.x', '**.x', '~[ab]\\..*', '~.*', '*');
const alias = fc.constantFrom('c.x', 'd.a.x', 'a.x', '*.a.x', '~c.*');

const key = fc.record(
  {
    enabled: fc.boolean(),
    backends: fc.constantFrom([{ address: 'h:1' }], [{ address: 'h:1', state: 'drain' }], []),
  },
  { requiredKeys: [] },
);
const service = fc.record(
  {
    enabled: fc.boolean(),
    latest: fc.constantFrom('auto', 1, 3),
    keys: fc.dictionary(fc.constantFrom('1', '2', '3'), key),
  },
  { requiredKeys: [] },
);
const rule = fc.record(
  {
    list: fc.constantFrom('whitelist', 'blacklist', 'allow'),
    type: fc.constant('ip'),
    match: fc.constantFrom(['203.0.113.0/24'], ['10.0.0.0/8']),
    enabled: fc.boolean(),
    dryRun: fc.boolean(),
  },
  { requiredKeys: ['list', 'type', 'match'] },
);
const firewall = fc.uniqueArray(ruleName, { maxLength: 2 });
const route = fc.record(
  {
    path: fc.array(fc.constantFrom('/', '/a', '/a/b', '=/a', '~b$', '~^/a'), { minLength: 1, maxLength: 2 }),
    priority: fc.integer({ min: 0, max: 1 }),
    methods: fc.constant(['POST']),
    service: serviceName,
    key: fc.constantFrom('latest', 1, 2, 3),
    stripPrefix: fc.boolean(),
    firewall,
  },
  { requiredKeys: ['path', 'service'] },
);
const domain = fc.record(
  {
    aliases: fc.uniqueArray(alias, { maxLength: 2 }),
    mode: fc.constantFrom('on', 'on', 'on', 'maintenance', 'off'),
    https: fc.constantFrom('allow', 'redirect'),
    hsts: fc.constantFrom(null, { maxAge: 1_000 }),
    pages: fc.constantFrom('p1', 'p2'),
    routes: fc.array(route, { maxLength: 3 }),
    firewall,
  },
  { requiredKeys: [] },
);
const settings = fc.record(
  { firewall, pages: fc.constantFrom('p3', 'p4'), maintenance: fc.constantFrom(false, true) },
  { requiredKeys: [] },
);
const member = fc.record({
  worker: fc.constantFrom('w1', 'w2'),
  address: fc.constantFrom('m:1', 'm:2'),
  key: fc.integer({ min: 1, max: 3 }),
  weight: fc.constant(1),
  state: fc.constantFrom('starting', 'ready', 'drain', 'lost'),
  since: fc.integer({ min: 1, max: 3 }),
  name: fc.constant('n'),
  mode: fc.constant('many'),
  version: fc.constant('1'),
});

const entry: fc.Arbitrary<TableEntry> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(domainName, domain).map(([name, doc]) => domainEntry(name, doc)) },
  { weight: 2, arbitrary: fc.tuple(serviceName, service).map(([name, doc]) => serviceEntry(name, doc)) },
  { weight: 2, arbitrary: fc.tuple(ruleName, rule).map(([name, doc]) => ruleEntry(name, doc)) },
  { weight: 1, arbitrary: settings.map(settingsEntry) },
  {
    weight: 1,
    arbitrary: fc.tuple(serviceName, fc.array(member, { maxLength: 3 }), fc.constantFrom(null, 1, 2, 3)).map(
      ([name, backends, current]): TableEntry => ({
        kind: 'members',
        name,
        doc: { _id: name, v: 1, current, backends },
      }),
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .oneof(
        domainName.map((name) => ({ kind: 'domain' as const, name })),
        serviceName.map((name) => ({ kind: 'service' as const, name })),
        ruleName.map((name) => ({ kind: 'rule' as const, name })),
        serviceName.map((name) => ({ kind: 'members' as const, name })),
      )
      .chain((which) =>
        fc.constantFrom<TableEntry>(
          { ...which, doc: null },
          { ...which, doc: null, broken: { reason: 'x', claims: ['c.x', '*.a.x'] } },
        ),
      ),
  },
);

const HOSTS = ['a.x', 'b.x', 'c.x', 'd.a.x', 'e.d.a.x', 'x', 'zz'];
const PATHS = ['/', '/a', '/a/', '/a/b', '/ab', '/%61', '//a', '/a/../b'];

/** All that can be seen of a table from outside. */
function picture(table: Table): string[] {
  const lines: string[] = [];
  for (const host of HOSTS) {
    for (const path of PATHS) {
      for (const given of [{}, { method: 'POST', secure: true }, { address: '10.0.0.1' }]) {
        const decision = decide(table, request(path, { host, ...given }));
        const backends = decision.type === 'forward' ? decision.key.backends : [];
        lines.push(
          `${host} ${path} ${summary(decision)} ${JSON.stringify([decision.labels, decision.response, backends])}`,
        );
      }
    }
  }
  return lines;
}

function latestOf(entries: readonly TableEntry[]): TableEntry[] {
  return [...new Map(entries.map((each) => [`${each.kind}/${each.name}`, each])).values()];
}

test('a table that was patched again and again decides like one made afresh, in any order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(entry, { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
      fc.gen(),
      (changes, gen) => {
        const patched = new Table();
        for (const change of changes) {
          patched.apply(change);
          // Views are made in between, so that stale ones would show.
          picture(patched);
        }
        const last = latestOf(changes.flat());
        const fresh = new Table();
        fresh.apply(gen(fc.shuffledSubarray, last, { minLength: last.length }));
        assert.deepEqual(picture(patched), picture(fresh));
      },
    ),
    { numRuns: 150 },
  );
});

test('an indexed table finds the domain and route that the naive matcher finds', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(domainName, domain), { maxLength: 8 }), (given) => {
      const docs = new Map<string, Record<string, unknown> & { aliases?: readonly string[] }>(
        given.map(([name, doc]) => [name, { name, ...doc, firewall: [], mode: 'on', https: 'allow' }]),
      );
      const table = new Table();
      table.apply([...docs].map(([name, doc]) => domainEntry(name, doc)));
      const claims = new Map<string, HostClaim>();
      for (const name of [...docs.keys()].sort().reverse()) {
        for (const pattern of [name, ...(docs.get(name)?.aliases ?? [])])
          claims.set(pattern, { pattern, domain: name });
      }
      for (const host of HOSTS) {
        const owner = matchingHosts(claims.values(), host)[0]?.domain;
        const doc = owner === undefined ? undefined : (docs.get(owner) as unknown as Domain);
        for (const path of ['/', '/a', '/a/', '/a/b', '/ab']) {
          const view = request(path, { host });
          const { labels } = decide(table, view);
          const winner = rankRoutes(doc?.routes ?? [], path, view).find(
            (verdict) => verdict.against === null,
          );
          // The rules of routes do not exist here, so whoever has one is refused after it was found.
          assert.deepEqual(
            [labels.domain, labels.route],
            [owner ?? null, winner?.route ?? null],
            `${host}${path}`,
          );
        }
      }
    }),
    { numRuns: 500 },
  );
});

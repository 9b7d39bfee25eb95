import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from './decide.ts';
import type { TableEntry } from './entry.ts';
import {
  AUTHORITY,
  domainEntry,
  request,
  ruleEntry,
  secretEntry,
  serviceEntry,
  settingsEntry,
  summary,
} from './fixtures.ts';
import { Table } from './table.ts';

const ask = (table: Table, host: string, path = '/') => summary(decide(table, request(path, { host })));
const to = (service: string, more: Record<string, unknown> = {}) => ({ routes: [{ service }], ...more });
const broken = (
  kind: 'domain' | 'rule' | 'service' | 'settings',
  name: string,
  claims: string[] = [],
): TableEntry => ({
  kind,
  name,
  doc: null,
  broken: { reason: 'unreadable', claims },
});

function filled(...entries: readonly TableEntry[]): Table {
  const table = new Table();
  table.apply([serviceEntry('web'), serviceEntry('other'), ...entries]);
  return table;
}

test('an empty table knows no host and has every default', () => {
  const table = new Table();
  assert.equal(ask(table, 'a.example.com'), 'page no_routes');
  assert.equal(table.limits().headSize, 16_384);
  assert.equal(table.via(), true);
  assert.equal(table.publicHttpsPort, 443);
  assert.equal(table.defaultBrand, null);
  assert.equal(table.defaultCertificate(), null);
});

test('an entry that is not valid is reported and its earlier version stays', () => {
  const table = filled(domainEntry('a.example.com', to('web')));
  const { rejected } = table.apply([
    domainEntry('a.example.com', { routes: [{ path: '/x' }] }),
    serviceEntry('web', { balance: 'by moonlight' }),
  ]);
  assert.deepEqual(
    rejected.map(({ kind, name }) => `${kind}/${name}`),
    ['domain/a.example.com', 'service/web'],
  );
  assert.match(rejected[0]?.reason ?? '', /routes\.0: a route needs one of service/);
  assert.equal(ask(table, 'a.example.com'), 'forward web/1');
});

test('the good entries of a change are applied beside a bad one', () => {
  const table = filled();
  const { rejected } = table.apply([
    domainEntry('bad.example.com', { mode: 'sideways' }),
    domainEntry('good.example.com', to('web')),
  ]);
  assert.equal(rejected.length, 1);
  assert.equal(ask(table, 'good.example.com'), 'forward web/1');
});

test('a bad domain without an earlier version claims its hosts and never falls through', () => {
  const table = filled(domainEntry('*', to('other')), domainEntry('*.example.com', to('other')));
  table.apply([
    domainEntry('bad.example.com', { aliases: ['www.bad.example.com', 7, '~('], mode: 'sideways' }),
  ]);
  assert.equal(ask(table, 'bad.example.com'), 'page quarantined');
  assert.equal(ask(table, 'www.bad.example.com'), 'page quarantined');
  assert.equal(ask(table, 'good.example.com'), 'forward other/1');
  table.apply([domainEntry('bad.example.com', to('web'))]);
  assert.equal(ask(table, 'bad.example.com'), 'forward web/1');
  assert.equal(ask(table, 'www.bad.example.com'), 'forward other/1');
});

test('a broken domain claims its hosts until it is repaired or removed', () => {
  const table = filled(domainEntry('*', to('other')));
  table.apply([broken('domain', 'a.example.com', ['www.a.example.com', '*.a.example.com', 'not a host'])]);
  for (const host of ['a.example.com', 'www.a.example.com', 'x.a.example.com']) {
    assert.equal(ask(table, host), 'page quarantined');
  }
  table.apply([{ kind: 'domain', name: 'a.example.com', doc: null }]);
  for (const host of ['a.example.com', 'www.a.example.com', 'x.a.example.com']) {
    assert.equal(ask(table, host), 'forward other/1');
  }
});

test('a document beside "broken" is the last good version and is served', () => {
  const table = filled({ ...domainEntry('a.example.com', to('web')), broken: { reason: 'x', claims: [] } });
  assert.equal(ask(table, 'a.example.com'), 'forward web/1');
});

test('a broken domain does not take a host from one that works', () => {
  const table = filled(domainEntry('b.example.com', to('web', { aliases: ['shared.example.com'] })));
  table.apply([broken('domain', 'a.example.com', ['shared.example.com'])]);
  assert.equal(ask(table, 'shared.example.com'), 'forward web/1');
});

test('of two domains that claim one host the first by name keeps it, whichever came first', () => {
  const a = domainEntry('a.example.com', to('web', { aliases: ['shared.example.com'] }));
  const b = domainEntry('b.example.com', to('other', { aliases: ['shared.example.com'] }));
  for (const order of [
    [a, b],
    [b, a],
  ]) {
    const table = filled(order[0]!);
    const { rejected } = table.apply([order[1]!]);
    assert.deepEqual(
      rejected.map(({ kind, name }) => `${kind}/${name}`),
      ['domain/b.example.com'],
    );
    assert.match(rejected[0]?.reason ?? '', /shared\.example\.com belongs to the domain a\.example\.com/);
    assert.equal(ask(table, 'shared.example.com'), 'forward web/1');
    assert.equal(ask(table, 'b.example.com'), 'forward other/1', 'its other hosts are served');
    table.apply([{ kind: 'domain', name: 'a.example.com', doc: null }]);
    assert.equal(ask(table, 'shared.example.com'), 'forward other/1', 'the other one inherits it');
  }
});

test('hosts move between domains in one change', () => {
  const table = filled(domainEntry('a.example.com', to('web', { aliases: ['x.example.com'] })));
  table.apply([
    domainEntry('b.example.com', to('other', { aliases: ['x.example.com'] })),
    domainEntry('a.example.com', to('web')),
  ]);
  assert.equal(ask(table, 'x.example.com'), 'forward other/1');
});

test('a document under another name than its own is refused', () => {
  const { rejected } = filled().apply([
    { kind: 'domain', name: 'a.example.com', doc: { name: 'b.example.com', ...to('web') } },
  ]);
  assert.match(rejected[0]?.reason ?? '', /named b\.example\.com/);
});

test('fields of a newer version are ignored', () => {
  const table = filled(
    domainEntry('a.example.com', { routes: [{ service: 'web', shiny: 1 }], newer: { a: 1 } }),
  );
  assert.equal(ask(table, 'a.example.com'), 'forward web/1');
});

test('a rule that becomes bad keeps its earlier version; one that never was good closes', () => {
  const guardedBy = (rule: string) => domainEntry('a.example.com', to('web', { firewall: [rule] }));
  const table = filled(
    guardedBy('r'),
    ruleEntry('r', { list: 'blacklist', type: 'ip', match: ['192.0.2.1'] }),
  );
  assert.equal(
    table.apply([ruleEntry('r', { list: 'blacklist', type: 'ip', match: ['x'] })]).rejected.length,
    1,
  );
  assert.equal(ask(table, 'a.example.com'), 'forward web/1');
  const fresh = filled(guardedBy('r'));
  fresh.apply([ruleEntry('r', { list: 'blacklist', type: 'ip', match: ['x'] })]);
  assert.equal(ask(fresh, 'a.example.com'), 'page rule_unloadable');
});

test('settings that could not be loaded close everything: their rules are not known', () => {
  for (const bad of [broken('settings', 'settings'), settingsEntry({ firewall: 7 })]) {
    const table = filled(domainEntry('a.example.com', to('web')), bad);
    assert.equal(ask(table, 'a.example.com'), 'page rule_unloadable');
    table.apply([settingsEntry({})]);
    assert.equal(ask(table, 'a.example.com'), 'forward web/1');
    table.apply([settingsEntry({ firewall: 7 })]);
    assert.equal(ask(table, 'a.example.com'), 'forward web/1', 'an earlier version stays');
  }
});

test('a service that is good and bad in one change keeps the good version', () => {
  const table = new Table();
  table.apply([
    domainEntry('a.example.com', to('web')),
    serviceEntry('web'),
    serviceEntry('web', { keys: 1 }),
  ]);
  assert.equal(ask(table, 'a.example.com'), 'forward web/1');
});

test('a change says what else has to follow it', () => {
  const table = filled();
  const change = (...entries: TableEntry[]) => {
    const { rejected, services, brands, ...flags } = table.apply(entries);
    assert.deepEqual(rejected, []);
    const raised = Object.entries(flags).flatMap(([flag, value]) => (value ? [flag] : []));
    return [...services, ...brands, ...raised].join(' ');
  };
  const certificate = { name: 'c', certificate: 'PEM', keyDigest: '0'.repeat(64) };
  assert.equal(change(serviceEntry('new')), 'new');
  assert.equal(change(serviceEntry('new')), '');
  assert.equal(change({ kind: 'service', name: 'new', doc: null }), 'new');
  assert.equal(
    change({ kind: 'page', name: 'brand', doc: { name: 'brand', templates: { '404': 'x' } } }),
    'brand',
  );
  assert.equal(change({ kind: 'page', name: 'brand', doc: null }), 'brand');
  assert.equal(change({ kind: 'listener', name: 'l', doc: { name: 'l', port: 33 } }), 'listeners');
  assert.equal(change({ kind: 'certificate', name: 'c', doc: certificate }), 'certificates');
  assert.equal(change(secretEntry('cookie-key', 'x')), 'certificates');
  assert.equal(
    change({ kind: 'defaultCertificate', name: 'default', doc: { certificate: 'a', key: 'b' } }),
    'certificates',
  );
  assert.equal(change(settingsEntry({ via: false })), 'settings');
  assert.equal(change(domainEntry('a.example.com', to('web'))), '');
  assert.equal(
    change(domainEntry('a.example.com', to('web', { clientCertificates: { ca: AUTHORITY } }))),
    'certificates',
  );
  assert.equal(change(ruleEntry('r', { list: 'blacklist', type: 'all' })), '');
});

test('every kind of object can be read back and removed', () => {
  const table = filled(
    { kind: 'page', name: 'brand', doc: { name: 'brand', templates: { '404': 'x' } } },
    { kind: 'listener', name: 'l', doc: { name: 'l', port: 33 } },
    { kind: 'certificate', name: 'c', doc: { name: 'c', certificate: 'PEM', keyDigest: '0'.repeat(64) } },
    { kind: 'defaultCertificate', name: 'default', doc: { certificate: 'a', key: 'b' } },
    secretEntry('certificate/x', 'KEY'),
    settingsEntry({ via: false, pages: 'brand', limits: { headSize: '32KB' } }),
    domainEntry('a.example.com', to('web')),
  );
  assert.equal(table.page('brand')?.templates['404'], 'x');
  assert.deepEqual([...table.pages()].length, 1);
  assert.equal([...table.listeners()][0]?.port, 33);
  assert.equal([...table.certificates()][0]?.certificate, 'PEM');
  assert.deepEqual(table.defaultCertificate(), { certificate: 'a', key: 'b' });
  assert.equal(table.secret('certificate/x'), 'KEY');
  assert.equal(table.via(), false);
  assert.equal(table.defaultBrand, 'brand');
  assert.equal(table.limits().headSize, 32_768);
  assert.equal(table.domain('a.example.com')?.doc?.routes?.[0]?.service, 'web');
  assert.deepEqual([...table.services()].map((service) => service.name).sort(), ['other', 'web']);
  const names = {
    page: 'brand',
    listener: 'l',
    certificate: 'c',
    defaultCertificate: 'default',
    secret: 'certificate/x',
    settings: 'settings',
    domain: 'a.example.com',
  } as const;
  table.apply(Object.entries(names).map(([kind, name]) => ({ kind, name, doc: null }) as TableEntry));
  assert.equal(table.page('brand'), undefined);
  assert.equal([...table.listeners()].length, 0);
  assert.equal([...table.certificates()].length, 0);
  assert.equal(table.defaultCertificate(), null);
  assert.equal(table.secret('certificate/x'), undefined);
  assert.equal(table.via(), true);
  assert.equal(table.domain('a.example.com'), undefined);
});

test('rubbish of any kind never throws, and what was there is served on', () => {
  const table = filled(domainEntry('a.example.com', to('web')));
  const rubbish = [{}, { name: 7 }, { name: 'x', match: {} }, { value: 1 }, { backends: 3 }, []];
  const kinds = [
    'rule',
    'service',
    'domain',
    'page',
    'listener',
    'certificate',
    'members',
    'secret',
  ] as const;
  for (const kind of kinds) {
    for (const doc of rubbish) table.apply([{ kind, name: 'x', doc: doc as Record<string, unknown> }]);
  }
  assert.equal(table.apply([{ kind: 'defaultCertificate', name: 'x', doc: {} }]).rejected.length, 1);
  assert.equal(ask(table, 'a.example.com'), 'forward web/1');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decide } from './decide.ts';
import {
  domainEntry,
  linesRecorder,
  request,
  ruleEntry,
  serviceEntry,
  summary,
  tableOf,
} from './fixtures.ts';
import type { Table } from './table.ts';

function explained(table: Table, path: string, host = 'shop.example.com'): string[] {
  const recorder = linesRecorder();
  const view = request(path, { host });
  assert.deepEqual(decide(table, view, recorder), decide(table, view), 'a listener changes nothing');
  return recorder.lines;
}

test('an unknown host is explained', () => {
  assert.deepEqual(explained(tableOf([]), '/'), [
    '[host]',
    'no domain claims shop.example.com, and there is no domain "*"',
  ]);
});

test('a domain that could not be loaded says why', () => {
  const broken = { reason: 'mode: expected on', claims: ['shop.example.com'] };
  const table = tableOf([
    { kind: 'domain', name: 'shop.example.com', doc: null, broken },
    domainEntry('*', {}),
  ]);
  assert.deepEqual(explained(table, '/'), [
    '[host]',
    '+ shop.example.com: the most specific match',
    '- *: shop.example.com is more specific',
    'the domain could not be loaded: mode: expected on',
  ]);
});

test('an alias is named with its domain', () => {
  const table = tableOf([domainEntry('a.example.com', { aliases: ['shop.example.com'] })]);
  assert.equal(explained(table, '/')[1], '+ a.example.com (shop.example.com): the most specific match');
});

test('a path that is refused says that it has another reading, one that fits nowhere that it does', () => {
  const table = tableOf([
    serviceEntry('web'),
    domainEntry('shop.example.com', { routes: [{ path: '/a', service: 'web' }] }),
  ]);
  assert.deepEqual(explained(table, '/x/%2e%2e/a').slice(-3), [
    'the path is matched as /a',
    '+ 0: /a: the first that fits',
    'another reading of the raw path leads to another route',
  ]);
  assert.deepEqual(explained(table, '/b').slice(-2), ['- 0: /a: the path does not match', 'no route fits']);
});

test('each rule that is reached says what it made of the request', () => {
  const table = tableOf([
    ruleEntry('off', { list: 'blacklist', type: 'all', enabled: false }),
    ruleEntry('trial', { list: 'blacklist', type: 'all', dryRun: true }),
    ruleEntry('old', { list: 'whitelist', type: 'all', expires: '2020-01-01T00:00:00Z' }),
    ruleEntry('never', { list: 'blacklist', type: 'all' }),
    domainEntry('shop.example.com', { firewall: ['off', 'trial', 'old', 'never'] }),
    domainEntry('other.example.com', { firewall: ['missing'] }),
  ]);
  assert.deepEqual(explained(table, '/').slice(3), [
    '[domain-rules]',
    'rule off inert: it is disabled',
    'rule trial refused (dry run): the address is on it',
    'rule old refused: it has expired, so it refuses everyone',
  ]);
  assert.deepEqual(explained(table, '/', 'other.example.com').slice(-1), [
    'rule missing unloadable: it does not exist or could not be loaded',
  ]);
});

test('whatever a visitor sends is decided without an exception, and no Location carries more than visible ASCII', () => {
  const table = tableOf([
    serviceEntry('web'),
    domainEntry('~.*', {
      routes: [
        { path: '/', redirect: { to: '/', keepPath: true } },
        { path: '/api', service: 'web', stripPrefix: true, rewrite: { match: '~x', to: '/$0' } },
        { path: '~%', redirect: { to: 'https://new.example.com', keepPath: true } },
      ],
    }),
    domainEntry('*', { https: 'redirect' }),
  ]);
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.webPath(),
    fc.webPath().map((path) => `/api${path}`),
  );
  fc.assert(
    fc.property(text, text, text, fc.boolean(), (path, host, query, secure) => {
      const view = request(path.startsWith('/') ? path : `/${path}`, { host, query, secure });
      const decision = decide(table, view, linesRecorder());
      assert.equal(summary(decide(table, view)), summary(decision));
      if (decision.type === 'redirect')
        assert.match(decision.location, /^(https:\/\/|\/(?!\/))[\x21-\x7e]*$/);
      if (decision.type === 'forward') assert.match(decision.path ?? '/', /^\/(?![/\\])/);
    }),
    { numRuns: 1_000 },
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_SUBJECT_LENGTH } from '../patterns.ts';
import { decide } from './decide.ts';
import { domainEntry, request, ruleEntry, serviceEntry, summary, tableOf } from './fixtures.ts';

const HOST = 'shop.example.com';
const table = tableOf([
  serviceEntry('web'),
  serviceEntry('admin'),
  ruleEntry('nobody', { list: 'blacklist', type: 'all' }),
  domainEntry(HOST, {
    routes: [
      { path: '/', service: 'web' },
      { path: '/admin', service: 'admin', firewall: ['nobody'] },
      { path: '/files', service: 'web' },
      { path: '~\\.png$', service: 'web' },
    ],
  }),
]);
const outcome = (raw: string) => summary(decide(table, request(raw)));

test('a path that another reading takes to another route is refused', () => {
  for (const raw of [
    '/%61dmin',
    '//admin',
    '/./admin',
    '/x/../admin',
    '/x/%2e%2e/admin',
    '/x/%2E./admin/secret',
    '/admin/../x',
    '/admin/..',
    '/x%2f..%2fadmin',
    '/x/..%2fadmin',
    '/x%5c..%5cadmin',
    '/x\\..\\admin',
    '/\\admin',
    '/%2fadmin',
    '/admin%2fx',
    '/admin%00',
    '/admin%00.png',
    '/x/..;/admin',
    '/x/..;a=b/admin',
    '/a.png%00',
    '/files/../a.png/..',
  ]) {
    assert.equal(outcome(raw), 'page path_ambiguous', raw);
  }
});

test('a path that every reading takes to the same route goes on', () => {
  for (const raw of [
    '/x%2fy',
    '/x%5cy',
    '/x\\y',
    '/x%00y',
    '/x//y',
    '/x/../y',
    '/%61',
    '/%2e%2e/x',
    '/files/%2e/a%2fb',
    '/caf%c3%a9',
    '/x/..;/y',
  ])
    assert.equal(outcome(raw), 'forward web/1', raw);
});

test('the raw path goes on as it came', () => {
  for (const raw of ['/x%2fy', '/x//y', '/x/../y', '/%61', '/%2e%2e/x']) {
    const decision = decide(table, request(raw));
    assert.equal(decision.type === 'forward' && decision.path, null, raw);
  }
});

test('a domain with one route for everything takes every path but half escapes', () => {
  const one = tableOf([serviceEntry('web'), domainEntry(HOST, { service: 'web' })]);
  for (const raw of ['/x%2f..%2fadmin', '/%00', '//', '/..', '/\\', '/..;/'])
    assert.equal(summary(decide(one, request(raw))), 'forward web/1', raw);
  for (const raw of ['/100%', '/%zz', '/a%2']) {
    assert.equal(summary(decide(one, request(raw))), 'page path_ambiguous', raw);
  }
});

test('where no route is, a reading that finds one is refused too', () => {
  const only = tableOf([
    serviceEntry('admin'),
    domainEntry(HOST, { routes: [{ path: '/admin', service: 'admin' }] }),
  ]);
  assert.equal(summary(decide(only, request('/x%2f..%2fadmin'))), 'page path_ambiguous');
  assert.equal(summary(decide(only, request('/x%2fy'))), 'page route_unknown');
});

test('a path that is too long for a regular expression cannot slip past it', () => {
  const long = `/${'a'.repeat(MAX_SUBJECT_LENGTH)}.png`;
  assert.equal(outcome(long), 'page target_too_long');
  const plain = tableOf([serviceEntry('web'), domainEntry(HOST, { service: 'web' })]);
  assert.equal(summary(decide(plain, request(long))), 'forward web/1');
});

/** What some server could make of a path: any of the usual steps, in any order, any number of times. */
const steps: readonly ((path: string) => string)[] = [
  (path) =>
    path.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  (path) => path.replace(/\\/g, '/'),
  (path) => path.replace(/\/{2,}/g, '/'),
  (path) => path.replace(/\0.*$/s, ''),
  (path) => path.replace(/;[^/]*/g, ''),
  (path) => {
    const kept: string[] = [];
    for (const segment of path.split('/').slice(1)) {
      if (segment === '..') kept.pop();
      else if (segment !== '.') kept.push(segment);
    }
    return `/${kept.join('/')}`;
  },
];
const piece = fc.constantFrom(
  'admin',
  'x',
  '/',
  '/',
  '..',
  '.',
  '%2e',
  '%2f',
  '%5c',
  '\\',
  '%00',
  ';',
  '%61dmin',
);

test('nothing that a server could read as the guarded path is forwarded elsewhere', () => {
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 9 }).map((pieces) => `/${pieces.join('')}`),
      fc.shuffledSubarray([...steps.keys()]),
      (raw, order) => {
        // Parameters of ordinary segments are not ours to judge: "/admin;x" is another path than "/admin".
        const read = order.reduce((path, step) => steps[step]!(path), raw);
        const guarded = read === '/admin' || read.startsWith('/admin/');
        if (!guarded || /(?<!\/\.{1,2});/.test(raw.replace(/%2e/g, '.'))) return;
        assert.doesNotMatch(outcome(raw), /^forward/, `${raw} could be read as ${read}`);
      },
    ),
    { numRuns: 20_000 },
  );
});

test('parameters of segments, which servlet containers drop, lead around no rule', () => {
  for (const raw of ['/admin;x', '/admin;x/users', '/;/admin', '/;a=b/admin;c', '/admin;', '//admin;x']) {
    assert.equal(outcome(raw), 'page path_ambiguous', raw);
  }
  // Where no rule is missed they are characters like any other.
  for (const raw of ['/shop;v=1', '/files;x/a', '/a.png;x', '/x/admin;y', '/adm;in']) {
    assert.equal(outcome(raw), 'forward web/1', raw);
  }
  assert.equal(outcome('/admin/a;x'), outcome('/admin/a'));
});

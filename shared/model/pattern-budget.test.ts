import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseObject } from './kinds.ts';

const problems = (kind: 'domain' | 'rule' | 'listener', input: unknown) => {
  const result = parseObject(kind, input);
  return result.ok ? [] : result.problems.map(({ path, message }) => `${path}: ${message}`);
};
const routes = (paths: readonly string[]) => paths.map((path) => ({ path, answer: {} }));
const many = (count: number, pattern: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => pattern(index));

test('an object may hold some hundreds of ordinary patterns', () => {
  const paths = many(700, (index) => `~^/products/${index}/[0-9]+$`);
  assert.deepEqual(problems('domain', { name: 'a.test', routes: routes(paths) }), []);
  assert.deepEqual(
    problems('rule', {
      name: 'a',
      list: 'blacklist',
      type: 'ip-regex',
      match: many(700, (index) => `^10\\.${index}\\.`),
    }),
    [],
  );
});

test('plain paths and addresses are not counted', () => {
  const paths = many(10_000, (index) => `/products/${index}`);
  assert.deepEqual(problems('domain', { name: 'a.test', routes: routes(paths) }), []);
  const match = many(10_000, (index) => `10.${index >> 8}.${index & 255}.0/24`);
  assert.deepEqual(problems('rule', { name: 'a', list: 'blacklist', type: 'ip', match }), []);
});

test('patterns that are too many or too complex together are refused, wherever they stand', () => {
  const light = many(10_000, (index) => `~a${index}`);
  const classes = many(60, () => `~(?i)${'\\pL'.repeat(80)}`);
  const repeats = many(300, (index) => `~(\\pL{9}${index % 10}){60}`);
  const spread = light.map((match) => ({ path: '/x', answer: {}, rewrite: { match, to: '/' } }));
  for (const input of [
    { name: 'a.test', routes: routes(light) },
    { name: 'a.test', routes: routes(classes) },
    { name: 'a.test', routes: routes(repeats) },
    { name: 'a.test', routes: [{ path: light.slice(0, 2_000), answer: {} }] },
    { name: 'a.test', routes: spread },
    { name: 'a.test', aliases: classes, service: 's' },
  ]) {
    const [first, ...others] = problems('domain', input);
    assert.match(String(first), /^routes: .*too many or too complex together/);
    assert.deepEqual(others, []);
  }
  const match = light.map((text) => text.slice(1));
  assert.match(
    String(problems('rule', { name: 'a', list: 'blacklist', type: 'ip-regex', match })[0]),
    /^match: /,
  );
});

test('the hosts of a listener are counted like those of a domain', () => {
  const listener = (hosts: readonly string[]) => ({
    name: 'a',
    port: 4_000,
    tls: 'passthrough',
    hosts: Object.fromEntries(hosts.map((host) => [host, 's'])),
  });
  const light = many(700, (index) => `~^db[0-9]${index}\\.a\\.test$`);
  assert.deepEqual(problems('listener', listener(light)), []);
  assert.deepEqual(problems('listener', listener(many(9_999, (index) => `db${index}.a.test`))), []);
  for (const hosts of [
    many(10_000, (index) => `~a${index}`),
    many(300, (n) => `~(\\pL{9}${n % 10}${n}){60}`),
  ]) {
    const [first, ...others] = problems('listener', listener(hosts));
    assert.match(String(first), /^hosts: .*too many or too complex together/);
    assert.deepEqual(others, []);
  }
  for (const hosts of [null, 1, 'x', []]) assert.ok(problems('listener', { hosts }).length > 0);
});

test('what is no object, list or text has no patterns', () => {
  for (const input of [null, 1, 'x', [], { routes: 1 }, { routes: [null, 1, { path: 1, rewrite: 1 }] }]) {
    assert.ok(problems('domain', input).length > 0);
  }
});

test('the routes of a domain have at most 20000 paths together', () => {
  const withPaths = (count: number) => ({
    name: 'a.test',
    routes: many(count / 100, (index) => String(index)).map((route) => ({
      path: many(100, (index) => `/${route}/${index}`),
      answer: {},
    })),
  });
  assert.deepEqual(problems('domain', withPaths(20_000)), []);
  assert.deepEqual(problems('domain', withPaths(20_100)), [
    'routes: the routes have more than 20000 paths together',
  ]);
});

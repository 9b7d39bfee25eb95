import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kind, parseObject } from './kinds.ts';

function told(kind: Kind, doc: Record<string, unknown>): string[] {
  const result = parseObject(kind, doc);
  return result.ok ? [] : result.problems.map(({ path, message }) => `${path}: ${message}`);
}
const meant = (path: string, field: string) => `${path}: unknown field; did you mean "${field}"?`;

test('a misspelt field is refused with the one that was meant, at any depth and in short and long forms', () => {
  const cases: [Kind, Record<string, unknown>, string[]][] = [
    ['service', { name: 's', bakends: [] }, [meant('bakends', 'backends')]],
    ['service', { name: 's', backend: [] }, [meant('backend', 'backends')]],
    ['service', { name: 's', keys: { 1: { backnds: [] } } }, [meant('keys.1.backnds', 'backends')]],
    [
      'service',
      { name: 's', keys: { 1: { backends: [{ adress: '10.0.0.1:1', address: '10.0.0.1:1' }] } } },
      [meant('keys.1.backends.0.adress', 'address')],
    ],
    [
      'domain',
      { name: 'a.b', routes: [{ path: '/', service: 's', stripprefix: true }] },
      [meant('routes.0.stripprefix', 'stripPrefix')],
    ],
    ['domain', { name: 'a.b', alias: [] }, [meant('alias', 'aliases')]],
    ['settings', { limits: { headsize: '1KB' } }, [meant('limits.headsize', 'headSize')]],
    // Nothing is near enough to be meant.
    ['service', { name: 's', shiny: 1, x: 2 }, ['shiny: unknown field', 'x: unknown field']],
  ];
  for (const [kind, doc, expected] of cases) assert.deepEqual(told(kind, doc), expected);
});

test('a document of thousands of unknown fields is not guessed at for long', () => {
  const doc = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`bakends${n % 10}x${n}`, n]));
  const all = told('service', { name: 's', ...doc });
  assert.equal(all.length, 5_000);
  assert.ok(all.filter((line) => line.includes('did you mean')).length <= 20);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { difference, sameDocument } from './difference.ts';

test('the order of fields and undefined fields make no difference, everything else does', () => {
  assert.ok(sameDocument({ a: 1, b: { c: [1, 2], d: undefined } }, { b: { c: [1, 2] }, a: 1 }));
  for (const [a, b] of [
    [{ a: 1 }, { a: 2 }],
    [{ a: 1 }, {}],
    [{}, { a: 1 }],
    [{ a: [1, 2] }, { a: [2, 1] }],
    [{ a: [] }, { a: {} }],
    [{ a: null }, {}],
    [{ a: null }, { a: {} }],
    [{ toString: 1 }, {}],
  ] as const) {
    assert.equal(sameDocument(a, b), false, `${JSON.stringify(a)} ${JSON.stringify(b)}`);
  }
});

test('two documents differ in fields exactly when they are not the same', () => {
  const doc = fc.dictionary(fc.constantFrom('a', 'b'), fc.jsonValue({ maxDepth: 2 }));
  fc.assert(
    fc.property(doc, doc, (before, after) => {
      const { fields } = difference(
        { kind: 'page', name: 'x', doc: after as Record<string, unknown> },
        before as Record<string, unknown>,
      );
      assert.equal(fields.length === 0, sameDocument(before, after));
    }),
  );
});

test('a created and a deleted object are told field by field', () => {
  assert.deepEqual(difference({ kind: 'page', name: 'x', doc: { name: 'x' } }, null), {
    kind: 'page',
    name: 'x',
    change: 'create',
    fields: [{ path: 'name', to: 'x' }],
  });
  assert.deepEqual(difference({ kind: 'page', name: 'x', doc: null }, { name: 'x' }).fields, [
    { path: 'name', from: 'x' },
  ]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson } from './canonical-json.ts';

test('the canonical text does not depend on the order of keys, at any depth', () => {
  assert.equal(canonicalJson({ b: [{ d: 1, c: null }], a: 'x' }), '{"a":"x","b":[{"c":null,"d":1}]}');
  assert.equal(canonicalJson({ a: 'x', b: [{ c: null, d: 1 }] }), '{"a":"x","b":[{"c":null,"d":1}]}');
});

test('what JSON leaves out is left out, and lists keep their length', () => {
  assert.equal(
    canonicalJson({ a: undefined, b: [undefined, () => 1], c: new Date(0), d: -0 }),
    '{"b":[null,null],"c":"1970-01-01T00:00:00.000Z","d":0}',
  );
  assert.equal(canonicalJson(undefined), 'null');
});

test('the canonical text is JSON of the same value', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const value: unknown = JSON.parse(text);
      assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)));
    }),
  );
});

test('two values share a text exactly when they are equal', () => {
  const value = fc.jsonValue({ maxDepth: 3 });
  fc.assert(
    fc.property(value, value, (one, other) => {
      const equal = (() => {
        try {
          assert.deepEqual(JSON.parse(JSON.stringify(one)), JSON.parse(JSON.stringify(other)));
          return true;
        } catch {
          return false;
        }
      })();
      assert.equal(canonicalJson(one) === canonicalJson(other), equal);
    }),
  );
});

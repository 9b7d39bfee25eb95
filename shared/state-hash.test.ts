import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { objectDigest, StateHash } from './state-hash.ts';

function hashOf(digests: readonly Buffer[]): string {
  const hash = new StateHash();
  for (const digest of digests) hash.add(digest);
  return hash.value;
}

test('the hash of a set does not depend on the order, and what is removed leaves no trace', () => {
  const digest = fc
    .record({ name: fc.string(), n: fc.integer() })
    .map(({ name, n }) => objectDigest('rule', name, { n }));
  fc.assert(
    fc.property(fc.array(digest), fc.array(digest), (kept, removed) => {
      const hash = new StateHash();
      for (const each of [...removed, ...kept].reverse()) hash.add(each);
      for (const each of removed) hash.remove(each);
      assert.equal(hash.value, hashOf(kept));
    }),
  );
  assert.equal(hashOf([]), '0'.repeat(32));
});

test('kind, name and content each make a difference, and do not run into one another', () => {
  const digests = [
    objectDigest('rule', 'a', {}),
    objectDigest('page', 'a', {}),
    objectDigest('rule', 'b', {}),
    objectDigest('rule', 'a', { n: 1 }),
    objectDigest('rule', 'a","b', {}),
    objectDigest('rule', 'a{}', {}),
  ];
  assert.equal(new Set(digests.map((digest) => hashOf([digest]))).size, digests.length);
});

test('two equal objects under different names do not cancel each other out', () => {
  const [one, other] = [objectDigest('rule', 'a', {}), objectDigest('rule', 'b', {})];
  assert.notEqual(hashOf([one, other]), hashOf([]));
  assert.notEqual(hashOf([one, one]), hashOf([]));
});

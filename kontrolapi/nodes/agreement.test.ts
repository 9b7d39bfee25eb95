import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Agreement } from './agreement.ts';

const standing = (name: string, seq: number, hash: string) => ({ name, seq, hash });

test('two at one revision with other objects are an alarm when they still are a moment later', () => {
  const agreement = new Agreement();
  const apart = [standing('a', 7, 'x'), standing('b', 7, 'y'), standing('c', 7, 'x')];
  agreement.compare(apart, 0);
  assert.deepEqual(agreement.disagreements, []);
  agreement.compare(apart, 2_000);
  assert.deepEqual(agreement.disagreements, [{ seq: 7, hashes: { x: ['a', 'c'], y: ['b'] } }]);
  agreement.compare([standing('a', 7, 'x'), standing('b', 7, 'x')], 3_000);
  assert.deepEqual(agreement.disagreements, []);
});

test('other revisions, and nodes that do not say their hash, are no disagreement', () => {
  const agreement = new Agreement();
  for (const now of [0, 5_000]) {
    agreement.compare([standing('a', 7, 'x'), standing('b', 8, 'y'), standing('c', 7, '')], now);
  }
  assert.deepEqual(agreement.disagreements, []);
});

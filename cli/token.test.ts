import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expiryOf } from './token.ts';

test('a token ends after a time or at one, and what is neither is told with both forms', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  assert.equal(expiryOf('90d', now), '2026-04-01T00:00:00.000Z');
  assert.equal(expiryOf('2027-01-01T00:00:00Z', now), '2027-01-01T00:00:00Z');
  assert.equal(expiryOf(undefined, now), undefined);
  // A year is no time in milliseconds.
  for (const text of ['2027', 'tomorrow', '999999999d', '-5m', '2027-01-01'])
    assert.throws(() => expiryOf(text, now), /like 90d, or a date, like 2027-01-01T00:00:00Z; not '/);
});

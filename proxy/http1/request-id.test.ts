import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newRequestId } from './request-id.ts';

test('ids of a process are 19 letters and digits, count up, and are never the same', () => {
  const ids = Array.from({ length: 5_000 }, newRequestId);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[A-Za-z0-9]{19}$/);
  assert.equal(new Set(ids.map((id) => id.slice(0, 12))).size, 1);
  const counts = ids.map((id) => Number.parseInt(id.slice(12), 36));
  assert.ok(counts.every((count, i) => i === 0 || count === (counts[i - 1] as number) + 1));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kind } from '../../shared/model/kinds.ts';
import { notYetInForce } from './not-yet.ts';

const REFUSED: readonly (readonly [kind: Kind, doc: Record<string, unknown>, path: string])[] = [
  ['service', { sticky: { cookie: 'k' } }, 'sticky'],
  ['service', { slowStart: 1_000 }, 'slowStart'],
  ['service', { eject: { status5xx: 5 } }, 'eject'],
];
for (const [kind, doc, path] of REFUSED) {
  test(`${path} of a ${kind} is refused: it would have no effect`, () => {
    assert.deepEqual(
      notYetInForce(kind, doc).map((problem) => problem.path),
      [path],
    );
  });
}

test('what is switched off, or left out, promises nothing', () => {
  const off = { sticky: false, coalesce: false, cache: null, slowStart: 0 };
  assert.deepEqual(notYetInForce('service', off), []);
  assert.deepEqual(notYetInForce('settings', { limits: { fields: 50 } }), []);
  assert.deepEqual(notYetInForce('settings', {}), []);
});

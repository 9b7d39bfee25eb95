import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkPreconditions, isNotModified } from './preconditions.ts';

const CASES: readonly (readonly [headers: Record<string, string>, rev: number | null, passes: boolean])[] = [
  [{}, 3, true],
  [{}, null, true],
  [{ 'if-match': '"3"' }, 3, true],
  [{ 'if-match': '3' }, 3, true],
  [{ 'if-match': 'W/"3"' }, 3, true],
  [{ 'if-match': '"1", "3"' }, 3, true],
  [{ 'if-match': '*' }, 3, true],
  [{ 'if-match': '"4"' }, 3, false],
  [{ 'if-match': '"33"' }, 3, false],
  [{ 'if-match': '"3"' }, null, false],
  [{ 'if-match': '*' }, null, false],
  [{ 'if-match': '' }, 3, false],
  [{ 'if-none-match': '*' }, null, true],
  [{ 'if-none-match': '*' }, 3, false],
  [{ 'if-none-match': '"3"' }, 4, true],
];

for (const [headers, rev, passes] of CASES) {
  test(`${JSON.stringify(headers)} at ${rev} ${passes ? 'passes' : 'is 412'}`, () => {
    const check = () => checkPreconditions(headers, rev);
    if (passes) check();
    else assert.throws(check, { code: 'precondition_failed' });
  });
}

test('a read is not modified when the client has that revision', () => {
  assert.equal(isNotModified({ 'if-none-match': '"3"' }, 3), true);
  assert.equal(isNotModified({ 'if-none-match': '"2"' }, 3), false);
  assert.equal(isNotModified({}, 3), false);
});

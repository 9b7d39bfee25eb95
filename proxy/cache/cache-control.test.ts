import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseCacheControl } from './cache-control.ts';

test('directives are read in any case, with any white space, quoted or not', () => {
  const read = parseCacheControl(' ,Max-Age=5 ,, S-MAXAGE="7",No-Cache="a, b" ,private,x=y');
  assert.deepEqual([read.maxAge, read.sMaxAge, read.noCache, read.isPrivate], [5, 7, true, true]);
  assert.equal(read.noStore, false);
});

test('what is not in the grammar means that nothing is stored', () => {
  for (const text of [
    'max-age=5;private',
    '=5',
    'max-age = 5',
    'public "x"',
    '\u00e9',
    'no-cache="open',
    'a b',
  ]) {
    assert.equal(parseCacheControl(text).noStore, true, text);
  }
});

test('doubtful values are read as those that store and reuse less', () => {
  assert.equal(parseCacheControl('max-age=-1').maxAge, 0);
  assert.equal(parseCacheControl('max-age').maxAge, 0);
  assert.equal(parseCacheControl('max-age=1.5').maxAge, 0);
  assert.equal(parseCacheControl('max-age=99999999999999999999').maxAge, 2 ** 31);
  assert.equal(parseCacheControl('max-stale=x').maxStale, 0);
  assert.equal(parseCacheControl('max-stale').maxStale, Number.POSITIVE_INFINITY);
  assert.equal(parseCacheControl('min-fresh=x').minFresh, 2 ** 31);
  assert.equal(parseCacheControl('min-fresh=3, min-fresh=5').minFresh, 5);
});

test('any text is read in time that grows with its length alone', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('a', '=', '"', '\\', ',', ' ', '5'), maxLength: 200 }),
      (text) => {
        parseCacheControl(text);
      },
    ),
    { numRuns: 2_000 },
  );
  for (const piece of ['"', '\\', ',', ' ', 'a="', 'a=\\"', 'a=a=', 'max-age=,']) {
    parseCacheControl(piece.repeat(8_000));
    parseCacheControl(`a="${piece.repeat(8_000)}`);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { normalisePath, otherReadings } from './path.ts';

const normal = (raw: string) => normalisePath(raw)?.path ?? raw;
const readings = (raw: string) => otherReadings(raw, normalisePath(raw) ?? { path: raw, ambiguous: false });

test('an ordinary path is its own normal form', () => {
  for (const path of [
    '/',
    '/a',
    '/a/b.html',
    '/a/',
    '/.well-known/x',
    '/...',
    '/a..b/.c',
    "/a'b;c=d,e",
    '/~u/-_.',
    '/*',
  ])
    assert.equal(normalisePath(path), null, path);
});

test('paths are brought into normal form', () => {
  const cases: [string, string][] = [
    ['/%61dmin', '/admin'],
    ['/%7euser', '/~user'],
    ['/a%2dz', '/a-z'],
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/caf\xc3\xa9', '/caf%C3%A9'],
    ['/a b', '/a%20b'],
    ['/a%20b', '/a%20b'],
    ['//', '/'],
    ['/a//b///c', '/a/b/c'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/a/b/..', '/a/'],
    ['/a/.', '/a/'],
    ['/..', '/'],
    ['/../../a', '/a'],
    ['/%2e%2e/a', '/a'],
    ['/a/%2E%2e/b', '/b'],
    ['/a/.%2e/b', '/b'],
    ['/a/b/..//../c', '/c'],
    ['/%2525', '/%2525'],
    ['', '/'],
  ];
  for (const [raw, expected] of cases) assert.equal(normal(raw), expected, raw);
});

test('encoded slashes and backslashes stay: they separate nothing for us', () => {
  assert.equal(normal('/a%2fb'), '/a%2Fb');
  assert.equal(normal('/a%5cb'), '/a%5Cb');
  assert.equal(normal('/a\\b'), '/a\\b');
});

test('what servers read in more than one way is ambiguous', () => {
  for (const raw of [
    '/a%00',
    '/a%2fb',
    '/a%2Fb',
    '/a%5cb',
    '/a\\b',
    '/..;/a',
    '/a/.;x=1/b',
    '/100%',
    '/%zz',
    '/%c',
  ])
    assert.equal(normalisePath(raw)?.ambiguous, true, raw);
  for (const raw of ['/%61', '/a//b', '/a/../b', '/a;b/c', '/%20', '/...;/a', '/a..;/b'])
    assert.notEqual(normalisePath(raw)?.ambiguous, true, raw);
});

test('a path with a per cent sign that begins no escape has no readings at all', () => {
  for (const raw of ['/%', '/%4', '/%4g', '/%%41']) assert.equal(readings(raw), null, raw);
  for (const raw of ['/', '/%41', '/%2f%00']) assert.notEqual(readings(raw), null, raw);
});

test('a path with more readings than are worth their time has none', () => {
  assert.ok(readings(`/${'a%2f%5c..//.;x/'.repeat(900)}`) === null);
  assert.equal(readings(`/${'%20a%c3%a9'.repeat(1_500)}`)?.size, 0, 'a long path that everyone reads alike');
});

test('the other readings are what servers make of a path', () => {
  const cases: [string, string[]][] = [
    ['/%61dmin', ['/%61dmin']],
    ['/caf%c3%a9', []],
    ['/a/../b', ['/a/../b']],
    ['/a//../b', ['/a//../b', '/a/../b', '/a/b']],
    ['/x/%2e%2e/b', ['/x/%2E%2E/b', '/x/../b']],
    ['/x%2f..%2fadmin', ['/x/../admin', '/admin']],
    ['/x%5c..%5cadmin', ['/x\\..\\admin', '/x/../admin', '/admin']],
    ['/x\\..\\admin', ['/x/../admin', '/admin']],
    ['/x%2f%2fy', ['/x//y', '/x/y']],
    ['/x/..;/admin', ['/x/../admin', '/admin']],
    ['/x/..;a=b/admin', ['/x/../admin', '/admin']],
    ['/x/%2e%2e;/admin', ['/x/%2E%2E;/admin', '/x/../admin', '/admin']],
    ['/admin%00.png', ['/admin']],
    ['/x/y%00/../..', ['/x/y%00/../..', '/x/y']],
    ['/%00', ['/']],
  ];
  for (const [raw, expected] of cases) {
    assert.deepEqual([...(readings(raw) ?? [])].sort(), [...expected].sort(), raw);
  }
});

const piece = fc.constantFrom(
  'a',
  'b',
  '/',
  '/',
  '.',
  '..',
  '%2e',
  '%2F',
  '%5c',
  '\\',
  '%00',
  ';',
  '%61',
  '%7E',
  '\xe9',
  '%',
  '//',
);
const rawPath = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`);

test('the normal form is stable and has no dot segments, doubled slashes or needless escapes', () => {
  fc.assert(
    fc.property(rawPath, (raw) => {
      // Those are refused whatever the routes are, and half an escape may become a whole one.
      const others = readings(raw);
      if (others === null) return;
      const path = normal(raw);
      assert.equal(normal(path), path);
      assert.match(path, /^\/[\x21-\x7e]*$/);
      assert.doesNotMatch(path, /\/\/|\/\.{1,2}(\/|$)|%2[eE]|%61|%7[eE]/);
      assert.equal(others.has(path), false);
    }),
    { numRuns: 2_000 },
  );
});

test('a path in normal form that is not ambiguous has no other reading', () => {
  fc.assert(
    fc.property(rawPath, (raw) => {
      // Asked as if it were ambiguous, so that every step is tried on it.
      if (normalisePath(raw) === null)
        assert.equal(otherReadings(raw, { path: raw, ambiguous: true })?.size, 0);
    }),
    { numRuns: 2_000 },
  );
});

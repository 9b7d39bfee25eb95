import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseCacheControl } from './cache-control.ts';
import {
  type AskedFor,
  isShareable,
  isStream,
  parseHttpDate,
  servesError,
  type Terms,
  termsOf,
  useOf,
} from './rules.ts';

const NOW = Date.parse('2026-01-01T00:00:00Z');
const CONFIG = { size: 1e6, ttlMs: 1_000, staleWhileRevalidateMs: 5_000, staleIfErrorMs: 60_000 };
const date = (offsetSeconds: number) => new Date(NOW + offsetSeconds * 1_000).toUTCString();

function head(fields: Readonly<Record<string, string>> = {}, status = 200) {
  return { status, field: (name: string) => fields[name] };
}

function asked(fields: Readonly<Record<string, string>> = {}): AskedFor {
  return {
    control: parseCacheControl(fields['cache-control']),
    authorization: fields['authorization'] !== undefined,
    cookie: fields['cookie'] !== undefined,
  };
}

function terms(
  fields: Readonly<Record<string, string>>,
  request: Readonly<Record<string, string>> = {},
  status = 200,
) {
  return termsOf(head(fields, status), asked(request), { requestAt: NOW, responseAt: NOW }, CONFIG);
}

describe('whether and how long an answer is stored', () => {
  const cases: readonly [
    what: string,
    fields: Record<string, string>,
    lifetimeMs: number | null,
    request?: Record<string, string>,
    status?: number,
  ][] = [
    ['nothing said: the ttl', {}, 1_000],
    ['max-age', { 'cache-control': 'max-age=7' }, 7_000],
    ['s-maxage before max-age', { 'cache-control': 'max-age=7, s-maxage=9' }, 9_000],
    ['max-age before Expires', { 'cache-control': 'max-age=7', expires: date(99) }, 7_000],
    ['Expires from Date', { expires: date(60), date: date(-10) }, 70_000],
    ['Expires without Date', { expires: date(60) }, 60_000],
    ['Expires that is no date', { expires: '0', etag: '"a"' }, 0],
    ['Expires that is no date, and no validator', { expires: '0' }, 0],
    ['no-store', { 'cache-control': 'no-store, max-age=7' }, null],
    ['private', { 'cache-control': 'private, max-age=7' }, null],
    ['private for some fields', { 'cache-control': 'private="x-a", max-age=7' }, null],
    ['no-cache with a validator', { 'cache-control': 'no-cache, max-age=7', etag: '"a"' }, 7_000],
    ['no-cache without one', { 'cache-control': 'no-cache, max-age=7' }, null],
    ['Set-Cookie', { 'cache-control': 'max-age=7', 'set-cookie': 'a=1' }, null],
    ['Vary: *', { 'cache-control': 'max-age=7', vary: 'accept, *' }, null],
    ['a doubtful max-age is 0', { 'cache-control': 'max-age=soon', etag: '"a"' }, 0],
    ['two max-age: the lesser', { 'cache-control': 'max-age=9, max-age=7' }, 7_000],
    ['a list that is none', { 'cache-control': 'max-age=7; public' }, null],
    ['a quoted value', { 'cache-control': 'max-age="7"' }, 7_000],
    ['an unknown directive', { 'cache-control': 'x-other="a, no-store", max-age=7' }, 7_000],
    ['the request says no-store', { 'cache-control': 'max-age=7' }, null, { 'cache-control': 'no-store' }],
    ['Authorization', { 'cache-control': 'max-age=7' }, null, { authorization: 'x' }],
    ['Authorization and public', { 'cache-control': 'public, max-age=7' }, 7_000, { authorization: 'x' }],
    ['Authorization and s-maxage', { 'cache-control': 's-maxage=7' }, 7_000, { authorization: 'x' }],
    [
      'Authorization and must-revalidate',
      { 'cache-control': 'max-age=7, must-revalidate' },
      7_000,
      { authorization: 'x' },
    ],
    ['a cookie, nothing said', {}, null, { cookie: 'a=1' }],
    ['a cookie and max-age', { 'cache-control': 'max-age=7' }, 7_000, { cookie: 'a=1' }],
    ['404, nothing said', {}, 1_000, {}, 404],
    ['500, nothing said', {}, null, {}, 500],
    ['503 with max-age', { 'cache-control': 'max-age=7' }, 7_000, {}, 503],
    ['206', { 'cache-control': 'max-age=7' }, null, {}, 206],
    ['401', { 'cache-control': 'max-age=7' }, null, {}, 401],
    ['302, nothing said', {}, null, {}, 302],
    ['302 with max-age', { 'cache-control': 'max-age=7' }, 7_000, {}, 302],
    ['Pragma: no-cache', { pragma: 'no-cache' }, null],
  ];
  for (const [what, fields, lifetimeMs, request, status] of cases) {
    test(what, () => assert.equal(terms(fields, request, status)?.lifetimeMs ?? null, lifetimeMs));
  }

  test('a ttl of 0 stores nothing that has no lifetime of its own', () => {
    const times = { requestAt: NOW, responseAt: NOW };
    const config = { ...CONFIG, ttlMs: 0 };
    assert.equal(termsOf(head(), asked(), times, config), null);
    assert.notEqual(termsOf(head({ 'cache-control': 'max-age=1' }), asked(), times, config), null);
  });
});

describe('the age of an answer when it comes', () => {
  const cases: readonly [what: string, fields: Record<string, string>, delayMs: number, ageMs: number][] = [
    ['nothing said', {}, 0, 0],
    ['the way took its time', {}, 2_000, 2_000],
    ['Age', { age: '30' }, 2_000, 32_000],
    ['Date in the past', { date: date(-40), age: '30' }, 0, 40_000],
    ['Date in the future', { date: date(40), age: '30' }, 0, 30_000],
    ['Age that is no number', { age: 'old' }, 0, 0],
  ];
  for (const [what, fields, delayMs, ageMs] of cases) {
    test(what, () => {
      const times = { requestAt: NOW - delayMs, responseAt: NOW };
      const found = termsOf(head({ ...fields, 'cache-control': 'max-age=100' }), asked(), times, CONFIG);
      assert.equal(found?.initialAgeMs, ageMs);
    });
  }

  test('does not shorten the ttl', () => {
    const times = { requestAt: NOW - 5_000, responseAt: NOW };
    const found = termsOf(head({ age: '30' }), asked(), times, CONFIG);
    assert.equal((found?.lifetimeMs ?? 0) - (found?.initialAgeMs ?? 0), 1_000);
  });
});

describe('how a stored answer may be used', () => {
  const cases: readonly [string, Record<string, string>, Record<string, string>, number, string][] = [
    ['within its lifetime', { 'cache-control': 'max-age=10' }, {}, 9, 'fresh'],
    ['at its end', { 'cache-control': 'max-age=10' }, {}, 10, 'stale-and-refresh'],
    ['the window of the service is over', { 'cache-control': 'max-age=10' }, {}, 15, 'revalidate'],
    [
      'the backend gave a window',
      { 'cache-control': 'max-age=10, stale-while-revalidate=60' },
      {},
      69,
      'stale-and-refresh',
    ],
    [
      'the backend forbade one',
      { 'cache-control': 'max-age=10, stale-while-revalidate=0' },
      {},
      11,
      'revalidate',
    ],
    [
      'must-revalidate',
      { 'cache-control': 'max-age=10, must-revalidate, stale-while-revalidate=9' },
      {},
      11,
      'revalidate',
    ],
    ['proxy-revalidate', { 'cache-control': 'max-age=10, proxy-revalidate' }, {}, 11, 'revalidate'],
    ['s-maxage', { 'cache-control': 's-maxage=10' }, {}, 11, 'revalidate'],
    [
      's-maxage with a window',
      { 'cache-control': 's-maxage=10, stale-while-revalidate=9' },
      {},
      11,
      'stale-and-refresh',
    ],
    ['no-cache', { 'cache-control': 'no-cache, max-age=10', etag: '"a"' }, {}, 0, 'revalidate'],
    [
      'the request says no-cache',
      { 'cache-control': 'max-age=10' },
      { 'cache-control': 'no-cache' },
      0,
      'revalidate',
    ],
    [
      'the request wants it younger',
      { 'cache-control': 'max-age=10' },
      { 'cache-control': 'max-age=3' },
      4,
      'revalidate',
    ],
    ['young enough', { 'cache-control': 'max-age=10' }, { 'cache-control': 'max-age=3' }, 3, 'fresh'],
    [
      'fresh for longer is wanted',
      { 'cache-control': 'max-age=10' },
      { 'cache-control': 'min-fresh=5' },
      6,
      'revalidate',
    ],
    [
      'fresh for long enough',
      { 'cache-control': 'max-age=10' },
      { 'cache-control': 'min-fresh=5' },
      4,
      'fresh',
    ],
    ['stale is accepted', { 'cache-control': 'max-age=10' }, { 'cache-control': 'max-stale' }, 99, 'stale'],
    [
      'a little stale is accepted',
      { 'cache-control': 'max-age=10' },
      { 'cache-control': 'max-stale=20' },
      31,
      'revalidate',
    ],
    [
      'stale is accepted, but forbidden',
      { 'cache-control': 'max-age=10, must-revalidate' },
      { 'cache-control': 'max-stale' },
      11,
      'revalidate',
    ],
    ['Authorization', { 'cache-control': 'max-age=10' }, { authorization: 'x' }, 0, 'unusable'],
    [
      'Authorization and public',
      { 'cache-control': 'max-age=10, public' },
      { authorization: 'x' },
      0,
      'fresh',
    ],
    ['a cookie and the ttl', {}, { cookie: 'a' }, 0, 'unusable'],
    ['a cookie and max-age', { 'cache-control': 'max-age=10' }, { cookie: 'a' }, 0, 'fresh'],
  ];
  for (const [what, fields, request, age, use] of cases) {
    test(what, () => assert.equal(useOf(terms(fields) as Terms, age * 1_000, asked(request)), use));
  }

  test('it stands in for errors as long as the service or the backend says, never against must-revalidate', () => {
    const at = (fields: Record<string, string>, age: number) =>
      servesError(terms(fields) as Terms, age * 1_000);
    assert.equal(at({ 'cache-control': 'max-age=10' }, 69), true);
    assert.equal(at({ 'cache-control': 'max-age=10' }, 70), false);
    assert.equal(at({ 'cache-control': 'max-age=10, stale-if-error=600' }, 500), true);
    assert.equal(at({ 'cache-control': 'max-age=10, must-revalidate, stale-if-error=600' }, 11), false);
    assert.equal(at({ 'cache-control': 'max-age=10, no-cache', etag: '"a"' }, 0), false);
  });
});

test('what may be shared with others', () => {
  assert.equal(isShareable(head()), true);
  assert.equal(isShareable(head({}, 500)), true);
  assert.equal(isShareable(head({}, 401)), false);
  assert.equal(isShareable(head({ vary: 'Accept, X-Forwarded-Proto' })), true);
  for (const fields of [
    { 'set-cookie': 'a' },
    { vary: '*' },
    { vary: 'Accept, X-Forwarded-For' },
    { vary: 'x-real-ip' },
    { vary: 'X-Request-Id' },
    { vary: 'Client-Cert' },
    { vary: 'client-cert-chain' },
    { vary: 'X-Client-Cert-Fingerprint' },
    { 'cache-control': 'Private' },
    { 'cache-control': 'NO-STORE' },
  ]) {
    assert.equal(isShareable(head(fields as unknown as Record<string, string>)), false);
  }
  assert.equal(isStream(head({ 'content-type': 'text/event-stream; charset=utf-8' })), true);
  assert.equal(isStream(head({ 'x-accel-buffering': 'no' })), true);
  assert.equal(isStream(head({ 'content-type': 'text/html' })), false);
});

test('dates are read in their three forms, and nothing else is a date', () => {
  const at = Date.UTC(1994, 10, 6, 8, 49, 37);
  assert.equal(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT'), at);
  assert.equal(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT'), at);
  assert.equal(parseHttpDate('Sun Nov  6 08:49:37 1994'), at);
  for (const none of [
    '',
    '0',
    '-1',
    '1994',
    '2026-01-01T00:00:00Z',
    'now',
    'Sun, 99 Nov 1994 08:49:37 GMT',
  ]) {
    assert.equal(parseHttpDate(none), null, none);
  }
});

/** Another reading of the same rules: one question after the other, nothing prepared. */
function naive(answer: string[], request: string[], fields: Record<string, string>, age: number): string {
  const value = (list: string[], name: string) => {
    const found = list
      .filter((one) => one === name || one.startsWith(`${name}=`))
      .map((one) => one.split('=')[1]);
    return found.length === 0
      ? null
      : Math.min(...found.map((text) => (text === undefined ? Infinity : Number(text))));
  };
  const has = (list: string[], name: string) => list.includes(name);
  if (has(answer, 'no-store') || has(answer, 'private') || has(request, 'no-store')) return 'not stored';
  if (fields['set-cookie'] !== undefined) return 'not stored';
  const open = has(answer, 'public') || has(answer, 'must-revalidate') || value(answer, 's-maxage') !== null;
  if (fields['authorization'] !== undefined && !open) return 'not stored';
  const said = value(answer, 's-maxage') ?? value(answer, 'max-age');
  const stated = said !== null || has(answer, 'no-cache');
  if (!stated && fields['cookie'] !== undefined) return 'not stored';
  const lifetime = said ?? (stated ? 0 : 1);
  const forbidden =
    has(answer, 'must-revalidate') || has(answer, 'proxy-revalidate') || has(answer, 'no-cache');
  const byItself = !forbidden && value(answer, 's-maxage') === null;
  const window = forbidden ? 0 : (value(answer, 'stale-while-revalidate') ?? (byItself ? 5 : 0));
  const errors = forbidden ? 0 : (value(answer, 'stale-if-error') ?? (byItself ? 60 : 0));
  const validator = fields['etag'] !== undefined;
  if ((lifetime === 0 || has(answer, 'no-cache')) && window === 0 && errors === 0 && !validator)
    return 'not stored';
  if (has(answer, 'no-cache') || has(request, 'no-cache')) return 'revalidate';
  const youngest = value(request, 'max-age');
  const staleness = value(request, 'max-stale');
  if (youngest !== null && age > youngest + (staleness ?? 0)) return 'revalidate';
  const least = value(request, 'min-fresh');
  if (least !== null) return age + least < lifetime ? 'fresh' : 'revalidate';
  if (age < lifetime) return 'fresh';
  if (age < lifetime + window) return 'stale-and-refresh';
  if (staleness !== null && byItself && age <= lifetime + staleness) return 'stale';
  return 'revalidate';
}

test('random answers and requests are judged as a naive reading judges them', () => {
  const seconds = (name: string) => fc.integer({ min: 0, max: 20 }).map((n) => `${name}=${n}`);
  const answer = fc.uniqueArray(
    fc.oneof(
      fc.constantFrom(
        'no-store',
        'private',
        'public',
        'no-cache',
        'must-revalidate',
        'proxy-revalidate',
        'x-other',
      ),
      ...['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error'].map(seconds),
      ...['max-age', 's-maxage'].map(seconds),
    ),
    { maxLength: 4 },
  );
  const request = fc.uniqueArray(
    fc.oneof(
      fc.constantFrom('no-store', 'no-cache', 'max-stale'),
      ...['max-age', 'min-fresh', 'max-stale'].map(seconds),
    ),
    // Twice the same directive has no one reading for requests.
    { maxLength: 2, selector: (directive) => directive.split('=')[0] },
  );
  const fields = fc.record(
    {
      etag: fc.constant('"a"'),
      'set-cookie': fc.constant('a'),
      authorization: fc.constant('x'),
      cookie: fc.constant('c'),
    },
    { requiredKeys: [] },
  );
  const age = fc.integer({ min: 0, max: 60 });
  fc.assert(
    fc.property(answer, request, fields, age, (said, wanted, also, seconds) => {
      const sent = { ...also, ...(wanted.length > 0 ? { 'cache-control': wanted.join(', ') } : {}) };
      const got = { ...also, ...(said.length > 0 ? { 'cache-control': said.join(',') } : {}) };
      const found = terms(got, sent);
      const use = found === null ? 'not stored' : useOf(found, seconds * 1_000, asked(sent));
      assert.equal(use, naive(said, wanted, also as Record<string, string>, seconds));
    }),
    { numRuns: 3_000 },
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  backendAddress,
  canonicalHost,
  duration,
  fieldName,
  fieldValue,
  hostAndPort,
  mapOf,
  objectName,
  parseDuration,
  parseEndpoint,
  parseSize,
  size,
} from './fields.ts';

test('durations and sizes are numbers with a unit, or plain', () => {
  const durations: [string | number, number | null][] = [
    ['5s', 5_000],
    ['1.5s', 1_500],
    ['250ms', 250],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    ['100', 100],
    [100, 100],
    [0, 0],
    ['5 S', 5_000],
    [-1, null],
    [1.5, null],
    ['-1s', null],
    ['', null],
    ['s', null],
    ['1w', null],
    ['1e3', null],
    ['99999999999999999999', null],
    [Number.NaN, null],
    [Number.POSITIVE_INFINITY, null],
  ];
  for (const [text, expected] of durations) assert.equal(parseDuration(text), expected, String(text));
  const sizes: [string | number, number | null][] = [
    ['16KB', 16_384],
    ['1.5mb', 1_572_864],
    ['2GB', 2_147_483_648],
    ['7b', 7],
    [7, 7],
    ['1TB', null],
  ];
  for (const [text, expected] of sizes) assert.equal(parseSize(text), expected, String(text));
});

test('a duration has an end, and an error that says how to write one', () => {
  assert.equal(duration().safeParse('10000d').success, false);
  assert.match(size().safeParse('big').error?.issues[0]?.message ?? '', /"16KB"/);
});

test('hosts have one canonical form', () => {
  const cases: [string, string | null][] = [
    ['Shop.Example.COM.', 'shop.example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['*.bücher.example', '*.xn--bcher-kva.example'],
    ['*.X.y', '*.x.y'],
    ['**.x.y', '**.x.y'],
    ['*', '*'],
    ['~^A.*$', '~^A.*$'],
    ['my_host.example', 'my_host.example'],
    ['10.0.0.1', '10.0.0.1'],
    ['[2001:DB8:0:0::1]', '[2001:db8::1]'],
    ['localhost', 'localhost'],
    ['', null],
    ['.', null],
    ['a..b', null],
    ['-a.example', null],
    ['a-.example', null],
    ['a b', null],
    ['a/b', null],
    ['a:80', null],
    ['a.*.b', null],
    ['***.a', null],
    ['*.', null],
    ['~(', null],
    ['::1', null],
    ['[::1', null],
    ['[x]', null],
    [`${'a'.repeat(64)}.b`, null],
    [`${'a.'.repeat(126)}ab`, null],
  ];
  for (const [text, expected] of cases) {
    const host = canonicalHost(text);
    assert.equal(typeof host === 'string' ? host : null, expected, text);
  }
});

test('the canonical form of a host is its own canonical form', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.domain(),
        fc.ipV4(),
        fc.ipV6().map((text) => `[${text}]`),
        fc.string(),
      ),
      (text) => {
        const host = canonicalHost(text);
        if (typeof host === 'string') assert.equal(canonicalHost(host), host);
      },
    ),
  );
});

test('backend addresses are host:port, [v6]:port or unix:/path', () => {
  const cases: [string, string | null][] = [
    ['10.0.0.5:3000', '10.0.0.5:3000'],
    ['[::1]:80', '[::1]:80'],
    ['[2001:DB8::0:1]:80', '[2001:db8::1]:80'],
    ['Web-1.Internal:80', 'web-1.internal:80'],
    ['unix:/run/a.sock', 'unix:/run/a.sock'],
    ['10.0.0.5', null],
    ['10.0.0.5:0', null],
    ['10.0.0.5:65536', null],
    ['::1:80', null],
    ['[x]:80', null],
    ['a b:80', null],
    ['user@host:80', null],
    ['http://host:80', null],
    ['*.x:80', null],
    ['127.1:80', null],
    ['0x7f000001:80', null],
    ['2130706433:80', null],
    ['127.1.:80', null],
    ['0x7f000001.:80', null],
    ['2130706433.:80', null],
    ['0251.0376.0251.0376.:80', null],
    ['127.0.0.1.:80', '127.0.0.1:80'],
    ['１２７.1:80', '127.0.0.1:80'],
    ['app.internal.:80', 'app.internal:80'],
    ['unix:relative', null],
    [`unix:/${'a'.repeat(107)}`, null],
    ['', null],
  ];
  for (const [text, expected] of cases) {
    const result = backendAddress().safeParse(text);
    assert.equal(result.success ? result.data : null, expected, text);
    // What is stored is read again by every node: it has to be what it was.
    if (expected !== null) assert.equal(backendAddress().parse(expected), expected);
  }
  assert.deepEqual(parseEndpoint('127.0.0.1.:80'), { type: 'address', host: '127.0.0.1', port: 80 });
  assert.deepEqual(parseEndpoint('[::1]:80'), { type: 'address', host: '::1', port: 80 });
  assert.deepEqual(parseEndpoint('a:80'), { type: 'name', host: 'a', port: 80 });
});

test('a host for backends has an optional port and nothing that could end the field', () => {
  const cases: [string, string | null][] = [
    ['Shop.Example.com', 'shop.example.com'],
    ['shop.example.com:8443', 'shop.example.com:8443'],
    ['[::1]:80', '[::1]:80'],
    ['a\r\nX: y', null],
    ['a b', null],
    ['*', null],
    ['~x', null],
    ['', null],
    [':80', null],
  ];
  for (const [text, expected] of cases) {
    const result = hostAndPort().safeParse(text);
    assert.equal(result.success ? result.data : null, expected, text);
  }
});

test('field names are tokens in lower case, values cannot end the field', () => {
  assert.equal(fieldName().parse('X-From'), 'x-from');
  for (const name of ['', 'a b', 'a:', 'a\r', 'é'])
    assert.equal(fieldName().safeParse(name).success, false, name);
  for (const value of ['', 'a b', 'é', 'a\tb'])
    assert.equal(fieldValue().safeParse(value).success, true, value);
  for (const value of ['a\nb', 'a\rb', 'a\0', ' a', 'a ', '\u20ac'])
    assert.equal(fieldValue().safeParse(value).success, false, JSON.stringify(value));
});

test('names are lower-cased and plain', () => {
  assert.equal(objectName().parse('Shop-1.a_b'), 'shop-1.a_b');
  for (const name of ['', '-a', 'a-', 'a b', 'a/b', '__proto__', 'a'.repeat(129)])
    assert.equal(objectName().safeParse(name).success, false, name);
});

test('a map reports every bad key and value by its path, and has no prototype names', () => {
  const map = mapOf(fieldName(), fieldValue());
  const result = map.safeParse({ 'a b': 'x', ok: 'y', bad: 'z\n' });
  assert.deepEqual(
    result.error?.issues.map((issue) => issue.path.join('.')),
    ['a b', 'bad'],
  );
  const parsed = map.parse(JSON.parse('{"__proto__": "x", "a": "b"}'));
  assert.equal(Object.getPrototypeOf(parsed), Object.prototype);
  assert.deepEqual(Object.keys(parsed), ['a']);
});

test('a name that stands in a map in two spellings is told, and neither is dropped in silence', () => {
  const result = mapOf(fieldName(), fieldValue()).safeParse({ 'X-A': '1', 'x-a': '2', 'x-b': '3' });
  assert.deepEqual(
    result.error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`),
    ['x-a: x-a stands twice, in two spellings; leave one out'],
  );
});

test('a map has an end, and so has the list of what is wrong with it', () => {
  const labels = mapOf(fieldName(), fieldValue());
  const entries = (count: number, name: string) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`${name}${index}`, 'x']));
  assert.equal(labels.safeParse(entries(10_000, 'x')).success, true);
  const tooMany = labels.safeParse(entries(10_001, 'x'));
  assert.match(tooMany.error?.issues[0]?.message ?? '', /at most 10000/);
  assert.equal(labels.safeParse(entries(9_000, '?')).error?.issues.length, 100);
});

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { LineSink } from '../../shared/log-destination.ts';
import { createAccessLog, MAX_LINE } from './access-log.ts';
import { exampleRecord } from './example.ts';
import type { RequestRecord } from './record.ts';

const folder = mkdtempSync(join(tmpdir(), 'kontrol-access-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

async function lines(format: 'json' | 'combined', records: readonly RequestRecord[]): Promise<string[]> {
  const path = join(folder, `${files++}.log`);
  const sink = LineSink.toFile(path);
  const log = createAccessLog(format, sink);
  for (const record of records) log.write(record);
  await sink.close();
  const text = readFileSync(path, 'latin1');
  assert.ok(text.endsWith('\n'));
  return text.slice(0, -1).split('\n');
}

/** The record as a line should give it back: without what is null, and without zeroes that say nothing. */
function expected(record: RequestRecord): Record<string, unknown> {
  const entries = Object.entries({ ...record, time: new Date(record.at).toISOString() }).filter(
    ([name, value]) =>
      name !== 'at' && value !== null && !(value === 0 && (name === 'retries' || name === 'backendStatus')),
  );
  return Object.fromEntries(entries);
}

test('a JSON line holds the whole record', async () => {
  const records = [
    exampleRecord(),
    exampleRecord({
      cause: 'all_dead',
      rule: 'office',
      status: 503,
      backendStatus: 0,
      retries: 2,
      queueMs: 1.5,
    }),
    exampleRecord({
      protocol: 'tcp',
      method: '',
      host: '',
      target: '',
      service: null,
      key: null,
      route: null,
    }),
    exampleRecord({
      endedBy: 'client',
      phase: 'wait',
      status: 499,
      secure: false,
      referer: null,
      userAgent: null,
    }),
  ];
  const written = await lines('json', records);
  assert.deepEqual(
    written.map((line) => JSON.parse(line)),
    records.map(expected),
  );
});

test('the text of JSON line and combined line is as documented', async () => {
  const record = exampleRecord({ cause: null, retries: 1 });
  assert.deepEqual(await lines('json', [record]), [
    '{"time":"2023-11-14T22:13:20.123Z","id":"01j9x4","address":"192.0.2.7","protocol":"HTTP/1.1","secure":true,' +
      '"method":"GET","host":"shop.example.com","target":"/cart?item=7","status":200,"bytesIn":0,"bytesOut":5120,' +
      '"totalMs":13.062,"connectMs":0.250,"firstByteMs":12.500,"domain":"shop.example.com","route":0,' +
      '"service":"shop","key":42,"backend":"10.0.0.5:3000","backendStatus":200,"retries":1,"phase":"done",' +
      '"endedBy":"complete","referer":"https://example.com/","userAgent":"curl/8.0"}',
  ]);
  assert.deepEqual(await lines('combined', [record]), [
    '192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /cart?item=7 HTTP/1.1" 200 5120 "https://example.com/" "curl/8.0"',
  ]);
});

test('a request without a readable head is a dash in the combined format', async () => {
  const record = exampleRecord({
    method: '',
    target: '',
    status: 400,
    bytesOut: 0,
    referer: null,
    userAgent: null,
  });
  assert.deepEqual(await lines('combined', [record]), [
    '192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "-" 400 0 "-" "-"',
  ]);
});

test('each line carries the time of its own request, over seconds and days', async () => {
  const times = [
    0, 999, 1_000, 86_399_999, 86_400_000, 1_709_164_800_001, 1_700_000_000_500, 1_700_000_000_007,
  ];
  const written = await lines(
    'json',
    times.map((at) => exampleRecord({ at })),
  );
  assert.deepEqual(
    written.map((line) => JSON.parse(line).time),
    times.map((at) => new Date(at).toISOString()),
  );
  const combined = await lines('combined', [exampleRecord({ at: 1_709_164_800_001 })]);
  assert.match(combined[0] ?? '', /\[29\/Feb\/2024:00:00:00 \+0000\]/);
});

test('quotes, controls and anything beyond ASCII are escaped in both formats', async () => {
  const record = exampleRecord({
    target: '/a"b\\c\r\nd\u0000e',
    userAgent: 'x\u007f\u009b31m\u00fc\u2028\ud83d\ude00',
    referer: '" 200 0 "-" "-"\nforged',
  });
  const [json] = await lines('json', [record]);
  assert.deepEqual(JSON.parse(json ?? ''), expected(record));
  assert.match(json ?? '', /^[ -~]+$/);
  const [combined, ...more] = await lines('combined', [record]);
  assert.deepEqual(more, []);
  assert.match(
    combined ?? '',
    /"GET \/a\\x22b\\x5cc\\x0d\\x0ad\\x00e HTTP\/1\.1" .* "x\\x7f\\x9b31m\\xfc\\u2028\\ud83d\\ude00"$/,
  );
  assert.equal(combined?.match(/"/g)?.length, 6);
});

/** Short enough to stand uncut: a character outside the BMP takes 12 bytes. */
const odd = (maxLength: number) => fc.string({ unit: 'binary', maxLength });
const anyText = fc.oneof(
  odd(20),
  fc.string({ maxLength: 40 }),
  fc.constantFrom('"', '\\', '\n', '","status":999,"x":"', '\u2028'),
);
const anyRecord = fc
  .record({
    at: fc.integer({ min: 0, max: 4_000_000_000_000 }),
    id: odd(7),
    method: odd(3),
    host: anyText,
    target: anyText,
    address: odd(3),
    referer: fc.option(anyText),
    userAgent: fc.option(anyText),
    rule: fc.option(odd(10)),
    status: fc.integer({ min: 0, max: 599 }),
    bytesOut: fc.maxSafeNat(),
    totalMs: fc.integer({ min: 0, max: 100_000_000 }).map((micros) => micros / 1_000),
    connectMs: fc.option(fc.integer({ min: 0, max: 5_000_000 }).map((micros) => micros / 1_000)),
  })
  .map((changes) => exampleRecord({ bytesIn: changes.bytesOut, ...changes }));

test('whatever a visitor sends, a JSON line gives it back and is one line of printable ASCII', async () => {
  const records = fc.sample(anyRecord, 1_000);
  const written = await lines('json', records);
  assert.equal(written.length, records.length);
  records.forEach((record, i) => {
    const line = written[i] ?? '';
    assert.match(line, /^[ -~]+$/);
    assert.deepEqual(JSON.parse(line), expected(record));
  });
});

test('whatever a visitor sends, a combined line has its six quotes and nothing that breaks it', async () => {
  const records = fc.sample(anyRecord, 1_000);
  const written = await lines('combined', records);
  assert.equal(written.length, records.length);
  for (const line of written) {
    assert.match(line, /^[ -~]+$/);
    assert.match(line, /^[^"]*"[^"]*" \d+ \d+ "[^"]*" "[^"]*"$/);
  }
});

test('the longest line of all still fits, is valid, and shows that it was cut', async () => {
  for (const text of [
    '\u0000'.repeat(20_000),
    'a'.repeat(20_000),
    '\u0000a'.repeat(9_999),
    'a"'.repeat(9_999),
  ]) {
    const record = exampleRecord({
      id: text,
      method: text,
      host: text,
      target: text,
      address: text,
      referer: text,
      userAgent: text,
      domain: text,
      service: text,
      backend: text,
      rule: text,
      route: Number.MAX_SAFE_INTEGER,
      key: Number.MAX_SAFE_INTEGER,
      status: Number.MAX_SAFE_INTEGER,
      backendStatus: Number.MAX_SAFE_INTEGER,
      retries: Number.MAX_SAFE_INTEGER,
      bytesIn: Number.MAX_SAFE_INTEGER,
      bytesOut: Number.MAX_SAFE_INTEGER,
      queueMs: Number.MAX_SAFE_INTEGER,
      connectMs: Number.MAX_SAFE_INTEGER,
      firstByteMs: Number.MAX_SAFE_INTEGER,
      totalMs: Number.MAX_SAFE_INTEGER,
      cause: 'expectation_unknown',
      protocol: 'websocket',
      phase: 'response',
    });
    const [json] = await lines('json', [record]);
    assert.ok(
      (json?.length ?? MAX_LINE) < MAX_LINE - 8,
      `${json?.length} bytes: pieces are copied eight bytes at a time`,
    );
    assert.match(JSON.parse(json ?? '').target, /\.\.\.$/);
    const [combined] = await lines('combined', [record]);
    assert.ok((combined?.length ?? MAX_LINE) < MAX_LINE - 8);
  }
});

test('numbers that are none are written as 0', async () => {
  const record = exampleRecord({
    bytesIn: Number.NaN,
    bytesOut: -1,
    totalMs: Number.NaN,
    status: 200.7,
    at: Number.NaN,
  });
  const [line] = await lines('json', [record]);
  const { bytesIn, bytesOut, totalMs, status, time } = JSON.parse(line ?? '');
  assert.deepEqual([bytesIn, bytesOut, totalMs, status, time], [0, 0, 0, 200, '1970-01-01T00:00:00.000Z']);
});

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Log } from './log.ts';
import { createLog, type LogOptions } from './log-create.ts';
import { LineSink } from './log-destination.ts';

const folder = mkdtempSync(join(tmpdir(), 'kontrol-log-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

/** The lines that `speak` caused, as text. */
async function written(speak: (log: Log) => void, options: Partial<LogOptions> = {}): Promise<string[]> {
  const path = join(folder, `${files++}.log`);
  const sink = LineSink.toFile(path);
  speak(createLog({ level: 'debug', name: 'test', sink, ...options }));
  await sink.close();
  return readFileSync(path, 'utf8').split('\n').slice(0, -1);
}

async function parsed(speak: (log: Log) => void, options: Partial<LogOptions> = {}) {
  return (await written(speak, options)).map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a line carries time, level, name, pid, code, message and the fields', async () => {
  const [line] = await parsed((log) => log.info('node_ready', 'the node serves', { seq: 7 }), {
    fields: { node: 'a' },
  });
  assert.match(String(line?.['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(
    { ...line, time: null },
    {
      level: 'info',
      time: null,
      name: 'test',
      pid: process.pid,
      code: 'node_ready',
      node: 'a',
      seq: 7,
      msg: 'the node serves',
    },
  );
});

test('levels below the chosen one are silent', async () => {
  const lines = await parsed(
    (log) => {
      log.debug('a', '');
      log.info('b', '');
      log.warn('c', '');
      log.error('d', '');
    },
    { level: 'warn' },
  );
  assert.deepEqual(
    lines.map((line) => [line['level'], line['code']]),
    [
      ['warn', 'c'],
      ['error', 'd'],
    ],
  );
});

test('a child adds its fields to those of its parent', async () => {
  const [line] = await parsed((log) => log.child({ a: 1, b: 1 }).child({ b: 2 }).info('x', '', { c: 3 }));
  assert.deepEqual([line?.['a'], line?.['b'], line?.['c']], [1, 2, 3]);
});

test('an error under any name is told with its stack, code and cause', async () => {
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
  const [line] = await parsed((log) => log.error('x', '', { problem: new Error('failed', { cause }) }));
  const problem = line?.['problem'] as Record<string, Record<string, unknown>>;
  assert.equal(problem['message'], 'failed');
  assert.match(String(problem['stack']), /log-create\.test/);
  assert.equal(problem['cause']?.['code'], 'ECONNREFUSED');
});

test('no field can take the place of ours', async () => {
  const [line] = await written((log) =>
    log.info('real', 'real', { code: 'f', level: 'f', msg: 'f', time: 'f' }),
  );
  assert.equal(line?.match(/"(code|level|msg|time)":/g)?.length, 4);
  assert.equal(JSON.parse(line ?? '').code, 'real');
  assert.equal(JSON.parse(line ?? '').code_, 'f');
});

test('text of strangers cannot begin a line of its own', async () => {
  const lines = await parsed((log) => log.info('x', 'a\n{"code":"forged"}', { 'k\n': 'v\r\n\u0000' }));
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.['code'], 'x');
});

test('the password of a URL is nowhere on the line', async () => {
  const url = 'mongodb://user:pa55@host/db';
  const [line] = await written((log) =>
    log.child({ url }).error('x', `cannot reach ${url}`, { error: new Error(url), deep: { list: [url] } }),
  );
  assert.doesNotMatch(line ?? '', /pa55|user/);
  assert.match(line ?? '', /mongodb:\/\/\*\*\*@host/);
});

test('fields that throw, go in circles or are no JSON cost nothing but themselves', async () => {
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  const throwing = Object.defineProperty({}, 'x', {
    enumerable: true,
    get() {
      throw new Error('no');
    },
  });
  const lines = await parsed((log) => {
    log.info('circle', '', { circle });
    log.info('bigint', '', { big: 10n });
    log.info('getter', '', { throwing });
    log.info('own_getter', '', throwing);
  });
  assert.deepEqual(
    lines.map((line) => line['code']),
    ['circle', 'bigint', 'getter', 'own_getter'],
  );
});

test('a line that is too long is cut to valid JSON that says so', async () => {
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`field${i}`, 'ü'.repeat(100)]));
  const lines = await parsed((log) => {
    log.info('long_text', 'x'.repeat(100_000), { text: 'ü'.repeat(100_000), n: 1 });
    log.info('many_fields', 'short', many);
  });
  assert.deepEqual(
    lines.map((line) => [line['code'], line['truncated']]),
    [
      ['long_text', true],
      ['many_fields', true],
    ],
  );
  assert.equal(lines[0]?.['n'], 1);
  assert.equal(lines[1]?.['msg'], 'short');
});

test('an event that repeats itself is written so often a second, then counted', async () => {
  const path = join(folder, `${files++}.log`);
  const sink = LineSink.toFile(path);
  const log = createLog({ level: 'info', name: 'test', sink, perSecond: 3 });
  for (let i = 0; i < 10; i++) log.warn('same', 'again');
  log.warn('other', 'once');
  const linesSoFar = () => readFileSync(path, 'utf8').split('\n').slice(0, -1);
  const deadline = performance.now() + 10_000;
  while (!linesSoFar().some((line) => line.includes('"suppressed":7'))) {
    assert.ok(performance.now() < deadline, 'the summary never came');
    await new Promise((resolve) => setTimeout(resolve, 20));
    sink.flush();
  }
  await sink.close();
  const codes = linesSoFar().map((line) => JSON.parse(line).code);
  assert.deepEqual(codes, ['same', 'same', 'same', 'other', 'same']);
});

test('lines that were lost are told once there is room again', async () => {
  const path = join(folder, `${files++}.log`);
  const sink = LineSink.toFile(path);
  const log = createLog({ level: 'info', name: 'test', sink, perSecond: 1_000_000 });
  for (let i = 0; i < 2_000; i++) log.info('bulk', 'x'.repeat(1_000));
  const lost = sink.dropped;
  assert.ok(lost > 0);
  await sink.drain(10_000);
  log.info('later', 'there is room');
  await sink.close();
  const last = readFileSync(path, 'utf8')
    .split('\n')
    .slice(-3, -1)
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    last.map((line) => [line.code, line.count]),
    [
      ['later', undefined],
      ['log_lines_dropped', lost],
    ],
  );
});

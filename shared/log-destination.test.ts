import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LineSink } from './log-destination.ts';

const folder = mkdtempSync(join(tmpdir(), 'kontrol-log-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = () => join(folder, `${files++}.log`);
const linesOf = (path: string) => readFileSync(path, 'utf8').split('\n').slice(0, -1);
const openDescriptors = () => readdirSync('/proc/self/fd').length;

interface Writer {
  readonly child: ChildProcess;
  readonly stdout: Readable;
  readonly report: Promise<{ dropped: number }>;
  readonly ended: Promise<unknown>;
}

function start(what: string, count = 0): Writer {
  const path = fileURLToPath(new URL('./log-writer-for-test.js', import.meta.url));
  const child = fork(path, [what, String(count)], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  return {
    child,
    stdout: child.stdout as Readable,
    report: once(child, 'message').then(([message]) => message as { dropped: number }),
    ended: once(child, 'exit').then(([code]) => code),
  };
}

async function textOf(stream: Readable): Promise<string> {
  stream.setEncoding('utf8');
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

/** Parses every line, which also proves that none was torn. */
async function whole(stream: Readable): Promise<{ pid: number; i: number; length: number; text: string }[]> {
  const lines = (await textOf(stream)).split('\n');
  assert.equal(lines.pop(), '');
  return lines.map((line) => {
    const parsed = JSON.parse(line);
    assert.equal(parsed.text?.length, parsed.length);
    return parsed;
  });
}

test('lines reach a file in order, and close may be called twice', async () => {
  const path = newFile();
  const before = openDescriptors();
  const sink = LineSink.toFile(path);
  for (let i = 0; i < 1_000; i++) sink.write(`line ${i}\n`);
  await sink.close();
  await sink.close();
  assert.deepEqual(
    linesOf(path),
    Array.from({ length: 1_000 }, (_, i) => `line ${i}`),
  );
  assert.equal(sink.dropped, 0);
  assert.equal(openDescriptors(), before);
});

test('lines that are built in place stand between those written as text', async () => {
  const path = newFile();
  const sink = LineSink.toFile(path);
  sink.write('one\n');
  const at = sink.claim(100);
  sink.commit(at + sink.buffer.write('twö\n', at));
  sink.write('three\n');
  await sink.close();
  assert.deepEqual(linesOf(path), ['one', 'twö', 'three']);
});

test('a file is appended to, never cut', async () => {
  const path = newFile();
  for (const line of ['first', 'second']) {
    const sink = LineSink.toFile(path);
    sink.write(`${line}\n`);
    await sink.close();
  }
  assert.deepEqual(linesOf(path), ['first', 'second']);
});

test('a file that is renamed and opened again goes on under its name without losing a line', async () => {
  const path = newFile();
  const before = openDescriptors();
  const sink = LineSink.toFile(path);
  const expected: string[] = [];
  const add = (line: string) => {
    expected.push(line);
    sink.write(`${line}\n`);
  };
  for (let round = 0; round < 50; round++) {
    add(`${round} before`);
    await sink.drain();
    renameSync(path, `${path}.${round}`);
    // Another thread is writing this one when the file is opened again.
    add(`${round} under way`);
    sink.flush();
    sink.reopen();
    add(`${round} after`);
    await sink.drain();
    assert.equal(linesOf(path).at(-1), `${round} after`);
  }
  await sink.close();
  const rotated = Array.from({ length: 50 }, (_, round) => linesOf(`${path}.${round}`));
  assert.deepEqual([...rotated.flat(), ...linesOf(path)], expected);
  assert.equal(openDescriptors(), before);
});

test('a file that cannot be opened again goes on as it is, and that is told', async () => {
  const path = join(folder, 'sub.log');
  const told: (string | null)[] = [];
  const sink = LineSink.toFile(path, { onTrouble: (reason) => told.push(reason) });
  renameSync(path, `${path}.1`);
  mkdirSync(path);
  sink.reopen();
  sink.write('still here\n');
  await sink.close();
  assert.match(String(told[0]), /cannot open .* again \(EISDIR\)/);
  assert.deepEqual(linesOf(`${path}.1`), ['still here']);
});

test('a file in a folder that is not there throws when it is opened', () => {
  assert.throws(() => LineSink.toFile(join(folder, 'none', 'x.log')), { code: 'ENOENT' });
});

test('a full disk costs lines, which are counted and told once', async () => {
  assert.ok(existsSync('/dev/full'));
  const told: (string | null)[] = [];
  const sink = LineSink.toFile('/dev/full', { onTrouble: (reason) => told.push(reason) });
  for (let round = 0; round < 3; round++) {
    sink.write('lost\n');
    await sink.drain();
  }
  await sink.close();
  assert.equal(sink.dropped, 3);
  assert.equal(told.length, 1);
  assert.match(String(told[0]), /ENOSPC/);
});

test('more than the bound is dropped and counted while the rest is written', async () => {
  const path = newFile();
  const sink = LineSink.toFile(path);
  // Within one turn of the event loop nothing can be written away.
  for (let i = 0; i < 3_000; i++) sink.write(`${'x'.repeat(999)}\n`);
  assert.ok(sink.dropped > 1_500 && sink.dropped < 2_500, `${sink.dropped} dropped`);
  await sink.close(10_000);
  assert.equal(linesOf(path).length + sink.dropped, 3_000);
});

test('a line over the limit is dropped, one of just that length is written', async () => {
  const path = newFile();
  const sink = LineSink.toFile(path);
  sink.write(`${'a'.repeat(sink.lineLimit)}\n`);
  sink.write(`${'b'.repeat(sink.lineLimit - 1)}\n`);
  await sink.close();
  assert.equal(sink.dropped, 1);
  assert.equal(linesOf(path)[0]?.length, sink.lineLimit - 1);
});

test('two processes on one pipe tear no line, however slow its reader', async () => {
  const writer = start('pair', 400);
  await writer.report;
  const [[{ dropped }], lines] = await Promise.all([
    once(writer.child, 'message') as Promise<[{ dropped: number }]>,
    whole(writer.stdout),
  ]);
  assert.equal(await writer.ended, 0);
  assert.equal(lines.length + dropped, 800);
  assert.equal(new Set(lines.map((line) => line.pid)).size, 2);
});

test('a pipe that nobody reads neither blocks the process nor keeps it from ending', async () => {
  const writer = start('flood', 3_000);
  const { dropped } = await writer.report;
  assert.ok(dropped > 0);
  assert.equal(await writer.ended, 0);
});

test('a pipe whose reader is gone costs lines, not the process', async () => {
  const writer = start('gone', 100);
  writer.stdout.destroy();
  await once(writer.stdout, 'close');
  writer.child.send({});
  const { dropped } = await writer.report;
  assert.ok(dropped > 100, `${dropped} dropped`);
  assert.equal(await writer.ended, 0);
});

test('a stuck pipe that is read again goes on, and every line was either written or counted', async () => {
  const writer = start('resume', 3_000);
  assert.ok((await writer.report).dropped > 0);
  const text = textOf(writer.stdout);
  writer.child.send({});
  const [{ dropped }] = (await once(writer.child, 'message')) as [{ dropped: number }];
  const lines = (await text).split('\n').slice(0, -1);
  assert.equal(lines.at(-1), '{"last":true}');
  for (const line of lines) JSON.parse(line);
  assert.equal(lines.length - 1 + dropped, 3_000);
});

test('what was written just before process.exit is in the pipe', async () => {
  const writer = start('exit', 5);
  assert.equal((await whole(writer.stdout)).length, 5);
});

test('what was logged just before a crash is in the pipe', async () => {
  const writer = start('crash');
  const text = await textOf(writer.child.stderr as Readable);
  assert.match(text, /"code":"last_words"/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { progress } from './output.ts';

function stream(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, written, write: (text: string) => written.push(text) > 0 };
}

test('where there is no terminal a long wait says now and then what it is at, and nothing when it is over', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const log = stream(false);
  let live = 0;
  const done = progress(() => `waiting: ${live} live`, log);
  t.mock.timers.tick(14_000);
  assert.deepEqual(log.written, []);
  t.mock.timers.tick(1_000);
  live = 1;
  t.mock.timers.tick(15_000);
  assert.equal(log.written.length, 2);
  assert.match(log.written[0] ?? '', /^kontrol: waiting: 0 live \(.* so far\)\n$/);
  assert.match(log.written[1] ?? '', /waiting: 1 live/);
  done();
  t.mock.timers.tick(60_000);
  assert.equal(log.written.length, 2);
});

test('a terminal shows one line, anew when it changes, and clears it', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const terminal = stream(true);
  let text = 'none';
  const done = progress(() => text, terminal);
  t.mock.timers.tick(5_000);
  text = 'one';
  t.mock.timers.tick(5_000);
  done();
  t.mock.timers.tick(5_000);
  assert.deepEqual(terminal.written, ['none …', '\r\x1b[2Kone …', '\r\x1b[2K']);
});

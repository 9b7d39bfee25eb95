import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToServing } from '../link/messages.ts';
import { Outbox, type ToPrimary } from './link.ts';

function setup() {
  const sent: ToPrimary[] = [];
  const waiting: (() => void)[] = [];
  const outbox = new Outbox({
    send(message, done) {
      sent.push(message);
      waiting.push(done);
    },
  });
  /** Says that the message under way was taken, until none is. */
  const drain = () => {
    for (let done = waiting.shift(); done !== undefined; done = waiting.shift()) done();
  };
  const targets = () =>
    sent.map((message) => ('relay' in message ? Number('to' in message && message.to) : 0));
  return { outbox, sent, waiting, drain, targets };
}

const health: ToServing = { type: 'health', verdicts: [] };

test('the next message goes when the one before was taken', () => {
  const { outbox, sent, waiting } = setup();
  for (let i = 0; i < 5; i++) outbox.toServing(1, health);
  assert.equal(sent.length, 1);
  waiting.shift()?.();
  assert.equal(sent.length, 2);
});

test('a long load of one process does not hold up a change for another, nor a word to the primary', () => {
  const { outbox, sent, drain, targets } = setup();
  let made = 0;
  const load = (function* (): Generator<ToServing> {
    for (; made < 100; made++) yield { type: 'load', generation: made };
  })();
  outbox.toServing(1, load);
  outbox.toServing(1, health);
  outbox.toServing(2, health);
  outbox.toPrimary({ type: 'pong', n: 1 });
  assert.equal(made, 0, 'the load is made as it goes');
  drain();
  assert.deepEqual(targets().slice(0, 5), [1, 0, 1, 2, 1]);
  assert.equal(sent.length, 103);
  const last = sent.at(-1);
  assert.equal(
    last !== undefined && 'message' in last && last.message.type,
    'health',
    'in order within a process',
  );
});

test('a process that takes nothing is not waited for without end', () => {
  const { outbox, drain, sent } = setup();
  let accepted = 0;
  while (outbox.toServing(1, health)) accepted++;
  assert.ok(accepted <= 2_001, String(accepted));
  outbox.clear(1);
  assert.ok(outbox.toServing(1, health));
  drain();
  assert.equal(sent.length, 2);
});

test('closed, it sends nothing any more', () => {
  const { outbox, drain, sent } = setup();
  outbox.toServing(1, health);
  outbox.toServing(1, health);
  outbox.close();
  drain();
  outbox.toPrimary({ type: 'pong', n: 1 });
  assert.equal(sent.length, 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_MESSAGE_BYTES } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import type { InvalidAnswer, ToServing } from '../link/messages.ts';
import { InvalidAnswers } from './invalid-answers.ts';

function world() {
  const clock = new ManualClock(0);
  const said: Record<string, unknown>[] = [];
  const heard: InvalidAnswer[][] = [];
  const invalid = new InvalidAnswers({
    node: 'n1',
    clock,
    publish: (message) => said.push(message as Record<string, unknown>),
    broadcast: (message: ToServing) => {
      assert.equal(message.type, 'invalid');
      if (message.type === 'invalid') heard.push([...message.answers]);
    },
  });
  return { clock, said, heard, invalid };
}

test('what one process made invalid is said to the other nodes, in messages that the bus takes', () => {
  const { clock, said, invalid } = world();
  const answers = Array.from(
    { length: 200 },
    (_, i): InvalidAnswer => ['shop', `http://a/${'ü'.repeat(1_000)}${i}`],
  );
  // Of two processes.
  invalid.told(answers.slice(0, 120));
  invalid.told(answers.slice(100));
  assert.equal(said.length, 0);
  clock.advance(20);
  assert.ok(said.length > 1);
  for (const message of said) {
    assert.equal(message['ask'], 'invalid');
    assert.equal(message['from'], 'n1');
    assert.ok(Buffer.byteLength(JSON.stringify(message)) <= MAX_MESSAGE_BYTES);
  }
  assert.deepEqual(
    said.flatMap((message) => message['answers']),
    answers,
  );
  invalid.told([]);
  clock.advance(20);
  assert.ok(said.every((message) => (message['answers'] as unknown[]).length > 0));
});

test('what other nodes say reaches the serving processes together, each once; an own message comes to nothing', () => {
  const { clock, heard, invalid } = world();
  invalid.heard({ from: 'n1', answers: [['shop', 'http://a/own']] });
  invalid.heard({ from: 'n2', answers: [['shop', 'http://a/1']] });
  invalid.heard({
    from: 'n3',
    answers: [
      ['shop', 'http://a/1'],
      ['shop', 'http://a/2'],
    ],
  });
  assert.equal(heard.length, 0);
  clock.advance(20);
  assert.deepEqual(heard, [
    [
      ['shop', 'http://a/1'],
      ['shop', 'http://a/2'],
    ],
  ]);
  const many = Array.from({ length: 450 }, (_, i) => ['shop', `http://a/${i}`]);
  invalid.heard({ from: 'n2', answers: many });
  clock.advance(20);
  assert.deepEqual(
    heard.slice(1).map((answers) => answers.length),
    [200, 200, 50],
  );
});

test('garbage on the bus costs nothing', () => {
  const { clock, heard, invalid } = world();
  const odd = [null, 'x', [], ['shop'], ['shop', 7], [{}, 'http://a/'], ['shop', 'x'.repeat(100_000)]];
  for (const answers of [undefined, null, 7, {}, odd]) invalid.heard({ from: 'n2', answers });
  clock.advance(1_000);
  assert.equal(heard.length, 0);
});

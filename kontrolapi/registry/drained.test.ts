import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bus } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import { waitDrained } from './drained.ts';

/** A bus in memory; `asked` counts the questions, `answer` says something to whoever listens. */
function scriptedBus() {
  const handlers = new Set<(message: Readonly<Record<string, unknown>> | undefined) => void>();
  const it = { asked: [] as Record<string, unknown>[], handlers };
  const bus = {
    publish: (_channel: string, message: Record<string, unknown>) => it.asked.push(message),
    subscribe(_channel: string, handler: (message: Readonly<Record<string, unknown>> | undefined) => void) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
  } as unknown as Bus;
  const answer = (node: string, drained: unknown, id = it.asked[0]?.['id']) => {
    for (const handler of [...handlers]) handler({ id, node, drained });
  };
  return { ...it, bus, answer };
}

function wait(nodes: string[], timeoutMs = 30_000) {
  const clock = new ManualClock();
  const scripted = scriptedBus();
  const leaving = new AbortController();
  const question = { service: 'shop', address: '10.0.0.1:80', timeoutMs, nodes: () => nodes };
  const ended = waitDrained(scripted.bus, clock, question, leaving.signal);
  return { ...scripted, clock, leaving, ended };
}

test('it ends when every node has said so, and then listens to nobody any more', async () => {
  const { answer, ended, handlers, asked, clock } = wait(['n1', 'n2']);
  answer('n1', true);
  answer('n2', false);
  clock.advance(60);
  assert.equal(asked.length, 2);
  answer('n2', true);
  assert.deepEqual(await ended, []);
  assert.equal(handlers.size, 0);
  clock.advance(60_000);
  assert.equal(asked.length, 2);
});

test('a node that takes its word back is waited for again', async () => {
  const { answer, ended, clock } = wait(['n1', 'n2'], 1_000);
  answer('n1', true);
  answer('n1', false);
  answer('n2', true);
  clock.advance(1_000);
  assert.deepEqual(await ended, ['n1']);
});

test('answers to other questions, of strangers and garbage do not count', async () => {
  const { answer, ended, clock, handlers } = wait(['n1'], 1_000);
  answer('n1', true, 'another question');
  answer('stranger', true);
  answer('n1', 'true');
  for (const handler of [...handlers]) handler(undefined);
  clock.advance(1_000);
  assert.deepEqual(await ended, ['n1']);
});

test('a node that dies while it is waited for holds up nobody', async () => {
  const nodes = ['n1', 'n2'];
  const { answer, ended, clock } = wait(nodes);
  answer('n1', true);
  nodes.pop();
  clock.advance(1_000);
  assert.deepEqual(await ended, []);
});

test('without nodes there is nothing to wait for, and a client that leaves ends the wait', async () => {
  const none = wait([]);
  assert.deepEqual(await none.ended, []);
  assert.equal(none.asked.length, 0);
  const left = wait(['n1']);
  left.leaving.abort();
  assert.deepEqual(await left.ended, ['n1']);
  assert.equal(left.handlers.size, 0);
});

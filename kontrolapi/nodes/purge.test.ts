import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bus } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import { purgeEverywhere } from './purge.ts';

type Message = Readonly<Record<string, unknown>> | undefined;

function purge(nodes: readonly string[], path: string | null = '/a') {
  const clock = new ManualClock();
  const handlers = new Set<(message: Message) => void>();
  const asked: Record<string, unknown>[] = [];
  const bus = {
    publish: (_channel: string, message: Record<string, unknown>) => asked.push(message),
    subscribe(_channel: string, handler: (message: Message) => void) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
  } as unknown as Bus;
  const answer = (node: unknown, purged: unknown, complete: unknown = true, id = asked[0]?.['id']) => {
    for (const handler of [...handlers]) handler({ id, node, purged, complete });
  };
  const leaving = new AbortController();
  const question = { service: 'shop', path, timeoutMs: 5_000, nodes: () => nodes };
  const ended = purgeEverywhere(bus, clock, question, leaving.signal);
  return { clock, handlers, asked, answer, leaving, ended };
}

test('it ends when every node has said so, and adds up what they removed', async () => {
  const { asked, answer, ended, handlers, clock } = purge(['n1', 'n2']);
  answer('n1', 2);
  answer('n2', 3);
  const nodes = [
    { node: 'n1', purged: 2 },
    { node: 'n2', purged: 3 },
  ];
  assert.deepEqual(await ended, { purged: 5, nodes, pending: [] });
  assert.equal(handlers.size, 0);
  clock.advance(60_000);
  assert.equal(asked.length, 1);
  assert.equal(asked[0]?.['path'], '/a');
});

test('a node whose answer was lost, or not complete, is asked again, and it alone', async () => {
  const { asked, answer, ended, clock } = purge(['n1', 'n2', 'n3']);
  answer('n1', 1);
  answer('n2', 1, false);
  clock.advance(500);
  assert.deepEqual(
    asked.slice(1).map(({ node }) => node),
    ['n2', 'n3'],
  );
  answer('n2', 1);
  answer('n3', 0);
  assert.equal((await ended).purged, 3);
});

test('nodes that say nothing in time are pending', async () => {
  const { answer, ended, clock } = purge(['n1', 'n2'], null);
  answer('n1', 4);
  clock.advance(5_000);
  const { purged, pending } = await ended;
  assert.equal(purged, 4);
  assert.deepEqual(pending, ['n2']);
});

test('answers to other questions and garbage do not count', async () => {
  const { answer, ended, clock } = purge(['n1']);
  answer('n1', 9, true, 'another');
  answer('n1', '9');
  answer(7, 9);
  answer('stranger', 1);
  clock.advance(5_000);
  assert.deepEqual((await ended).pending, ['n1']);
});

test('without a node there is nobody to ask; a client that leaves ends it', async () => {
  const none = purge([]);
  assert.deepEqual((await none.ended).pending, []);
  assert.equal(none.asked.length, 0);
  const left = purge(['n1']);
  left.leaving.abort();
  assert.deepEqual((await left.ended).pending, ['n1']);
  assert.equal(left.handlers.size, 0);
});

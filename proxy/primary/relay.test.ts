import assert from 'node:assert/strict';
import test from 'node:test';
import type { Child } from './child.ts';
import { Relay } from './relay.ts';

function parties() {
  const make = (role: 'sync' | 'serving', id: number) => {
    const got: object[] = [];
    return { role, id, got, send: (message: object) => got.push(message) > 0 };
  };
  const sync = make('sync', 0);
  const serving = [make('serving', 1), make('serving', 2)];
  const forPrimary: unknown[] = [];
  const relay = new Relay(
    {
      get sync() {
        return sync as unknown as Child;
      },
      serving: () => serving as unknown as Child[],
      byId: (id) => serving.find((child) => child.id === id) as unknown as Child,
    },
    {
      fromServing: (child, message) => forPrimary.push([child.id, message]),
      fromSync: (message) => forPrimary.push(message),
    },
  );
  return { sync, one: serving[0]!, two: serving[1]!, relay, forPrimary };
}

const from = (child: { readonly id: number }) => child as unknown as Child;

test('what sync says to one process or to all arrives there, without its envelope', () => {
  const { sync, one, two, relay } = parties();
  const message = { type: 'no-table' };
  relay.receive(from(sync), { relay: 'to-serving', to: 2, message } as never);
  relay.receive(from(sync), { relay: 'to-serving', to: 9, message } as never);
  assert.deepEqual([one.got, two.got], [[], [message]]);
  relay.receive(from(sync), { relay: 'to-serving', to: 'all', message } as never);
  assert.deepEqual([one.got, two.got], [[message], [message, message]]);
});

test('what a serving process says goes to sync under its number, but for what is meant for the primary', () => {
  const { sync, two, relay, forPrimary } = parties();
  relay.receive(from(two), { type: 'hello', pid: 7 } as never);
  relay.receive(from(two), { type: 'pong', n: 1 } as never);
  assert.deepEqual(sync.got, [{ relay: 'from-serving', from: 2, message: { type: 'hello', pid: 7 } }]);
  assert.deepEqual(forPrimary, [[2, { type: 'pong', n: 1 }]]);
});

test('failed connects of one process are heard by the others and by sync', () => {
  const { sync, one, two, relay } = parties();
  const message = { type: 'failures', failures: [{ service: 's', address: 'a:1', count: 1 }] };
  relay.receive(from(one), message);
  assert.equal(sync.got.length, 1);
  assert.deepEqual([one.got, two.got], [[], [message]]);
});

test('stored answers that one process made invalid are heard by the others, and by sync for the other nodes', () => {
  const { sync, one, two, relay } = parties();
  const message = { type: 'invalid', answers: [['shop', 'http://a/']] };
  relay.receive(from(one), message);
  assert.deepEqual(sync.got, [{ relay: 'from-serving', from: 1, message }]);
  assert.deepEqual([one.got, two.got], [[], [message]]);
});

test('every serving process greets a new sync process', () => {
  const { one, two, relay } = parties();
  relay.greet();
  assert.deepEqual([one.got, two.got], [[{ type: 'greet' }], [{ type: 'greet' }]]);
});

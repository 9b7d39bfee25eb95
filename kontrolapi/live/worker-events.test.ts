import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { LiveDocument } from '../../shared/store/contract.ts';
import type { ApiContext } from '../context.ts';
import { EventHub } from './hub.ts';
import { WorkerEvents } from './worker-events.ts';

function members(service: string, v: number, ...states: readonly string[]): LiveDocument {
  const backends = states.map((state, n) => ({
    worker: `w${n}`,
    key: 1,
    address: `127.0.0.1:${4_000 + n}`,
    weight: 1,
    state,
    since: 0,
    name: '',
  }));
  return { _id: service, v, current: null, backends };
}

/** Watches a store whose lists are answered when `lists` says so. */
function watching() {
  const documents = new Map<string, LiveDocument>();
  const lists: ((documents: readonly LiveDocument[]) => void)[] = [];
  let hint: (message: object) => void = () => {};
  let connected: () => void = () => {};
  const live = {
    list: () => new Promise((resolve) => lists.push(resolve)),
    get: async (_: string, service: string) => documents.get(service) ?? null,
  };
  const bus = {
    subscribe: (_: string, handler: typeof hint) => {
      hint = handler;
      return () => {};
    },
    onConnected: (handler: typeof connected) => {
      connected = handler;
      return () => {};
    },
  };
  const context = { store: { live }, bus, clock: new ManualClock() } as unknown as ApiContext;
  const hub = new EventHub(silentLog);
  const told: string[] = [];
  hub.listen(({ service, state }) => void told.push(`${service} ${state}`));
  new WorkerEvents(context, hub).start();
  return {
    documents,
    told,
    hint: (service: string) => hint({ members: service }),
    reconnect: () => connected(),
    async list(answer: readonly LiveDocument[]) {
      lists.shift()?.(answer);
      await turn();
    },
  };
}

test('a list that is older than what a hint brought does not take a worker back to what it was', async () => {
  const { documents, told, hint, reconnect, list } = watching();
  await list([members('shop', 1, 'starting')]);
  reconnect();
  documents.set('shop', members('shop', 2, 'ready'));
  hint('shop');
  await turn();
  await list([members('shop', 1, 'starting')]);
  assert.deepEqual(told, ['shop ready']);
});

test('workers of a service whose members are gone when the bus comes back are told as gone', async () => {
  const { told, reconnect, list } = watching();
  await list([members('shop', 1, 'ready'), members('api', 1, 'ready')]);
  reconnect();
  await list([members('api', 1, 'ready')]);
  assert.deepEqual(told, ['shop gone']);
});

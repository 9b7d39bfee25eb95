import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { LiveDocument, Store } from '../../shared/store/contract.ts';
import { Leases } from './leases.ts';

const TIMES = { ttlMs: 15_000, exchangeMs: 2_000 };

/** The one collection that leases use, shared by several of them; `away` makes every call fail. */
function scriptedStore() {
  const documents = new Map<string, LiveDocument>();
  const state = { away: false };
  const answer = async <T>(make: () => T): Promise<T> => {
    if (state.away) throw new Error('away');
    return make();
  };
  const live = {
    put: (_collection: string, id: string, fields: object) =>
      answer(() => {
        documents.set(id, { ...structuredClone(fields), _id: id, v: (documents.get(id)?.v ?? 0) + 1 });
      }),
    list: () => answer(() => [...documents.values()]),
    delete: (_collection: string, id: string) => answer(() => documents.delete(id)),
  };
  return { store: { live } as unknown as Store, state, documents };
}

async function run(clock: ManualClock, seconds: number, each: () => Promise<unknown>): Promise<void> {
  for (let second = 0; second < seconds; second += 2) {
    clock.advance(2_000);
    await each().catch(() => {});
  }
}

test('a worker that stops beating is expired one lease later, one that beats is not', async () => {
  const clock = new ManualClock();
  const leases = new Leases(scriptedStore().store, clock, 'a', TIMES);
  await leases.exchange();
  leases.beat('silent');
  await run(clock, 20, async () => {
    leases.beat('alive');
    await leases.exchange();
  });
  assert.deepEqual(leases.expired(['silent', 'alive']), ['silent']);
});

test('beats that another process counts keep a worker alive here', async () => {
  const clock = new ManualClock();
  const { store } = scriptedStore();
  const here = new Leases(store, clock, 'a', TIMES);
  const there = new Leases(store, clock, 'b', TIMES);
  await here.exchange();
  await run(clock, 40, async () => {
    there.beat('w');
    await there.exchange();
    await here.exchange();
  });
  assert.deepEqual(here.expired(['w']), []);
});

test('a fresh process gives every worker a full lease after its first successful read', async () => {
  const clock = new ManualClock();
  const { store, state } = scriptedStore();
  const leases = new Leases(store, clock, 'a', TIMES);
  state.away = true;
  await run(clock, 60, () => leases.exchange());
  assert.deepEqual(leases.expired(['w']), []);
  state.away = false;
  await leases.exchange();
  assert.deepEqual(leases.expired(['w']), []);
  await run(clock, 14, () => leases.exchange());
  assert.deepEqual(leases.expired(['w']), []);
  await run(clock, 4, () => leases.exchange());
  assert.deepEqual(leases.expired(['w']), ['w']);
});

test('an outage of the store expires nobody, neither during it nor right after it', async () => {
  const clock = new ManualClock();
  const { store, state } = scriptedStore();
  const leases = new Leases(store, clock, 'a', TIMES);
  await leases.exchange();
  leases.beat('w');
  state.away = true;
  await run(clock, 120, () => leases.exchange());
  assert.deepEqual(leases.expired(['w']), []);
  state.away = false;
  await leases.exchange();
  assert.deepEqual(leases.expired(['w']), []);
});

test('a process that was stopped for a while expires nobody when it goes on', async () => {
  const clock = new ManualClock();
  const leases = new Leases(scriptedStore().store, clock, 'a', TIMES);
  await leases.exchange();
  leases.beat('w');
  clock.advance(60_000);
  assert.deepEqual(leases.expired(['w']), []);
  await leases.exchange();
  assert.deepEqual(leases.expired(['w']), []);
});

test('the counts of a process that started anew are a beat, though they are smaller', async () => {
  const clock = new ManualClock();
  const { store } = scriptedStore();
  const here = new Leases(store, clock, 'a', TIMES);
  const before = new Leases(store, clock, 'b', TIMES);
  for (let beat = 0; beat < 50; beat++) before.beat('w');
  await before.exchange();
  await here.exchange();
  await run(clock, 14, () => here.exchange());
  const after = new Leases(store, clock, 'b', TIMES);
  after.beat('w');
  await after.exchange();
  await here.exchange();
  await run(clock, 10, () => here.exchange());
  assert.deepEqual(here.expired(['w']), []);
});

test('a worker that another process has just registered has a full lease before its first beat is seen', async () => {
  const clock = new ManualClock();
  const leases = new Leases(scriptedStore().store, clock, 'a', TIMES);
  await run(clock, 60, () => leases.exchange());
  assert.deepEqual(leases.expired(['fresh']), []);
  await run(clock, 14, () => leases.exchange());
  assert.deepEqual(leases.expired(['fresh']), []);
  await run(clock, 2, () => leases.exchange());
  assert.deepEqual(leases.expired(['fresh']), ['fresh']);
});

test('the end of one process is no beat of the workers that it counted', async () => {
  const clock = new ManualClock();
  const { store, documents } = scriptedStore();
  const here = new Leases(store, clock, 'a', TIMES);
  for (const id of ['b', 'c']) {
    const other = new Leases(store, clock, id, TIMES);
    other.beat('w');
    await other.exchange();
  }
  await here.exchange();
  await run(clock, 14, () => here.exchange());
  documents.delete('c');
  await run(clock, 4, () => here.exchange());
  assert.deepEqual(here.expired(['w']), ['w']);
});

test('the document of a process that ended without a word is removed, that of a living one never', async () => {
  const clock = new ManualClock();
  const { store, documents } = scriptedStore();
  const here = new Leases(store, clock, 'here', TIMES);
  const idle = new Leases(store, clock, 'idle', TIMES);
  await new Leases(store, clock, 'dead', TIMES).exchange();
  await run(clock, 590, async () => {
    await idle.exchange();
    await here.exchange();
  });
  assert.deepEqual([...documents.keys()].sort(), ['dead', 'here', 'idle']);
  await run(clock, 20, async () => {
    await idle.exchange();
    await here.exchange();
  });
  assert.deepEqual([...documents.keys()].sort(), ['here', 'idle']);
});

test('documents that a hand has edited are read as far as they make sense', async () => {
  const clock = new ManualClock();
  const { store, documents } = scriptedStore();
  const here = new Leases(store, clock, 'a', TIMES);
  documents.set('b', { _id: 'b', v: 1, beats: { w: 'often', x: 3 }, orders: { w: 'dance', x: 'stop' } });
  documents.set('c', { _id: 'c', v: 1, beats: null, orders: [] });
  assert.deepEqual([...(await here.exchange())], [['x', 'stop']]);
  assert.equal(here.sinceBeat('x'), 0);
  assert.equal(here.sinceBeat('w'), null);
});

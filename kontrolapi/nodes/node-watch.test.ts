import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Bus } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import type { LiveDocument, Store } from '../../shared/store/contract.ts';
import { NodeWatch } from './node-watch.ts';

/** A watch over records and messages that a test writes. */
function watchOver() {
  const records = new Map<string, LiveDocument>();
  const clock = new ManualClock();
  let say: (message: Readonly<Record<string, unknown>> | undefined) => void = () => {};
  let reads = 0;
  const list = async () => {
    reads++;
    return [...records.values()];
  };
  const store = { live: { list } } as unknown as Store;
  const bus = {
    subscribe(_channel: string, handler: typeof say) {
      say = handler;
      return () => {};
    },
  } as unknown as Bus;
  const watch = new NodeWatch(store, bus, clock);
  const record = (name: string, seq: number, beat: number, hash = '') =>
    records.set(name, { _id: name, v: 1, seq, beat, hash });
  const waited = (seq: number, ...about: string[]) => {
    const subjects = about.map((name) => ({ kind: 'listener', name }));
    return watch.waitFor(seq, clock.monotonic(), 0, new AbortController().signal, subjects);
  };
  return {
    watch,
    clock,
    records,
    record,
    waited,
    reads: () => reads,
    say: (message: Record<string, unknown>) => say(message),
  };
}

test('a node lives while its beat changes, and is dead 15 s after it stopped', async () => {
  const { watch, clock, record } = watchOver();
  const live = async () => (await watch.list())[0]?.live;
  record('one', 1, 1);
  assert.equal(await live(), true);
  clock.advance(14_000);
  assert.equal(await live(), true);
  record('one', 1, 2);
  assert.equal(await live(), true);
  clock.advance(15_000);
  assert.equal(await live(), false);
  // However often the stale record is read.
  for (let minute = 0; minute < 10; minute++) {
    clock.advance(60_000);
    assert.equal(await live(), false);
  }
  record('one', 1, 3);
  assert.equal(await live(), true);
  watch.close();
});

test('a dead node is not waited for, a removed one neither', async () => {
  const { watch, clock, records, record, waited } = watchOver();
  record('dead', 1, 1);
  record('removed', 1, 1);
  await watch.list();
  clock.advance(20_000);
  record('removed', 1, 2);
  assert.deepEqual((await waited(2)).pending, ['removed']);
  records.delete('removed');
  assert.deepEqual(await waited(2), { nodes: [], pending: [], stopped: [], problems: [], complete: true });
  watch.close();
});

test('what a node said on the bus counts although its record lags, until that has lagged too long', async () => {
  const { watch, clock, record, waited, say } = watchOver();
  record('one', 4, 1);
  say({ node: 'one', seq: 7, hash: '', ms: 3 });
  record('one', 5, 2);
  assert.deepEqual((await waited(7)).pending, []);
  // The store was restored to an earlier revision.
  clock.advance(16_000);
  record('one', 5, 3);
  await watch.list();
  assert.deepEqual((await waited(7)).pending, ['one']);
  watch.close();
});

test('the wait ends with the last acknowledgement, by message, and tells the time each took', async () => {
  const { watch, clock, record, say } = watchOver();
  record('one', 0, 1);
  record('two', 0, 1);
  await watch.list();
  const waiting = watch.waitFor(1, clock.monotonic(), 10_000, new AbortController().signal);
  await new Promise(setImmediate);
  clock.advance(20);
  say({ node: 'one', seq: 1, hash: '', ms: 1 });
  clock.advance(30);
  say({ node: 'two', seq: 1, hash: '', ms: 1 });
  const { nodes, pending } = await waiting;
  assert.deepEqual(pending, []);
  assert.deepEqual(
    new Map(nodes.map(({ node, ms }) => [node, ms])),
    new Map([
      ['one', 20],
      ['two', 50],
    ]),
  );
  watch.close();
});

test('a node that could not load or open an object of the change does not serve it, and says why', async () => {
  const { watch, record, records, waited, say } = watchOver();
  const taken = { kind: 'listener', name: 'mysql', reason: 'the port is in use' };
  const named = (node: string) => ({ node, ...taken });
  record('one', 0, 1);
  record('two', 0, 1);
  await watch.list();
  say({ node: 'one', seq: 1, hash: '', ms: 1, quarantined: [{ ...taken, lastGood: false }] });
  say({ node: 'two', seq: 1, hash: '', ms: 1, quarantined: [] });
  const { nodes, pending, problems, complete } = await waited(1, 'mysql');
  assert.deepEqual(
    nodes.map(({ node }) => node),
    ['two'],
  );
  assert.deepEqual([pending, problems, complete], [[], [named('one')], true]);
  // A change of something else is none of its business.
  assert.deepEqual((await waited(1, 'redis')).problems, []);
  assert.equal((await waited(1, 'redis')).nodes.length, 2);
  // A record of before the change does not bring back what is repaired.
  say({ node: 'one', seq: 2, hash: '', ms: 1, quarantined: [] });
  records.set('one', { _id: 'one', v: 1, seq: 1, beat: 2, hash: '', quarantined: [taken] });
  assert.deepEqual((await waited(2, 'mysql')).problems, []);
  // Too many for a message, and what was said without a change: the record tells.
  say({ node: 'two', seq: 3, hash: '', ms: 1, quarantined: null });
  assert.deepEqual((await waited(3)).pending, ['one', 'two']);
  records.set('two', { _id: 'two', v: 1, seq: 3, beat: 2, hash: '', quarantined: [taken] });
  records.set('one', { _id: 'one', v: 1, seq: 2, beat: 3, hash: '', quarantined: [taken] });
  assert.deepEqual((await waited(2, 'mysql')).problems, [named('one'), named('two')]);
  // Whatever else comes is no problem of anybody.
  say({ node: 'one', seq: 4, hash: '', ms: 1, quarantined: [null, 7, { kind: 'listener' }] });
  assert.deepEqual((await waited(4, 'mysql')).problems, []);
  watch.close();
});

test('an acknowledgement that the bus lost is found in the record', async () => {
  const { watch, clock, record } = watchOver();
  record('one', 0, 1);
  await watch.list();
  const waiting = watch.waitFor(1, clock.monotonic(), 10_000, new AbortController().signal);
  await new Promise(setImmediate);
  record('one', 1, 2);
  clock.advance(250);
  assert.deepEqual(await waiting, {
    nodes: [{ node: 'one', ms: 250 }],
    pending: [],
    stopped: [],
    problems: [],
    complete: true,
  });
  watch.close();
});

test('a client that leaves ends its wait', async () => {
  const { watch, clock, record } = watchOver();
  record('one', 0, 1);
  const leaving = new AbortController();
  const waiting = watch.waitFor(1, clock.monotonic(), 10_000, leaving.signal);
  await new Promise(setImmediate);
  leaving.abort();
  assert.deepEqual((await waiting).pending, ['one']);
  watch.close();
});

test('right after the start a wait goes on until the first node shows itself, or to its end', async () => {
  const { watch, clock, record } = watchOver();
  const wait = () => watch.waitFor(1, clock.monotonic(), 1_000, new AbortController().signal);
  const first = wait();
  await new Promise(setImmediate);
  record('late', 1, 1);
  clock.advance(250);
  assert.deepEqual(await first, {
    nodes: [{ node: 'late', ms: 250 }],
    pending: [],
    stopped: [],
    problems: [],
    complete: true,
  });

  const alone = watchOver();
  const waiting = alone.watch.waitFor(1, 0, 1_000, new AbortController().signal);
  for (let turn = 0; turn < 4; turn++) {
    await new Promise(setImmediate);
    alone.clock.advance(250);
  }
  assert.deepEqual(await waiting, { nodes: [], pending: [], stopped: [], problems: [], complete: false });
  // Once it has had the time to hear of nodes, there are none.
  alone.clock.advance(10_000);
  assert.deepEqual(await alone.waited(1), {
    nodes: [],
    pending: [],
    stopped: [],
    problems: [],
    complete: true,
  });
  watch.close();
  alone.watch.close();
});

test('nodes that hold other objects at one revision, or are lost, are alarms until that is over', async () => {
  const { watch, clock, record, records } = watchOver();
  const alarms = async () => {
    await watch.list();
    return watch.alarms.map(({ alarm, about }) => `${alarm} ${about}`);
  };
  record('one', 7, 1, 'x');
  record('two', 7, 1, 'y');
  assert.deepEqual(await alarms(), []);
  clock.advance(2_000);
  assert.deepEqual(await alarms(), ['hash_mismatch revision 7']);
  record('two', 7, 2, 'x');
  assert.deepEqual(await alarms(), []);
  clock.advance(15_000);
  record('one', 7, 3, 'x');
  assert.deepEqual(await alarms(), ['node_lost two']);
  records.delete('two');
  assert.deepEqual(await alarms(), []);
  watch.close();
});

test('a node that ended in order, or is about to, is not waited for but named; one that was killed is waited for', async () => {
  const { watch, clock, records, waited } = watchOver();
  const write = (name: string, seq: number, beat: number, state: string) =>
    records.set(name, { _id: name, v: 1, seq, beat, hash: '', state });
  for (const name of ['kept', 'draining', 'ended', 'killed']) write(name, 1, 1, 'running');
  assert.deepEqual((await waited(2)).pending, ['kept', 'draining', 'ended', 'killed']);
  write('kept', 2, 2, 'running');
  write('draining', 1, 2, 'stopping');
  write('ended', 1, 2, 'stopped');
  const { nodes, pending, stopped, complete } = await waited(2);
  assert.deepEqual(
    [nodes.map(({ node }) => node), pending, stopped],
    [['kept'], ['killed'], ['draining', 'ended']],
  );
  assert.equal(complete, false);
  assert.deepEqual(
    (await watch.list()).map(({ name, live, state }) => [name, live, state]),
    [
      ['kept', true, 'running'],
      ['draining', true, 'stopping'],
      ['ended', false, 'stopped'],
      ['killed', true, 'running'],
    ],
  );
  // One that is about to end serves what it was told all the same.
  write('draining', 2, 3, 'stopping');
  assert.deepEqual((await waited(2)).nodes.length, 2);
  clock.advance(15_000);
  write('kept', 2, 3, 'running');
  assert.deepEqual(await waited(3), {
    nodes: [],
    pending: ['kept'],
    stopped: [],
    problems: [],
    complete: false,
  });
  // Whoever ended it in order needs no alarm.
  assert.deepEqual(
    watch.alarms.map(({ about }) => about),
    ['draining', 'killed'],
  );
  // It is started again.
  write('ended', 1, 3, 'running');
  assert.deepEqual((await waited(3)).pending, ['kept', 'ended']);
  watch.close();
});

test('right after the start a node that ended in order does not stand for all: it may have been started again', async () => {
  const { watch, clock, records, waited } = watchOver();
  records.set('one', { _id: 'one', v: 1, seq: 1, beat: 1, hash: '', state: 'stopped' });
  assert.equal((await waited(2)).complete, false);
  clock.advance(10_000);
  assert.equal((await waited(2)).complete, true);
  watch.close();
});

test('however many wait for a node, its record is read a few times a second', async () => {
  const { watch, clock, record, reads } = watchOver();
  record('one', 1, 1);
  const { signal } = new AbortController();
  const waiting = Array.from({ length: 50 }, () => watch.waitFor(2, 0, 1_000, signal));
  await turn();
  const first = reads();
  for (let step = 0; step < 4; step++) {
    clock.advance(250);
    await turn();
  }
  assert.deepEqual(
    (await Promise.all(waiting)).map(({ pending }) => pending.length),
    Array(50).fill(1),
  );
  assert.ok(reads() - first <= 4, `${reads() - first} reads`);
  watch.close();
});

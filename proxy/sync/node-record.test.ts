import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import type { NodeRecord } from '../../shared/model/live.ts';
import type { LiveStore } from '../../shared/store/contract.ts';
import { NodeReporter } from './node-record.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('what changes while a record is being written is said soon after, not with the next beat', async () => {
  const clock = new ManualClock();
  const written: number[] = [];
  let seq = 1;
  let finish = () => {};
  const live = {
    get: () => Promise.resolve(null),
    put: (_collection: string, _id: string, fields: { seq: number }) => {
      written.push(fields.seq);
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    },
  } as unknown as LiveStore;
  const reporter = new NodeReporter(
    clock,
    silentLog,
    () => live,
    () => ({ _id: 'edge', seq }) as unknown as NodeRecord,
  );
  reporter.start();
  clock.advance(0);
  assert.deepEqual(written, [1]);
  seq = 2;
  reporter.touch();
  clock.advance(1_000);
  assert.deepEqual(written, [1], 'one write at a time');
  finish();
  await turn();
  clock.advance(250);
  await turn();
  assert.deepEqual(written, [1, 2]);
  finish();
  await reporter.close();
});

/** A store that holds one record, and nodes that write it. */
function nodes() {
  const clock = new ManualClock();
  const told: string[] = [];
  let record: { beat: number } | null = null;
  const live = {
    get: () => Promise.resolve(record),
    put: (_collection: string, _id: string, fields: { beat: number }) => {
      record = { ...fields };
      return Promise.resolve();
    },
  } as unknown as LiveStore;
  const log: Log = { ...silentLog, error: (code) => told.push(code) };
  return {
    told,
    start: () => {
      const reporter = new NodeReporter(
        clock,
        log,
        () => live,
        () => ({ _id: 'edge' }) as unknown as NodeRecord,
      );
      reporter.start();
      return reporter;
    },
    async pass(seconds: number) {
      for (let n = 0; n < seconds * 4; n++) {
        clock.advance(250);
        await turn();
      }
    },
  };
}

test('two nodes of one name: both say so, once', async () => {
  const world = nodes();
  const first = world.start();
  await world.pass(1);
  const second = world.start();
  await world.pass(60);
  assert.deepEqual(world.told, ['node_name_taken', 'node_name_taken']);
  await second.close();
  await world.pass(60);
  const third = world.start();
  await world.pass(60);
  assert.equal(world.told.length, 4, 'and again when it happens again');
  await first.close();
  await third.close();
});

test('a node whose sync process is replaced, again and again, is alone', async () => {
  const world = nodes();
  let current = world.start();
  for (let n = 0; n < 10; n++) {
    await world.pass(20);
    const next = world.start();
    await world.pass(5);
    await current.close();
    current = next;
  }
  await world.pass(60);
  await current.close();
  assert.deepEqual(world.told, []);
});

test('a node that ends in order says so last, unless another one of its name has begun; one that is replaced does not', async () => {
  const clock = new ManualClock();
  let record: Record<string, unknown> | null = null;
  const live = {
    get: () => Promise.resolve(record),
    put: (_collection: string, _id: string, fields: object) => {
      record = { ...fields, _id, v: Number(record?.['v'] ?? 0) + 1 };
      return Promise.resolve();
    },
    replace: (_collection: string, _id: string, expected: number, fields: object) => {
      if (record?.['v'] !== expected) return Promise.resolve(false);
      record = { ...fields, _id, v: expected + 1 };
      return Promise.resolve(true);
    },
  } as unknown as LiveStore;
  const start = () => {
    clock.advance(10);
    const said = { _id: 'edge', state: 'running', ready: true };
    const reporter = new NodeReporter(
      clock,
      silentLog,
      () => live,
      () => ({ ...said }) as unknown as NodeRecord,
    );
    reporter.start();
    clock.advance(0);
    return { said, reporter };
  };
  const seen = () => [record?.['state'], record?.['ready']];
  const replaced = start();
  await turn();
  await replaced.reporter.close();
  assert.deepEqual(seen(), ['running', true]);
  const ending = start();
  await turn();
  const beat = Number((record as unknown as { beat: number }).beat);
  ending.said.state = 'stopped';
  await ending.reporter.close();
  assert.deepEqual(seen(), ['stopped', false]);
  assert.ok(Number((record as unknown as { beat: number }).beat) > beat, 'the last word is news');
  const late = start();
  await turn();
  assert.deepEqual(seen(), ['running', true]);
  start();
  await turn();
  late.said.state = 'stopped';
  await late.reporter.close();
  assert.deepEqual(seen(), ['running', true], 'the other one runs');
  record = null;
  ending.said.state = 'stopped';
  await ending.reporter.close();
  assert.equal(record, null, 'what was forgotten does not come back');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
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
    put: (_collection: string, _id: string, fields: { seq: number }) => {
      written.push(fields.seq);
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    },
  } as unknown as LiveStore;
  const reporter = new NodeReporter(
    clock,
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
  assert.deepEqual(written, [1, 2]);
  finish();
  await reporter.close();
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bucketOf } from './histogram.ts';
import { LoopDelay } from './loop-delay.ts';

const MS = 1e6;

function sampled(count: number, percentiles: [number, number][]) {
  let ended = false;
  return {
    count,
    percentiles: new Map(percentiles),
    reset() {
      this.count = 0;
      this.percentiles = new Map([[100, 0]]);
    },
    disable() {
      ended = true;
      return true;
    },
    get ended() {
      return ended;
    },
  };
}

test('samples are counted once, by how much later than their interval they came', () => {
  const source = sampled(100, [
    [0, 20 * MS],
    [50, 20.4 * MS],
    [75, 22 * MS],
    [99, 30 * MS],
    [100, 120 * MS],
  ]);
  const delay = new LoopDelay(source);
  const wanted = [
    [bucketOf(0.4), 50],
    [bucketOf(2), 25],
    [bucketOf(10), 24],
    [bucketOf(100), 1],
  ].flat();
  assert.deepEqual(delay.totals(), wanted);
  assert.deepEqual(delay.totals(), wanted, 'nothing came since');
  source.count = 1;
  source.percentiles = new Map([
    [0, 120 * MS],
    [100, 120 * MS],
  ]);
  assert.deepEqual(delay.totals().slice(-2), [bucketOf(100), 2]);
  delay.close();
  assert.equal(source.ended, true);
});

test('a process that was held up has a sample as long as that', async () => {
  const delay = new LoopDelay();
  await new Promise((resolve) => setTimeout(resolve, 60));
  const end = performance.now() + 300;
  while (performance.now() < end);
  let pairs: number[] = [];
  do {
    await new Promise((resolve) => setTimeout(resolve, 20));
    pairs = delay.totals();
  } while (pairs.length === 0);
  delay.close();
  const [bucket, count] = pairs.slice(-2) as [number, number];
  assert.ok(bucket >= bucketOf(200), `the longest is in bucket ${bucket}`);
  assert.ok(count >= 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { type Invalidation, Invalidations } from './invalidations.ts';

function world() {
  const clock = new ManualClock(0);
  const told: (readonly Invalidation[])[] = [];
  return { clock, told, invalidations: new Invalidations(clock, (invalid) => told.push(invalid)) };
}

test('the first is told at once, and what follows together after a pause', () => {
  const { clock, told, invalidations } = world();
  invalidations.add('shop', 'http://a/1');
  assert.equal(told.length, 0);
  clock.advance(0);
  assert.deepEqual(told, [[['shop', 'http://a/1']]]);
  for (let i = 0; i < 10; i++) invalidations.add('shop', `http://a/${i % 3}`);
  clock.advance(19);
  assert.equal(told.length, 1);
  clock.advance(1);
  assert.equal(told.length, 2);
  assert.equal(told[1]?.length, 3);
  clock.advance(1_000);
  assert.equal(told.length, 2);
});

test('every one is told, however many come at once, in messages of a bounded size', () => {
  const { clock, told, invalidations } = world();
  for (let i = 0; i < 1_001; i++) invalidations.add('shop', `http://a/${i}`);
  clock.advance(0);
  assert.ok(told.every((invalid) => invalid.length <= 200));
  assert.equal(new Set(told.flat().map(([, uri]) => uri)).size, 1_001);
  invalidations.add('shop', 'http://a/later');
  clock.advance(20);
  assert.deepEqual(told.at(-1), [['shop', 'http://a/later']]);
});

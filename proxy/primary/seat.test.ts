import assert from 'node:assert/strict';
import test from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { Child } from './child.ts';
import { Seat, STEADY_MS } from './seat.ts';

function seatWith(clock = new ManualClock()) {
  const started: { age: number }[] = [];
  const seat = new Seat(() => {
    const child = { age: 0 };
    started.push(child);
    return child as Child;
  }, clock);
  seat.start();
  return { seat, started, clock };
}

test('a first death is repaired at once, further ones after ever longer, at most 10 s', () => {
  const { seat, started, clock } = seatWith();
  const delays: (number | null)[] = [];
  for (let death = 0; death < 12; death++) {
    const delay = seat.gone(seat.current as Child);
    delays.push(delay);
    assert.equal(seat.current === null, delay !== 0);
    clock.advance(delay ?? 0);
    assert.equal(started.length, death + 2);
  }
  assert.deepEqual(delays.slice(0, 4), [0, 100, 200, 400]);
  assert.equal(delays.at(-1), 10_000);
});

test('a process that lived long is replaced at once, whatever happened before it', () => {
  const { seat, clock } = seatWith();
  seat.gone(seat.current as Child);
  assert.equal(seat.gone(seat.current as Child), 100);
  clock.advance(100);
  (seat.current as unknown as { age: number }).age = STEADY_MS;
  assert.equal(seat.gone(seat.current as Child), 0);
});

test('a replacement takes over when it is ready, and says whom it relieves', async () => {
  const { seat, started } = seatWith();
  const old = seat.current;
  const replaced = seat.replace();
  assert.equal(seat.current, old);
  assert.equal(seat.ready(started[1] as unknown as Child), old);
  assert.equal(await replaced, true);
  assert.equal(seat.current, started[1]);
});

test('a replacement that dies before it is ready leaves the old process in place', async () => {
  const { seat, started } = seatWith();
  const old = seat.current;
  const replaced = seat.replace();
  assert.equal(seat.gone(started[1] as unknown as Child), null);
  assert.equal(await replaced, false);
  assert.equal(seat.current, old);
});

test('when the old process dies during its replacement, the new one sits down at once', async () => {
  const { seat, started } = seatWith();
  const replaced = seat.replace();
  seat.gone(started[0] as unknown as Child);
  assert.equal(await replaced, true);
  assert.equal(seat.current, started[1]);
  assert.equal(started.length, 2);
});

test('a closed seat starts nobody any more', () => {
  const { seat, started, clock } = seatWith();
  seat.gone(seat.current as Child);
  seat.gone(seat.current as Child);
  seat.close();
  clock.advance(60_000);
  assert.equal(started.length, 2);
});

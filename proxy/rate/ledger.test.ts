import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Ledger, SLOTS } from './ledger.ts';

const ONE = { waiting: 1, extra: 0, debt: 0 };

test('beside an exact log: never more in a window than the limit, and a place is free a 32nd late at most', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.constantFrom(1_000, 60_000, 333),
      fc.array(fc.nat(400), { minLength: 10, maxLength: 300 }),
      (limit, periodMs, gaps) => {
        const ledger = new Ledger(10);
        const passed: number[] = [];
        let now = 1_000_000;
        for (const gap of gaps) {
          now += gap;
          const { granted, resetMs } = ledger.take('k', limit, periodMs, ONE, now, 1);
          const within = (ms: number) => passed.filter((at) => at > now - ms).length;
          if (granted === 1) assert.ok(within(periodMs) < limit);
          else {
            assert.ok(within(periodMs * (1 + 1 / SLOTS) + 1) >= limit);
            assert.ok(resetMs > 0 && resetMs <= periodMs * (1 + 1 / SLOTS) + 1);
          }
          if (granted === 1) passed.push(now);
        }
      },
    ),
  );
});

test('a place comes free when it was said to', () => {
  const ledger = new Ledger(10);
  for (let i = 0; i < 3; i++) ledger.take('k', 3, 60_000, ONE, 5_000 + i * 10_000, 1);
  const { granted, resetMs } = ledger.take('k', 3, 60_000, ONE, 30_000, 1);
  assert.equal(granted, 0);
  assert.equal(ledger.take('k', 3, 60_000, ONE, 30_000 + resetMs - 1, 1).granted, 0);
  assert.equal(ledger.take('k', 3, 60_000, ONE, 30_000 + resetMs, 1).granted, 1);
});

test('what is given back is free at once, what passed without asking counts', () => {
  const ledger = new Ledger(10);
  const { granted, slot } = ledger.take('k', 100, 60_000, { waiting: 1, extra: 50, debt: 10 }, 0, 20);
  // A twentieth of the 89 that are left, beside the one that waits.
  assert.equal(granted, 5);
  ledger.giveBack('k', slot, 3);
  assert.equal(ledger.take('k', 100, 60_000, { waiting: 100, extra: 0, debt: 0 }, 0, 20).granted, 88);
  ledger.giveBack('k', slot, 1_000);
  assert.equal(ledger.take('k', 100, 60_000, { waiting: 200, extra: 0, debt: 0 }, 0, 20).granted, 100);
});

test('a million addresses: memory stays bounded, those at their limit are remembered, newcomers are let in', () => {
  const ledger = new Ledger(20_000);
  const attackers = Array.from({ length: 100 }, (_, i) => `attacker ${i}`);
  for (const key of attackers) ledger.take(key, 10, 3_600_000, { ...ONE, waiting: 10 }, 0, 1);
  let refused = 0;
  for (let i = 0; i < 1_000_000; i++)
    if (ledger.take(`address ${i}`, 10, 3_600_000, ONE, i / 100, 1).granted !== 1) refused++;
  assert.equal(refused, 0);
  assert.equal(ledger.size, 20_000);
  const open = attackers.filter((key) => ledger.take(key, 10, 3_600_000, ONE, 10_000, 1).granted > 0);
  assert.deepEqual(open, []);
});

test('keys whose window is over are forgotten', () => {
  const ledger = new Ledger(1_000);
  for (let i = 0; i < 500; i++) ledger.take(`k${i}`, 5, 1_000, ONE, 0, 1);
  ledger.sweep(500, 5_000);
  assert.equal(ledger.size, 500);
  ledger.sweep(2_000, 20_000);
  assert.equal(ledger.size, 0);
});

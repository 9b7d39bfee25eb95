/** The order that is kept says what looking at each backend would, whatever happens to loads and lists. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Backend } from '../upstream/contract.ts';
import { NotedLoad } from '../upstream/noted-load.ts';
import { LeastConnections } from './least-connections.ts';
import { LoadChanges, REMEMBERED } from './load-changes.ts';
import { FEW, LoadOrder } from './load-order.ts';
import { requestLoad } from './policy.ts';

class Noted extends NotedLoad implements Backend {
  readonly service = 'shop';
  readonly address: string;
  readonly weight: number;
  readonly ramp = 1;
  readonly tier = 0;
  readonly state = 'ready';
  readonly since = 0;
  readonly alive = true;

  constructor(changes: LoadChanges, address: string, weight = 1) {
    super(changes);
    this.address = address;
    this.weight = weight;
  }
}

function backends(changes: LoadChanges, weights: readonly number[]): Noted[] {
  return weights.map((weight, index) => new Noted(changes, `10.0.0.${index}:80`, weight));
}

/** Of equals the first from `start` on. */
function leastOf(candidates: readonly Backend[], start: number): number {
  let best = start;
  for (let step = 1; step < candidates.length; step++) {
    const index = (start + step) % candidates.length;
    const [one, other] = [candidates[best]!, candidates[index]!];
    if (other.active * one.weight < one.active * other.weight) best = index;
  }
  return best;
}

/** An order that keeps this list; it takes two looks to begin. */
function orderOf(changes: LoadChanges, candidates: readonly Backend[]): LoadOrder {
  const order = new LoadOrder(requestLoad, changes);
  assert.equal(order.keeps(candidates), false);
  assert.equal(order.keeps(candidates), true);
  return order;
}

describe('the order of loads', () => {
  test('is that of the loads now, by weight, however many change between two questions', () => {
    const change = fc.record({
      index: fc.nat(1_000),
      active: fc.integer({ min: 0, max: 4 }),
      repeat: fc.constantFrom(1, 1, 1, 30, REMEMBERED, REMEMBERED + 1),
      start: fc.nat(1_000),
    });
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: FEW, maxLength: 90 }),
        fc.array(change, { minLength: 1, maxLength: 40 }),
        (weights, steps) => {
          const changes = new LoadChanges();
          const set = backends(changes, weights);
          for (const one of set) one.active = 2;
          const order = orderOf(changes, set);
          for (const { index, active, repeat, start } of steps) {
            for (let turn = 0; turn < repeat; turn++) set[(index + turn) % set.length]!.active = active;
            assert.equal(order.keeps(set), true);
            const from = start % set.length;
            assert.equal(order.leastFrom(from), leastOf(set, from));
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test('is that of the loads now, also of one that changed before more than is remembered', () => {
    const changes = new LoadChanges();
    const set = backends(changes, Array(FEW).fill(1));
    for (const one of set) one.active = 2;
    const order = orderOf(changes, set);
    set[5]!.active = 1;
    for (let turn = 0; turn < REMEMBERED; turn++) set[7]!.active = 2 + (turn % 2);
    assert.equal(order.keeps(set), true);
    assert.equal(order.leastFrom(0), 5);
  });

  test('knows nothing of lists that are asked for once, and keeps the one it has meanwhile', () => {
    const changes = new LoadChanges();
    const set = backends(changes, Array(FEW).fill(1));
    const order = orderOf(changes, set);
    set[3]!.active = 1;
    assert.equal(order.keeps(set.slice(1)), false);
    assert.equal(order.keeps(backends(changes, [1, 1])), false);
    assert.equal(order.keeps(set), true);
    assert.equal(order.leastFrom(3), 4);
  });

  test('holds when a slot has another owner, and with backends that came later', () => {
    const changes = new LoadChanges();
    const gone = new Noted(changes, '10.9.9.9:80');
    changes.giveSlot(gone.slot);
    const set = backends(changes, Array(FEW).fill(1));
    assert.equal(set[0]!.slot, gone.slot);
    const order = orderOf(changes, set);
    gone.active = 7;
    assert.equal(order.keeps(set), true);
    assert.equal(order.leastFrom(0), 0);
    new Noted(changes, '10.8.8.8:80').active = 1;
    set[0]!.active = 1;
    assert.equal(order.keeps(set), true);
    assert.equal(order.leastFrom(0), 1);
  });

  test('is not kept of a list that names one backend twice', () => {
    const changes = new LoadChanges();
    const set = backends(changes, Array(FEW).fill(1));
    const order = new LoadOrder(requestLoad, changes);
    const twice = [...set, set[0]!];
    for (let look = 0; look < 4; look++) assert.equal(order.keeps(twice), false);
  });
});

test('least connections picks the same with and without the order, over lists that change', () => {
  const step = fc.record({
    picks: fc.integer({ min: 1, max: 12 }),
    ends: fc.nat(12),
    list: fc.constantFrom('all', 'all', 'all', 'fewer', 'copy'),
  });
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 40, maxLength: 60 }),
      fc.array(step, { maxLength: 30 }),
      (weights, steps) => {
        const changes = new LoadChanges();
        const all = backends(changes, weights);
        const lists = { all, fewer: all.filter((_, index) => index % 3 > 0), copy: [...all] };
        const options = { load: requestLoad, random: () => 0.5, hash: { by: 'ip', boundedLoad: 0 } };
        const kept = new LeastConnections({ ...options, changes });
        const looked = new LeastConnections({ ...options, changes: null });
        const open: Noted[] = [];
        for (const { picks, ends, list } of steps) {
          for (let turn = 0; turn < picks; turn++) {
            const picked = kept.pick(lists[list]);
            assert.equal(picked, looked.pick(lists[list]));
            picked!.active++;
            open.push(picked!);
          }
          for (const one of open.splice(0, ends)) one.active--;
        }
      },
    ),
    { numRuns: 100 },
  );
});

/** One suite for all policies: how requests are shared, and what a backend that leaves, drains or returns changes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BALANCE_POLICIES, type BalancePolicy } from '../../shared/model/service.ts';
import type { Backend, PickRequest } from '../upstream/contract.ts';
import { candidatesOf } from './candidates.ts';
import { createPolicy } from './create-policy.ts';
import { type Policy, requestLoad } from './policy.ts';

type Mutable = { -readonly [field in keyof Backend]: Backend[field] };

const PICKS = 10_000;

function backends(weights: readonly number[]): Mutable[] {
  return weights.map((weight, index) => ({
    service: 'shop',
    address: `10.0.0.${index}:80`,
    weight,
    ramp: 1,
    tier: 0,
    state: 'ready',
    since: index,
    slot: index,
    active: 0,
    tunnels: 0,
    alive: true,
  }));
}

function visitor(number: number): PickRequest {
  return {
    address: `192.${number >> 16}.${(number >> 8) & 255}.${number & 255}`,
    target: '/',
    header: () => undefined,
  };
}

/** Seeded (Park and Miller). */
function random(): () => number {
  let state = 20_261;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

const policy = (name: BalancePolicy, boundedLoad = 0): Policy =>
  createPolicy(name, { load: requestLoad, changes: null, random: random(), hash: { by: 'ip', boundedLoad } });

/** How often each was picked; each request stays open for `held` more. */
function counts(it: Policy, candidates: readonly Mutable[], picks = PICKS, held = 20): Map<Backend, number> {
  const all = new Map<Backend, number>(candidates.map((candidate) => [candidate, 0]));
  const open: Mutable[] = [];
  for (let number = 0; number < picks; number++) {
    const picked = it.pick(candidates, visitor(number));
    assert.ok(picked !== null && all.has(picked));
    all.set(picked, (all.get(picked) ?? 0) + 1);
    picked.active++;
    open.push(picked);
    if (open.length > held) (open.shift() as Mutable).active--;
  }
  for (const candidate of open) candidate.active--;
  return all;
}

/** Share of requests by which a backend may miss its share: nothing but rounding where turns are taken. */
const EXACT = 0.01;
const DRAWN = 0.03;
const SPREADING: Partial<Record<BalancePolicy, number>> = {
  'round-robin': EXACT,
  'weighted-round-robin': EXACT,
  'least-connections': EXACT,
  random: DRAWN,
  'two-choices': DRAWN,
  rendezvous: DRAWN,
  'source-hash': DRAWN,
};
const WEIGHS = (name: BalancePolicy) => name !== 'round-robin';

for (const name of BALANCE_POLICIES) {
  describe(`policy ${name}`, () => {
    test('picks nothing of nobody, the one of one, and starves nobody it means to use', () => {
      const it = policy(name);
      assert.equal(it.pick([], visitor(1)), null);
      const [only] = backends([1]);
      assert.equal(it.pick([only as Mutable], visitor(1)), only);
      assert.equal(it.pick([], visitor(1)), null);
      if (!(name in SPREADING)) return;
      const all = counts(policy(name), backends([1, 1, 1, 1, 1, 1, 1]));
      assert.ok(Math.min(...all.values()) > PICKS / 7 / 2, `${[...all.values()]}`);
    });

    test('a drained, weightless or dead one gets nothing new from the very next request on', () => {
      const changes: ((backend: Mutable) => void)[] = [
        (backend) => {
          backend.state = 'drain';
        },
        (backend) => {
          backend.weight = 0;
        },
        (backend) => {
          backend.alive = false;
        },
      ];
      for (const change of changes) {
        const set = backends([1, 2, 1, 1]);
        const it = policy(name);
        counts(it, set, 100);
        // The one that the policy likes best now.
        const picked = it.pick(set, visitor(7)) as Mutable;
        change(picked);
        const left = candidatesOf(set);
        assert.ok(!left.includes(picked));
        assert.ok(!counts(it, left, 500).has(picked));
      }
    });
  });
}

for (const [name, tolerance] of Object.entries(SPREADING) as [BalancePolicy, number][]) {
  test(`${name}: fair within ${tolerance * 100} % over ${PICKS} requests, by weight`, () => {
    const weights = WEIGHS(name) ? [1, 2, 3, 4] : [1, 1, 1, 1];
    const sum = weights.reduce((a, b) => a + b);
    // Least connections and two choices give weights their due when there is enough under way to compare.
    const all = [...counts(policy(name), backends(weights), PICKS, 100).values()];
    weights.forEach((weight, index) => {
      const missed = Math.abs((all[index] ?? 0) / PICKS - weight / sum);
      assert.ok(missed <= tolerance, `${name}: ${all}`);
    });
  });

  test(`${name}: the share of one that leaves goes to all the others`, () => {
    const set = backends([1, 1, 1, 1, 1]);
    const it = policy(name);
    counts(it, set, 1_000);
    const left = set.filter((_, index) => index !== 2);
    const all = counts(it, left);
    for (const count of all.values())
      assert.ok(Math.abs(count / PICKS - 0.25) <= tolerance + 0.01, `${[...all.values()]}`);
  });
}

for (const name of ['rendezvous', 'source-hash'] as const) {
  test(`${name}: only the visitors of a backend that leaves move, and as weights change no more than they must`, () => {
    const set = backends([1, 3, 2, 1]);
    const it = policy(name);
    const people = Array.from({ length: PICKS }, (_, number) => visitor(number));
    const before = people.map((person) => it.pick(set, person));
    const left = set.filter((_, index) => index !== 1);
    people.forEach((person, index) => {
      const now = it.pick(left, person);
      assert.ok(now !== set[1]);
      if (before[index] !== set[1]) assert.equal(now, before[index]);
    });
    // Slow start: as a share grows, visitors move to that backend and nowhere else.
    let last = before;
    for (const part of [0.05, 0.3, 0.7, 1]) {
      const growing = backends([1, 3 * part, 2, 1]);
      const now = people.map((person) => it.pick(growing, person));
      now.forEach((picked, index) => {
        const same = picked?.address === last[index]?.address;
        if (part > 0.05) assert.ok(same || picked === growing[1], 'a visitor moved for nothing');
      });
      last = now;
    }
    assert.deepEqual(
      last.map((backend) => backend?.address),
      before.map((backend) => backend?.address),
    );
  });
}

test('a bounded load holds while a single visitor makes all the requests, whatever the weights', () => {
  const set = backends([1, 2, 1, 4]);
  const it = policy('rendezvous', 1.5);
  for (let open = 1; open <= 400; open++) {
    const picked = it.pick(set, visitor(1)) as Mutable;
    picked.active++;
    const bound = (1.5 * open * picked.weight) / 8;
    assert.ok(picked.active <= Math.ceil(bound), `${picked.active} of ${open} on weight ${picked.weight}`);
  }
});

test('a bounded load holds for so many backends that not all are looked at for each request', () => {
  const set = backends(Array.from({ length: 300 }, (_, index) => 1 + (index % 3)));
  const it = policy('rendezvous', 1.25);
  for (let open = 1; open <= 1_500; open++) {
    const picked = it.pick(set, visitor(1)) as Mutable;
    picked.active++;
    const bound = (1.25 * open * picked.weight) / 600;
    assert.ok(picked.active <= Math.ceil(bound), `${picked.active} of ${open} on weight ${picked.weight}`);
  }
});

test('a bounded load goes by what all carry now', () => {
  const set = backends([1, 1, 1, 1]);
  const it = policy('rendezvous', 1.25);
  const favourite = it.pick(set, visitor(1)) as Mutable;
  const [other] = set.filter((backend) => backend !== favourite) as [Mutable];
  favourite.active = 5;
  assert.notEqual(it.pick(set, visitor(1)), favourite);
  other.active = 30;
  assert.equal(it.pick(set, visitor(1)), favourite);
  other.active = 0;
  assert.notEqual(it.pick(set, visitor(1)), favourite);
});

test('a bounded load counts requests that others have brought since, where nobody seems to have room', () => {
  const set = backends(Array.from({ length: 300 }, () => 1));
  const it = policy('rendezvous', 1.25);
  const favourite = it.pick(set, visitor(1));
  for (const backend of set) backend.active = backend === favourite ? 50 : 5;
  const picked = it.pick(set, visitor(1));
  assert.ok(picked !== null && picked !== favourite);
  for (const backend of set) backend.active = 5;
  assert.equal(it.pick(set, visitor(1)), favourite);
});

for (const bound of [0, 1.25]) {
  test(`rendezvous: a list that is asked for once leads where it would be led to later, bounded by ${bound}`, () => {
    const set = backends(Array.from({ length: 60 }, (_, index) => 1 + (index % 3)));
    set.forEach((backend, index) => {
      backend.active = (index * 7) % 5;
    });
    for (let number = 0; number < 200; number++) {
      const left = set.filter((_, index) => index % 7 !== number % 7);
      const once = policy('rendezvous', bound);
      once.pick(set, visitor(number));
      assert.equal(once.pick(left, visitor(number)), policy('rendezvous', bound).pick(left, visitor(number)));
      // The whole list is still known.
      assert.equal(once.pick(set, visitor(number)), policy('rendezvous', bound).pick(set, visitor(number)));
    }
  });
}

for (const name of ['round-robin', 'naive', 'first-alive'] as const) {
  test(`${name}: one that starts slowly gets that part of its share, and its neighbours do not get all the rest`, () => {
    const set = backends([1, 1, 1, 1]);
    const [slow] = set as [Mutable];
    const whole = counts(policy(name), set, PICKS, 0).get(slow) ?? 0;
    slow.ramp = 0.25;
    slow.weight = 0.25;
    const all = counts(policy(name), set, PICKS, 0);
    const part = (all.get(slow) ?? 0) / whole;
    assert.ok(part > 0.2 && part < 0.45, `${part} of ${whole}`);
    if (name !== 'round-robin') return;
    const others = [...all.values()].slice(1);
    assert.ok(Math.max(...others) - Math.min(...others) < PICKS * 0.03, `${others}`);
  });
}

test('when all start slowly nobody is left out', () => {
  for (const name of BALANCE_POLICIES) {
    const set = backends([1, 1, 1]);
    for (const backend of set) Object.assign(backend, { ramp: 0.05, weight: 0.05 });
    const all = counts(policy(name), set, 3_000);
    if (name in SPREADING) assert.ok(Math.min(...all.values()) > 700, `${name}: ${[...all.values()]}`);
  }
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { BALANCE_POLICIES, type BalancePolicy } from '../../shared/model/service.ts';
import type { Backend, PickRequest } from '../upstream/contract.ts';
import { candidatesOf } from './candidates.ts';
import { createPolicy } from './create-policy.ts';
import { type Policy, requestLoad, tunnelLoad } from './policy.ts';

type Mutable = { -readonly [field in keyof Backend]: Backend[field] };

function backend(address: string, more: Partial<Backend> = {}): Mutable {
  const usual = { service: 'shop', weight: 1, ramp: 1, tier: 0, state: 'ready', since: 0 } as const;
  return { ...usual, address, slot: 0, active: 0, tunnels: 0, alive: true, ...more };
}

function backends(count: number, weights: readonly number[] = []): Mutable[] {
  return Array.from({ length: count }, (_, index) =>
    backend(`10.0.0.${index}:80`, { weight: weights[index] ?? 1 }),
  );
}

function visitor(number: number): PickRequest {
  const fields: Record<string, string> = { 'x-user': `user${number}`, cookie: `a=1; id=c${number}; b=2` };
  return {
    address: `192.0.${number >> 8}.${number & 255}`,
    target: `/page/${number}`,
    header: (name) => fields[name],
  };
}

/** A seeded source, so that a failure can be repeated (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function policy(
  name: BalancePolicy,
  more: { by?: string; boundedLoad?: number; seed?: number } = {},
): Policy {
  return createPolicy(name, {
    load: requestLoad,
    changes: null,
    random: seeded(more.seed ?? 1),
    hash: { by: more.by ?? 'ip', boundedLoad: more.boundedLoad ?? 0 },
  });
}

/** How often each was picked over `requests` visitors; with `held`, each request stays open that many picks long. */
function shares(of: Policy, candidates: readonly Mutable[], requests: number, held = 0): number[] {
  const counts = new Map<Backend, number>(candidates.map((candidate) => [candidate, 0]));
  const open: Mutable[] = [];
  for (let number = 0; number < requests; number++) {
    const picked = of.pick(candidates, visitor(number));
    assert.ok(picked !== null);
    counts.set(picked, (counts.get(picked) ?? 0) + 1);
    picked.active++;
    open.push(picked);
    if (open.length > held) (open.shift() as Mutable).active--;
  }
  return [...counts.values()];
}

/** Policies that mean to use all backends evenly. */
const SPREADING = BALANCE_POLICIES.filter(
  (name) => name !== 'broker' && name !== 'first-alive' && name !== 'naive',
);
const PINNING = ['source-hash', 'rendezvous'] as const;

const anyBackend = fc.record({
  weight: fc.integer({ min: 0, max: 5 }),
  tier: fc.integer({ min: 0, max: 2 }),
  state: fc.constantFrom('ready', 'drain', 'maintenance', 'lost') as fc.Arbitrary<Backend['state']>,
  alive: fc.boolean(),
  active: fc.integer({ min: 0, max: 20 }),
  tunnels: fc.integer({ min: 0, max: 20 }),
  since: fc.integer({ min: 0, max: 9 }),
});
const anyBackends = fc
  .array(anyBackend, { maxLength: 8 })
  .map((list) => list.map((fields, index) => backend(`10.0.0.${index}:80`, fields)));

for (const name of BALANCE_POLICIES) {
  describe(`policy ${name}`, () => {
    test('picks nothing of nothing and the one of one', () => {
      const it = policy(name);
      assert.equal(it.pick([], visitor(1)), null);
      const [only] = backends(1);
      for (let number = 0; number < 5; number++) assert.equal(it.pick([only!], visitor(number)), only);
    });

    test('picks one of the candidates, whatever their load and number, and they may change at any time', () => {
      fc.assert(
        fc.property(fc.array(anyBackends, { minLength: 1, maxLength: 6 }), fc.nat(), (sets, seed) => {
          const it = policy(name, { seed });
          for (const set of sets) {
            const candidates = candidatesOf(set);
            for (let number = 0; number < 4; number++) {
              const picked = it.pick(candidates, visitor(number));
              if (candidates.length === 0) assert.equal(picked, null);
              else assert.ok(picked !== null && candidates.includes(picked as Mutable));
            }
          }
        }),
        { numRuns: 200 },
      );
    });

    test('gives nothing new to weight 0, drain, maintenance and the dead', () => {
      fc.assert(
        fc.property(anyBackends, (set) => {
          const picked = policy(name).pick(candidatesOf(set), visitor(1));
          if (picked === null) return;
          assert.ok(picked.weight > 0 && picked.alive);
          assert.ok(picked.state === 'ready' || picked.state === 'lost');
        }),
      );
    });
  });
}

for (const name of SPREADING) {
  describe(`policy ${name}`, () => {
    test('starves nobody, with short and with long requests', () => {
      for (const held of [0, 10, 50]) {
        const counts = shares(policy(name), backends(7), 2_100, held);
        assert.ok(Math.min(...counts) > 150, `${held} held: ${counts}`);
        assert.ok(Math.max(...counts) < 480, `${held} held: ${counts}`);
      }
    });
  });
}

for (const name of [
  'random',
  'weighted-round-robin',
  'least-connections',
  'two-choices',
  'rendezvous',
  'source-hash',
] as const) {
  test(`policy ${name} gives a backend its weight`, () => {
    const counts = shares(policy(name), backends(3, [1, 2, 5]), 8_000, 200);
    const wanted = [1_000, 2_000, 5_000];
    counts.forEach((count, index) => {
      assert.ok(Math.abs(count - wanted[index]!) < 350, `${name}: ${counts}`);
    });
  });
}

for (const name of PINNING) {
  describe(`policy ${name}`, () => {
    const people = Array.from({ length: 2_000 }, (_, number) => visitor(number));

    test('sends a visitor to the same backend, in every process and whatever the order of the list', () => {
      const set = backends(5);
      const one = policy(name, { seed: 1 });
      const other = policy(name, { seed: 2 });
      for (const person of people.slice(0, 200)) {
        assert.equal(one.pick(set, person), other.pick([...set].reverse(), person));
      }
    });

    test('moves only the visitors of a backend that leaves, and moves them back when it returns', () => {
      const set = backends(5, [1, 1, 2, 1, 3]);
      const it = policy(name);
      const before = people.map((person) => it.pick(set, person));
      const left = set.filter((_, index) => index !== 2);
      people.forEach((person, index) => {
        const now = it.pick(left, person);
        if (before[index] !== set[2]) assert.equal(now, before[index]);
        else assert.ok(now !== null && now !== set[2]);
      });
      assert.deepEqual(
        people.map((person) => it.pick(set, person)),
        before,
      );
    });
  });
}

describe('round-robin', () => {
  test('is exact, and two processes begin at different places', () => {
    const set = backends(4);
    const it = policy('round-robin');
    const first = it.pick(set, visitor(0));
    const turns = [first, ...[1, 2, 3].map(() => it.pick(set, visitor(0)))];
    assert.equal(new Set(turns).size, 4);
    assert.equal(it.pick(set, visitor(0)), first);
    const starts = [1, 2, 3, 4, 5].map((seed) => policy('round-robin', { seed }).pick(set, visitor(0)));
    assert.ok(new Set(starts).size > 1);
  });
});

for (const name of ['round-robin', 'least-connections', 'weighted-round-robin'] as const) {
  test(`policy ${name} shares the turns of one that never takes its turn among the others`, () => {
    const set = backends(4);
    const it = policy(name);
    const counts = [0, 0, 0, 0];
    for (let request = 0; request < 300; request++) {
      let picked = it.pick(set, visitor(0));
      if (picked === set[1])
        picked = it.pick(
          set.filter((candidate) => candidate !== set[1]),
          visitor(0),
        );
      counts[set.indexOf(picked!)]!++;
    }
    assert.equal(counts[1], 0);
    for (const index of [0, 2, 3]) assert.ok(Math.abs(counts[index]! - 100) <= 50, `${counts}`);
  });
}

describe('weighted-round-robin', () => {
  test('gives each exactly its weight in every round, spread out', () => {
    const set = backends(3, [5, 1, 1]);
    const it = policy('weighted-round-robin');
    for (let round = 0; round < 3; round++) {
      const turns = Array.from({ length: 7 }, () => set.indexOf(it.pick(set, visitor(0))!));
      assert.deepEqual(
        [0, 1, 2].map((index) => turns.filter((turn) => turn === index).length),
        [5, 1, 1],
      );
      const text = turns.join('');
      assert.ok(!`${text}${text}`.includes('00000'), `bunched: ${text}`);
    }
  });

  test('goes on where it was when the list changes', () => {
    const set = backends(3, [1, 1, 1]);
    const it = policy('weighted-round-robin');
    const turns = Array.from({ length: 9 }, () => set.indexOf(it.pick([...set], visitor(0))!));
    assert.deepEqual(
      [0, 1, 2].map((index) => turns.filter((turn) => turn === index).length),
      [3, 3, 3],
    );
  });
});

describe('least-connections', () => {
  test('takes the one with the fewest for its weight, and equals in turn', () => {
    const set = backends(3, [1, 1, 4]);
    [set[0]!.active, set[1]!.active, set[2]!.active] = [2, 1, 3];
    const it = policy('least-connections');
    assert.equal(it.pick(set, visitor(0)), set[2]);
    set[2]!.active = 9;
    assert.equal(it.pick(set, visitor(0)), set[1]);
    const idle = backends(3);
    const equal = policy('least-connections');
    assert.equal(new Set([1, 2, 3].map(() => equal.pick(idle, visitor(0)))).size, 3);
  });

  test('looks at tunnels where it balances tunnels', () => {
    const set = backends(2);
    [set[0]!.active, set[0]!.tunnels] = [9, 0];
    [set[1]!.active, set[1]!.tunnels] = [0, 1];
    const hash = { by: 'ip', boundedLoad: 0 };
    const it = createPolicy('least-connections', {
      load: tunnelLoad,
      changes: null,
      random: seeded(1),
      hash,
    });
    assert.equal(it.pick(set, visitor(0)), set[0]);
  });
});

describe('two-choices', () => {
  test('never takes the busiest of two', () => {
    const set = backends(2);
    set[0]!.active = 5;
    const it = policy('two-choices');
    for (let turn = 0; turn < 50; turn++) assert.equal(it.pick(set, visitor(turn)), set[1]);
  });
});

describe('broker, first-alive and naive', () => {
  test('broker takes the newest registration, and the next newest while that is dead', () => {
    const set = [backend('a:1', { since: 1 }), backend('b:1', { since: 3 }), backend('c:1', { since: 2 })];
    const it = policy('broker');
    assert.equal(it.pick(candidatesOf(set), visitor(0)), set[1]);
    set[1]!.alive = false;
    assert.equal(it.pick(candidatesOf(set), visitor(0)), set[2]);
    set.push(backend('d:1', { since: 4 }));
    assert.equal(it.pick(candidatesOf(set), visitor(0)), set[3]);
  });

  test('first-alive keeps to the first that is alive', () => {
    const set = backends(3);
    const it = policy('first-alive');
    set[0]!.alive = false;
    for (let turn = 0; turn < 3; turn++) assert.equal(it.pick(candidatesOf(set), visitor(turn)), set[1]);
  });

  test('naive steps on by one for each request that is open', () => {
    const set = backends(3);
    const it = policy('naive');
    const order: number[] = [];
    for (let turn = 0; turn < 4; turn++) {
      const picked = it.pick(set, visitor(0))!;
      order.push(set.indexOf(picked));
      picked.active++;
    }
    assert.deepEqual(order, [0, 1, 2, 0]);
    for (const candidate of set) candidate.active = 0;
    assert.equal(it.pick(set, visitor(0)), set[0]);
  });
});

describe('rendezvous', () => {
  test('pins by address, target, field or cookie; without the field by address', () => {
    const set = backends(50);
    const differ = (by: string, a: PickRequest, b: PickRequest) => {
      const it = policy('rendezvous', { by });
      return it.pick(set, a) !== it.pick(set, b);
    };
    const [one, two] = [visitor(1), visitor(2)];
    const cases: [string, Partial<PickRequest>][] = [
      ['ip', { address: two.address }],
      ['uri', { target: two.target }],
      ['header:X-User', { header: (name) => (name === 'x-user' ? 'user2' : one.header(name)) }],
      ['cookie:id', { header: (name) => (name === 'cookie' ? 'a=1; id=c2; b=2' : one.header(name)) }],
    ];
    for (const [by, change] of cases) {
      assert.ok(differ(by, one, { ...one, ...change }), by);
      for (const [other, otherChange] of cases) {
        if (other !== by) assert.ok(!differ(by, one, { ...one, ...otherChange }), `${by} looks at ${other}`);
      }
    }
    const bare = (request: PickRequest) => ({ ...request, header: () => undefined });
    assert.ok(differ('cookie:id', bare(one), bare(two)));
  });

  test('with a bounded load passes over backends above that many times the mean', () => {
    const set = backends(4);
    const it = policy('rendezvous', { boundedLoad: 1.25 });
    const favourite = it.pick(set, visitor(7));
    for (let count = 0; count < 100; count++) {
      const picked = it.pick(set, visitor(7)) as Mutable;
      picked.active++;
      const total = count + 1;
      assert.ok(picked.active <= Math.ceil((1.25 * total) / 4), `${picked.active} of ${total}`);
    }
    assert.equal(Math.max(...set.map((candidate) => candidate.active)), favourite?.active);
    assert.ok(set.every((candidate) => candidate.active > 0));
  });
});

describe('candidates', () => {
  test('are of the lowest tier that has any alive', () => {
    const set = [backend('a:1', { tier: 1 }), backend('b:1', { tier: 0 }), backend('c:1', { tier: 0 })];
    assert.deepEqual(candidatesOf(set), [set[1], set[2]]);
    set[1]!.alive = false;
    set[2]!.state = 'drain';
    assert.deepEqual(candidatesOf(set), [set[0]]);
  });

  test('are the lost ones only when nothing else is alive, and maintenance never', () => {
    const set = [
      backend('a:1'),
      backend('b:1', { state: 'lost' }),
      backend('c:1', { state: 'lost', alive: false }),
      backend('d:1', { state: 'maintenance' }),
    ];
    assert.deepEqual(candidatesOf(set), [set[0]]);
    set[0]!.alive = false;
    assert.deepEqual(candidatesOf(set), [set[1]]);
    set[1]!.alive = false;
    assert.deepEqual(candidatesOf(set), []);
  });
});

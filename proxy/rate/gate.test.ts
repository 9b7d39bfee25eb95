import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { ManualClock } from '../../shared/clock.ts';
import type { Decision } from '../../shared/routing/decision.ts';
import type { RateCount } from '../../shared/routing/rate.ts';
import { RateDesk } from './desk.ts';
import { RateGate, Ticket } from './gate.ts';
import type { SharedCounts } from './redis-ledger.ts';

const PASS: Decision = {
  type: 'answer',
  status: 200,
  contentType: 'text/plain',
  body: '',
  labels: { domain: 'd', route: 0, service: null, pages: null, rule: null },
  response: null,
};

function countOf(requests: number, periodMs: number, key = 'k', dryRun = false): RateCount {
  return {
    rule: 'slow',
    rate: {
      requests,
      periodMs,
      by: 'client',
      scope: 's',
      policy: `"slow";q=${requests};w=${Math.max(1, Math.round(periodMs / 1_000))}`,
    },
    key,
    dryRun,
  };
}

/** A node: gates whose words reach the desk `delay` ms later, and the other way round. */
class World {
  readonly clock = new ManualClock(0);
  readonly gates: RateGate[];
  readonly desk: RateDesk;
  readonly refused: string[] = [];
  delay = 1;
  /** The desk hears nothing. */
  deaf = false;

  constructor(processes: number, shared: SharedCounts | null = null) {
    this.desk = new RateDesk({
      clock: this.clock,
      shared,
      processes: () => processes,
      send: (process, message) => {
        this.clock.after(this.delay, () => {
          if (message.type === 'rate-grants') this.gates[process]?.receive(message);
        });
      },
    });
    this.gates = Array.from(
      { length: processes },
      (_, process) =>
        new RateGate({
          clock: this.clock,
          processes,
          send: (message) => {
            if (this.deaf) return true;
            this.clock.after(this.delay, () => this.desk.receive(process, message));
            return true;
          },
          onLimited: (rule, dryRun) => this.refused.push(`${rule}${dryRun ? ' dry' : ''}`),
        }),
    );
  }

  /** One request at a process; whether it passes comes in `outcomes`. */
  request(process: number, counts: readonly RateCount[], outcomes: Outcome[] = []): Outcome {
    const outcome: Outcome = { decision: null, at: this.clock.now(), ticket: null };
    outcomes.push(outcome);
    const gate = this.gates[process] as RateGate;
    const done = (decision: Decision) => {
      assert.equal(outcome.decision, null, 'told twice');
      outcome.decision = decision;
      outcome.at = this.clock.now();
    };
    const answer = gate.count({ ...PASS, counts }, '192.0.2.1', { onCounted: done });
    if (answer instanceof Ticket) outcome.ticket = answer;
    else done(answer);
    return outcome;
  }

  async pass(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      await turn();
      this.clock.advance(1);
    }
    await turn();
  }
}

interface Outcome {
  decision: Decision | null;
  at: number;
  ticket: Ticket | null;
}

const passed = ({ decision }: Outcome) => decision !== null && decision.type === 'answer';
const refused = ({ decision }: Outcome) => decision?.type === 'page' && decision.cause === 'rate_limited';

test('the first as many as the limit allows pass, the next is refused and told when to come again', async () => {
  const world = new World(1);
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 12; i++) {
    world.request(0, [countOf(10, 60_000)], outcomes);
    await world.pass(20);
  }
  assert.deepEqual(outcomes.map(passed), [...Array(10).fill(true), false, false]);
  const { decision } = outcomes[11]!;
  assert.ok(decision?.type === 'page');
  assert.equal(decision.labels.rule, 'slow');
  const fields = new Map(decision.response?.add);
  assert.equal(fields.get('ratelimit-policy'), '"slow";q=10;w=60');
  assert.equal(fields.get('ratelimit'), `"slow";r=0;t=${decision.retryAfter}`);
  assert.ok(decision.retryAfter! > 58 && decision.retryAfter! <= 62, String(decision.retryAfter));
  // Whoever comes when it was told to is let in.
  await world.pass(0);
  world.clock.advance(decision.retryAfter! * 1_000);
  const again = world.request(0, [countOf(10, 60_000)]);
  await world.pass(10);
  assert.ok(passed(again));
});

test('answers that pass say how many places are left', async () => {
  const world = new World(1);
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 3; i++) {
    world.request(0, [countOf(10, 60_000)], outcomes);
    await world.pass(5);
  }
  const left = outcomes.map(
    ({ decision }) => new Map(decision?.response?.add).get('ratelimit')?.split(';')[1],
  );
  assert.deepEqual(left, ['r=9', 'r=8', 'r=7']);
});

test('a burst over four processes passes exactly as often as the limit says', async () => {
  for (const limit of [1, 7, 100, 1_000]) {
    const world = new World(4);
    const outcomes: Outcome[] = [];
    for (let i = 0; i < limit * 3; i++) {
      world.request(i % 4, [countOf(limit, 60_000)], outcomes);
      if (i % 5 === 0) await world.pass(1);
    }
    await world.pass(700);
    // What others had at hand and did not need comes back within the time of a lease.
    for (let i = 0; i < limit * 2; i++) {
      world.request(i % 4, [countOf(limit, 60_000)], outcomes);
      if (i % 5 === 0) await world.pass(1);
    }
    await world.pass(400);
    const count = outcomes.filter(passed).length;
    assert.ok(Math.abs(count - limit) <= limit * 0.05, `${count} of ${limit}`);
    assert.ok(outcomes.every((outcome) => passed(outcome) || refused(outcome)));
  }
});

for (const deaf of [false, true]) {
  test(`a request that a later rule refuses takes no place of an earlier one${deaf ? ', also without a desk' : ''}`, async () => {
    const world = new World(1);
    world.deaf = deaf;
    const all = countOf(10, 60_000, 'all');
    const outcomes: Outcome[] = [];
    const request = (key: string) => world.request(0, [all, countOf(2, 60_000, key)], outcomes);
    for (let i = 0; i < 40; i++) {
      request('one');
      await world.pass(i % 3 === 0 ? 30 : 0);
    }
    await world.pass(700);
    assert.equal(outcomes.filter(passed).length, 2);
    for (let i = 0; i < 40; i++) {
      request(`other${i}`);
      await world.pass(i % 3 === 0 ? 30 : 0);
    }
    await world.pass(1_000);
    assert.ok(outcomes.every((outcome) => passed(outcome) || refused(outcome)));
    assert.equal(outcomes.filter(passed).length, 10);
  });
}

test('a place that comes back from a refused request is not used twice', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(1), fc.nat(4), fc.nat(20)), { minLength: 20, maxLength: 80 }),
      async (arrivals) => {
        const world = new World(2);
        const outcomes: Outcome[] = [];
        const all = countOf(12, 600_000, 'all');
        for (const [process, key, gap] of arrivals) {
          world.request(process, [all, countOf(3, 600_000, `k${key}`)], outcomes);
          await world.pass(gap);
        }
        await world.pass(700);
        assert.ok(outcomes.filter(passed).length <= 12);
      },
    ),
    { numRuns: 30 },
  );
});

test('who is busy never waits at the end of a lease', async () => {
  const world = new World(1);
  const held: number[] = [];
  for (let ms = 0; ms < 400; ms++) {
    for (let i = 0; i < 10; i++) {
      const { ticket } = world.request(0, [countOf(1_000_000, 60_000)]);
      if (ticket !== null) held.push(ms);
    }
    await world.pass(1);
  }
  assert.ok(held.length > 0, 'the first has to wait for the desk');
  assert.deepEqual(
    held.filter((ms) => ms > 100),
    [],
  );
});

test('in no window of the period more pass than the limit, and who stays below it is never refused', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 30 }),
      fc.constantFrom(1_000, 4_000),
      fc.array(fc.tuple(fc.nat(3), fc.nat(300)), { minLength: 20, maxLength: 120 }),
      fc.integer({ min: 1, max: 4 }),
      async (limit, periodMs, arrivals, delay) => {
        const world = new World(4);
        world.delay = delay;
        const outcomes: Outcome[] = [];
        for (const [process, gap] of arrivals) {
          await world.pass(Math.min(gap, 30));
          world.clock.advance(Math.max(0, gap - 30));
          world.request(process, [countOf(limit, periodMs)], outcomes);
        }
        await world.pass(60);
        const times = outcomes.filter(passed).map(({ at }) => at);
        // A place is counted when it is given, and used a lease later at most.
        for (const [i, at] of times.entries()) {
          const before = times[i - limit];
          if (before !== undefined)
            assert.ok(at - before >= periodMs - 60, `${limit + 1} in ${at - before} ms`);
        }
        for (const outcome of outcomes.filter(refused)) {
          const since = outcome.at - periodMs * (1 + 1 / 32) - 60;
          const inWindow = times.filter((at) => at > since && at <= outcome.at).length;
          // Others may have a twentieth of what is left at hand.
          assert.ok(inWindow >= Math.floor(limit * 0.95), `refused with ${inWindow} of ${limit}`);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('a desk that is silent is done without: the process counts alone until the desk is heard again', async () => {
  const world = new World(2);
  world.deaf = true;
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 8; i++) world.request(0, [countOf(5, 60_000)], outcomes);
  await world.pass(400);
  assert.equal(outcomes.filter(passed).length, 5);
  assert.equal(outcomes.filter(refused).length, 3);
  world.deaf = false;
  world.clock.advance(62_000);
  // The first of them still finds the desk silent.
  for (let i = 0; i < 5; i++) world.request(0, [countOf(5, 60_000, 'other')]);
  await world.pass(20);
  const after: Outcome[] = [];
  for (let i = 0; i < 20; i++) {
    world.request(i % 2, [countOf(5, 60_000)], after);
    await world.pass(40);
  }
  assert.equal(after.filter(passed).length, 5);
});

test('a new desk is asked at once, and who waited for the last one is not forgotten', async () => {
  const world = new World(1);
  world.deaf = true;
  const waiting = world.request(0, [countOf(5, 60_000)]);
  await world.pass(20);
  world.gates[0]!.newDesk();
  assert.ok(passed(waiting));
  world.deaf = false;
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 8; i++) world.request(0, [countOf(5, 60_000)], outcomes);
  await world.pass(20);
  assert.equal(outcomes.filter(passed).length, 5);
});

test('places that come too late are given back', async () => {
  const world = new World(1);
  world.delay = 500;
  for (let i = 0; i < 5; i++) world.request(0, [countOf(10, 60_000)]);
  await world.pass(2_600);
  world.delay = 1;
  // What was counted here alone is over; the desk has counted nothing since.
  world.clock.advance(1_000);
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 12; i++) {
    world.request(0, [countOf(10, 60_000)], outcomes);
    await world.pass(60);
  }
  assert.equal(outcomes.filter(passed).length, 10);
});

test('a client that leaves while it is held takes no place', async () => {
  const world = new World(1);
  const gone = world.request(0, [countOf(2, 60_000)]);
  gone.ticket?.cancel();
  await world.pass(100);
  assert.equal(gone.decision, null);
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 3; i++) world.request(0, [countOf(2, 60_000)], outcomes);
  await world.pass(200);
  assert.equal(outcomes.filter(passed).length, 2);
});

test('a client that leaves while a later rule holds it takes no place of an earlier one', async () => {
  const world = new World(1);
  world.delay = 10;
  const gone = world.request(0, [countOf(1, 60_000, 'first'), countOf(1, 60_000, 'later')]);
  await world.pass(25);
  assert.equal(gone.ticket?.at, 1);
  gone.ticket?.cancel();
  await world.pass(200);
  const next = world.request(0, [countOf(1, 60_000, 'first')]);
  await world.pass(100);
  assert.ok(passed(next));
});

test('a rule under dry run counts and says so, and refuses nobody', async () => {
  const world = new World(1);
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 3; i++) world.request(0, [countOf(1, 60_000, 'k', true)], outcomes);
  await world.pass(20);
  assert.ok(outcomes.every(passed));
  assert.deepEqual(world.refused, ['slow dry', 'slow dry']);
  assert.equal(outcomes[0]?.decision?.response, null);
});

test('every rule has to leave a place; the first that does not is named', async () => {
  const world = new World(1);
  const counts = [countOf(5, 60_000, 'a'), countOf(2, 1_000, 'b')];
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 4; i++) world.request(0, counts, outcomes);
  await world.pass(20);
  assert.deepEqual(outcomes.map(passed), [true, true, false, false]);
  const fields = outcomes[0]?.decision?.response?.add.map(([name]) => name);
  assert.deepEqual(fields, ['ratelimit-policy', 'ratelimit', 'ratelimit-policy', 'ratelimit']);
});

test('a rule that is changed keeps its counts; a greater limit opens it at once, a smaller one closes it', async () => {
  const world = new World(1);
  const outcomes: Outcome[] = [];
  const send = async (limit: number) => {
    const outcome = world.request(0, [countOf(limit, 60_000)], outcomes);
    await world.pass(70);
    return passed(outcome);
  };
  assert.deepEqual([await send(2), await send(2), await send(2)], [true, true, false]);
  assert.deepEqual([await send(3), await send(3)], [true, false]);
  assert.deepEqual([await send(1)], [false]);
});

test('a flood of addresses does not open the limit of one that used it up', async () => {
  const world = new World(1);
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 5; i++) world.request(0, [countOf(4, 600_000, 'attacker')], outcomes);
  await world.pass(20);
  assert.equal(outcomes.filter(passed).length, 4);
  for (let i = 0; i < 50_000; i++) {
    world.request(0, [countOf(4, 600_000, `address ${i}`)]);
    if (i % 500 === 0) {
      await turn();
      world.clock.advance(5);
    }
  }
  await world.pass(400);
  assert.equal(world.desk.status.keys, 50_001);
  const after: Outcome[] = [];
  for (let i = 0; i < 5; i++) world.request(0, [countOf(4, 600_000, 'attacker')], after);
  await world.pass(100);
  assert.equal(after.filter(passed).length, 0);
  const innocent = world.request(0, [countOf(4, 600_000, 'somebody else')]);
  await world.pass(100);
  assert.ok(passed(innocent));
});

test('while all nodes count together that is what holds; when they no longer can, this node goes on with its own', async () => {
  let elsewhere = 0;
  let up = true;
  const shared: SharedCounts = {
    get up() {
      return up;
    },
    take: async (asked) =>
      asked.map(({ limit, wish }) => {
        const granted = Math.min(wish.waiting, Math.max(0, limit - elsewhere));
        elsewhere += granted;
        return { granted, left: Math.max(0, limit - elsewhere), resetMs: 1_000, slot: 1 };
      }),
    giveBack() {},
    close() {},
  };
  const world = new World(1, shared);
  const send = async () => {
    const outcome = world.request(0, [countOf(10, 60_000)]);
    await world.pass(5);
    return passed(outcome);
  };
  elsewhere = 8;
  assert.deepEqual([await send(), await send(), await send()], [true, true, false]);
  up = false;
  world.clock.advance(2_000);
  const outcomes: boolean[] = [];
  for (let i = 0; i < 12; i++) {
    outcomes.push(await send());
    await world.pass(120);
  }
  // Two were counted here before.
  assert.equal(outcomes.filter(Boolean).length, 8);
});

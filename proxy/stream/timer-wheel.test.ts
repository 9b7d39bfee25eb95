import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Timed, TimerWheel } from './timer-wheel.ts';

class Deadline implements Timed {
  timerDue = 0;
  timerQueued = false;
  readonly fired: number[] = [];
  readonly #clock: { now: number };
  action: () => void = () => {};

  constructor(clock: { now: number }) {
    this.#clock = clock;
  }

  onTimeout(): void {
    this.fired.push(this.#clock.now);
    this.action();
  }
}

function setup(start = 12_345.6) {
  const clock = { now: start };
  const errors: unknown[] = [];
  const wheel = new TimerWheel(
    (error) => errors.push(error),
    () => clock.now,
  );
  const run = (ms: number, step = 100) => {
    const end = clock.now + ms;
    while (clock.now < end) {
      clock.now = Math.min(end, clock.now + step);
      wheel.advance();
    }
  };
  return { clock, errors, wheel, run };
}

describe('timer wheel', () => {
  it('fires once, not early and within a tick', () => {
    const { clock, wheel, run } = setup();
    const deadline = new Deadline(clock);
    const start = clock.now;
    wheel.set(deadline, 250);
    run(240, 10);
    assert.deepEqual(deadline.fired, []);
    run(1_000, 10);
    assert.equal(deadline.fired.length, 1);
    assert.ok(deadline.fired[0]! - start >= 250 && deadline.fired[0]! - start <= 360);
    assert.equal(wheel.size, 0);
  });

  it('does not fire early for what is set after a stall and before the next tick', () => {
    const { clock, wheel } = setup();
    const deadline = new Deadline(clock);
    clock.now += 5_000;
    wheel.set(deadline, 1_000);
    wheel.advance();
    assert.deepEqual(deadline.fired, []);
    clock.now += 1_100;
    wheel.advance();
    assert.equal(deadline.fired.length, 1);
  });

  it('fires everything that is due after a stall longer than a turn, and keeps time afterwards', () => {
    const { clock, wheel } = setup();
    const early = new Deadline(clock);
    const late = new Deadline(clock);
    const after = new Deadline(clock);
    wheel.set(early, 1_000);
    wheel.set(late, 290_000);
    wheel.set(after, 301_000);
    clock.now += 300_000;
    wheel.advance();
    assert.equal(early.fired.length, 1);
    assert.equal(late.fired.length, 1);
    assert.equal(after.fired.length, 0);
    clock.now += 1_100;
    wheel.advance();
    assert.equal(after.fired.length, 1);
  });

  it('a deadline moved earlier while queued fires then, and leaves nothing behind', () => {
    const { clock, wheel, run } = setup();
    const deadline = new Deadline(clock);
    wheel.set(deadline, 65_000);
    wheel.set(deadline, 30_000);
    wheel.set(deadline, 500);
    run(700);
    assert.equal(deadline.fired.length, 1);
    assert.equal(wheel.size, 0);
    run(70_000);
    assert.equal(deadline.fired.length, 1);
  });

  it('moving back and forth between a short and a long deadline queues one object only', () => {
    const { clock, wheel, run } = setup();
    const deadline = new Deadline(clock);
    for (let i = 0; i < 1_000; i++) {
      wheel.set(deadline, 65_000);
      wheel.set(deadline, 30_000);
    }
    assert.equal(wheel.size, 1);
    run(31_000);
    assert.equal(deadline.fired.length, 1);
  });

  it('a cleared deadline can be set again at once, and a removed object is forgotten', () => {
    const { clock, wheel, run } = setup();
    const deadline = new Deadline(clock);
    wheel.set(deadline, 1_000);
    wheel.clear(deadline);
    wheel.set(deadline, 2_000);
    run(1_500);
    assert.deepEqual(deadline.fired, []);
    run(1_000);
    assert.equal(deadline.fired.length, 1);
    wheel.set(deadline, 1_000);
    wheel.remove(deadline);
    wheel.remove(deadline);
    assert.equal(wheel.size, 0);
    run(5_000);
    assert.equal(deadline.fired.length, 1);
  });

  it('a deadline cleared while queued far away and set to a nearer one fires at the nearer one', () => {
    const { clock, wheel, run } = setup();
    const deadline = new Deadline(clock);
    wheel.set(deadline, 65_000);
    wheel.clear(deadline);
    wheel.set(deadline, 1_000);
    run(1_200);
    assert.equal(deadline.fired.length, 1);
  });

  it('an object that sets itself again to the same slot is not called twice in one turn', () => {
    const { clock, wheel, run } = setup();
    const deadline = new Deadline(clock);
    deadline.action = () => wheel.set(deadline, 102_400);
    wheel.set(deadline, 1_000);
    run(50_000);
    assert.equal(deadline.fired.length, 1);
    run(60_000);
    assert.equal(deadline.fired.length, 2);
  });

  it('one that throws is reported and does not keep the others from firing', () => {
    const { clock, errors, wheel, run } = setup();
    const bad = new Deadline(clock);
    const good = new Deadline(clock);
    bad.action = () => {
      throw new Error('boom');
    };
    wheel.set(bad, 100);
    wheel.set(good, 100);
    run(400);
    assert.equal(errors.length, 1);
    assert.equal(good.fired.length, 1);
  });

  it('a reporter that throws does not keep the others from firing either', async () => {
    const clock = { now: 1_000 };
    const wheel = new TimerWheel(
      (error) => {
        throw error;
      },
      () => clock.now,
    );
    const bad = new Deadline(clock);
    const good = new Deadline(clock);
    const boom = new Error('boom');
    bad.action = () => {
      throw boom;
    };
    wheel.set(bad, 100);
    wheel.set(good, 100);
    clock.now += 400;
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    try {
      const surfaced = new Promise((resolve) => process.once('uncaughtException', resolve));
      wheel.advance();
      assert.equal(good.fired.length, 1);
      assert.equal(await surfaced, boom);
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
  });

  it('takes negative, huge and endless delays', () => {
    const { clock, wheel, run } = setup();
    const past = new Deadline(clock);
    const never = new Deadline(clock);
    wheel.set(past, -5);
    wheel.set(never, Number.POSITIVE_INFINITY);
    run(300);
    assert.equal(past.fired.length, 1);
    assert.equal(never.fired.length, 0);
  });

  it('agrees with exact deadlines under any order of setting, clearing and stalls', () => {
    const step = fc.oneof(
      fc.record({ op: fc.constant('set' as const), who: fc.nat(3), ms: fc.nat(250_000) }),
      fc.record({ op: fc.constant('clear' as const), who: fc.nat(3), ms: fc.constant(0) }),
      fc.record({ op: fc.constant('run' as const), who: fc.constant(0), ms: fc.nat(150_000) }),
      fc.record({ op: fc.constant('stall' as const), who: fc.constant(0), ms: fc.nat(400_000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const { clock, wheel, run } = setup();
        const all = [0, 1, 2, 3].map(() => new Deadline(clock));
        const exact = [0, 0, 0, 0];
        const check = () => {
          for (const [index, deadline] of all.entries()) {
            const due = exact[index]!;
            if (due !== 0 && clock.now >= due + 200) {
              assert.equal(deadline.fired.length, 1, 'late');
            }
            for (const at of deadline.fired) assert.ok(due !== 0 && at >= due, 'early or unasked');
          }
        };
        for (const { op, who, ms } of steps) {
          if (op === 'set') {
            all[who]!.fired.length = 0;
            wheel.set(all[who]!, ms);
            exact[who] = clock.now + ms;
          } else if (op === 'clear') {
            all[who]!.fired.length = 0;
            wheel.clear(all[who]!);
            exact[who] = 0;
          } else if (op === 'run') {
            run(ms, 1_000);
          } else {
            clock.now += ms;
            wheel.advance();
          }
          check();
        }
        run(260_000, 500);
        assert.equal(wheel.size, 0);
      }),
      { numRuns: 150 },
    );
  });
});

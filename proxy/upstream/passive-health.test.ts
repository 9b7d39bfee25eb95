import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { advance, HeldConnector, heldRig, rig, service } from './testing.ts';

const A = '10.0.0.1:80';
const B = '10.0.0.2:80';
const C = '10.0.0.3:80';

function held(addresses: readonly string[], document: Record<string, unknown> = {}) {
  const it = heldRig();
  const shop = service({ 1: addresses }, { health: { type: 'off' }, pool: { idle: '1h' }, ...document });
  it.upstreams.setService('shop', shop);
  const { connector, acquire } = it;
  /** One request; every connect to `dead` is refused, every other succeeds. Says who got it. */
  const ask = (...dead: string[]) => {
    const got = acquire(shop, { fresh: true });
    while (connector.pending.length > 0) {
      if (dead.includes(connector.pending[0]!.target.text)) connector.fail();
      else connector.succeed();
    }
    got.connection?.release(null);
    return got.address ?? got.unavailable?.cause;
  };
  const tries = (address: string) => connector.targets.filter((target) => target === address).length;
  return { ...it, shop, ask, tries };
}

describe('passive health', () => {
  test('a backend is out after passive.attempts failed connects in a row', () => {
    const { ask, tries, backend } = held([A, B], { passive: { attempts: 3, offline: '10s' } });
    for (let turn = 0; turn < 20; turn++) assert.equal(ask(A), B);
    assert.equal(tries(A), 3);
    assert.equal(backend(A).alive, false);
  });

  test('failures that are not in a row do not add up', () => {
    const { ask, backend } = held([A]);
    for (let turn = 0; turn < 10; turn++) ask(...(turn % 3 === 2 ? [] : [A]));
    assert.equal(backend(A).alive, true);
  });

  test('nor do they add up in another process of the node, which has none of the traffic', () => {
    const { ask, failures, recovered } = held([A]);
    const idle = held([A]);
    for (let turn = 0; turn < 10; turn++) {
      const before = failures.length;
      ask(A);
      idle.upstreams.applyRemoteFailures(failures.slice(before));
      ask();
      for (const address of recovered.splice(0)) idle.upstreams.applyRemoteRecovered('shop', address);
      ask();
      assert.deepEqual(recovered, [], 'connects that succeed in a row are told once');
      assert.equal(idle.backend(A).alive, true, `after ${turn + 1} single failures`);
    }
  });

  test('after passive.offline it is tried once, without making a visitor wait, for longer each time it stays dead', () => {
    const { ask, tries, pass } = held([A, B], { passive: { attempts: 1, offline: '10s' } });
    ask(A);
    ask(A);
    assert.equal(tries(A), 1);
    let expected = 1;
    for (const seconds of [10, 20, 40, 80, 160, 300, 300]) {
      pass(seconds * 1_000 - 300);
      assert.equal(ask(A), B);
      assert.equal(tries(A), expected, `not before ${seconds} s`);
      pass(600);
      for (let turn = 0; turn < 5; turn++) assert.equal(ask(A), B);
      expected++;
      assert.equal(tries(A), expected, `once after ${seconds} s`);
    }
  });

  test('it is back when its trial succeeds, says so to the node, and the trial becomes a warm connection', () => {
    const { ask, pass, backend, recovered, acquire, shop } = held([A, B], { passive: { attempts: 1 } });
    ask(A);
    ask(A);
    assert.equal(backend(A).alive, false);
    pass(10_500);
    assert.equal(ask(), B, 'the request that sets the trial off goes elsewhere');
    assert.equal(backend(A).alive, true);
    assert.deepEqual(recovered, [A]);
    assert.equal(backend(A).idle, 1);
    const seen = new Set([1, 2].map(() => acquire(shop).address));
    assert.deepEqual([...seen].sort(), [A, B]);
  });

  test('one that comes back and fails again is out for twice the time; one that worked starts anew', () => {
    const { ask, pass, backend, tries } = held([A, B], { passive: { attempts: 1 } });
    const dies = () => {
      while (backend(A).alive) ask(A);
    };
    dies();
    pass(10_500);
    ask();
    assert.equal(backend(A).alive, true);
    dies();
    const before = tries(A);
    pass(15_000);
    ask();
    assert.equal(tries(A), before, 'still out after 15 s');
    pass(6_000);
    ask();
    assert.equal(backend(A).alive, true);
    ask();
    ask();
    dies();
    pass(10_500);
    ask();
    assert.equal(backend(A).alive, true, 'out for 10 s again');
  });

  test('while all are dead one request per second tries them, in turn, and the others are told at once', () => {
    const { ask, tries, pass, connector } = held([A, B], { passive: { attempts: 1, offline: '5m' } });
    assert.equal(ask(A, B), 'all_dead');
    const before = connector.targets.length;
    pass(1_000);
    for (let turn = 0; turn < 10; turn++) assert.equal(ask(A, B), 'all_dead');
    assert.equal(connector.targets.length, before + 2);
    pass(1_000);
    for (let turn = 0; turn < 10; turn++) ask(A, B);
    assert.equal(connector.targets.length, before + 4);
    assert.equal(tries(A), tries(B));
    pass(1_000);
    assert.ok([A, B].includes(ask() as string), 'the trial that succeeds serves its request');
    assert.ok([A, B].includes(ask() as string), 'and the backend is back for all');
  });

  test('Retry-After says when health is looked at again', () => {
    const { acquire, shop, connector } = held([A], { health: { type: 'tcp', interval: '7s' } });
    const got = acquire(shop);
    connector.fail();
    assert.deepEqual(got.unavailable, { cause: 'all_dead', retryAfter: 7 });
  });

  test('failures in other processes of the node count, and so does their recovery', () => {
    const { ask, tries, upstreams, backend, failures, recovered } = held([A, B]);
    const report = [{ service: 'shop', address: A, count: 2 }];
    upstreams.applyRemoteFailures(report);
    assert.equal(backend(A).alive, true);
    ask(A);
    ask(A);
    assert.equal(tries(A), 1);
    assert.equal(backend(A).alive, false);
    assert.deepEqual(failures, [{ service: 'shop', address: A, count: 1 }]);
    upstreams.applyRemoteRecovered('shop', A);
    assert.equal(backend(A).alive, true);
    assert.deepEqual(recovered, [], 'what came from the node is not told to it again');
    upstreams.applyRemoteFailures([...report, { service: 'nobody', address: A, count: 9 }]);
    upstreams.applyRemoteFailures(report);
    assert.equal(backend(A).alive, false);
  });

  test('connections that break take a backend out too, but never more than half of them', () => {
    const { acquire, shop, connector, backend, upstreams, failures } = held([A, B, C], {
      passive: { attempts: 2 },
    });
    const breaks = () => {
      const got = acquire(shop, { fresh: true });
      connector.succeed();
      got.connection?.discard(true);
    };
    for (let turn = 0; turn < 30; turn++) breaks();
    const alive = [A, B, C].filter((address) => backend(address).alive);
    assert.equal(alive.length, 2);
    assert.ok(failures.length > 0 && failures.every((report) => report.count === 0), 'sync is asked to look');
    assert.ok(failures.length <= 3, 'but not for each');
    upstreams.setService('shop', service({ 1: [A] }));
    upstreams.setVerdict('shop', A, true);
    for (let turn = 0; turn < 10; turn++) breaks();
    assert.equal(backend(A).alive, true, 'the only one is never taken out by what its exchanges do');
  });

  test('a new worker at the same address starts with a clean slate', () => {
    const worker = (id: string) =>
      ({ address: A, weight: 1, tier: 0, state: 'ready', since: 1, worker: id }) as const;
    const { ask, upstreams, backend } = held([B], { passive: { attempts: 1 } });
    upstreams.setService('shop', service({ 1: [worker('one'), B] }, { passive: { attempts: 1 } }));
    ask(A);
    ask(A);
    assert.equal(backend(A).alive, false);
    upstreams.setService('shop', service({ 1: [worker('one'), B] }, { passive: { attempts: 1 } }));
    assert.equal(backend(A).alive, false, 'the same worker stays out');
    upstreams.setService('shop', service({ 1: [worker('two'), B] }, { passive: { attempts: 1 } }));
    assert.equal(backend(A).alive, true);
  });
});

describe('somebody else at an address', () => {
  test('a worker of the next build does not inherit what was known of the one before', () => {
    const worker = (id: string) =>
      ({ address: A, weight: 1, tier: 0, state: 'ready', since: 1, worker: id }) as const;
    const { upstreams, backend } = held([B]);
    upstreams.setService('shop', service({ 41: [worker('one')] }));
    upstreams.applyRemoteFailures([{ service: 'shop', address: A, count: 3 }]);
    assert.equal(backend(A).alive, false);
    upstreams.setService('shop', service({ 42: [worker('one')] }));
    assert.equal(backend(A).alive, false, 'it is the same one');
    upstreams.setService('shop', service({ 43: [worker('two')] }));
    assert.equal(backend(A).alive, true);
  });

  test('a name that stands for a new address is tried with the next request, not after its time out', () => {
    const { ask, upstreams, backend, pass, connector } = held([A, 'db.example:80'], {
      passive: { attempts: 1, offline: '5m' },
    });
    upstreams.setResolved('db.example', ['10.0.0.8']);
    ask('10.0.0.8:80');
    ask('10.0.0.8:80');
    assert.equal(backend('db.example:80').alive, false);
    upstreams.setResolved('db.example', ['10.0.0.8']);
    pass(1_000);
    assert.equal(ask(), A);
    assert.equal(backend('db.example:80').alive, false, 'nothing is new');
    upstreams.setResolved('db.example', ['10.0.0.8', '10.0.0.9']);
    while (connector.pending.length > 0) connector.succeed();
    ask('10.0.0.8:80');
    assert.equal(backend('db.example:80').alive, true);
  });
});

describe('active verdicts', () => {
  test('take backends out and bring them back, passive time out included', () => {
    const { ask, upstreams, backend } = held([A, B], { passive: { attempts: 1 } });
    upstreams.setVerdict('shop', A, false);
    for (let turn = 0; turn < 4; turn++) assert.equal(ask(), B);
    upstreams.setVerdict('shop', A, true);
    assert.deepEqual([ask(), ask()].sort(), [A, B]);
    while (backend(A).alive) ask(A);
    upstreams.setVerdict('shop', A, true);
    assert.equal(backend(A).alive, true);
    upstreams.setVerdict('shop', 'unknown:1', false);
    upstreams.setVerdict('unknown', A, false);
  });

  test('a connect that succeeds overrules a TCP check, but not one that asks for more', () => {
    for (const [type, alive] of [
      ['tcp', true],
      ['http', false],
    ] as const) {
      const { ask, upstreams, backend, recovered } = held([A], { health: { type } });
      upstreams.setVerdict('shop', A, false);
      assert.equal(ask(), A, 'the one trial');
      assert.equal(backend(A).alive, alive);
      assert.deepEqual(recovered, alive ? [A] : []);
    }
  });

  test('end with the checks: a service without them takes no verdict along', () => {
    const { upstreams, backend } = held([A], { health: { type: 'http' } });
    upstreams.setVerdict('shop', A, false);
    upstreams.setService('shop', service({ 1: [A] }, { health: { type: 'http' } }));
    assert.equal(backend(A).alive, false);
    upstreams.setService('shop', service({ 1: [A] }, { health: { type: 'off' } }));
    assert.equal(backend(A).alive, true);
  });

  test('so does the time out of one whose trial was left to the checks', () => {
    const { ask, upstreams, backend, pass } = held([A, B], {
      health: { type: 'http' },
      passive: { attempts: 1, offline: '10s' },
    });
    ask(A);
    ask(A);
    upstreams.setVerdict('shop', A, false);
    pass(10_500);
    assert.equal(ask(), B);
    upstreams.setService('shop', service({ 1: [A, B] }, { health: { type: 'off' } }));
    assert.equal(backend(A).alive, true);
  });

  test('a lost worker serves only while nothing else is alive and its own check passes', () => {
    const lost = { address: B, weight: 1, tier: 0, state: 'lost', since: 1, worker: 'w' } as const;
    const { ask, upstreams } = held([A]);
    upstreams.setService('shop', service({ 1: [A, lost] }, { health: { type: 'http' } }));
    for (let turn = 0; turn < 3; turn++) assert.equal(ask(), A);
    upstreams.setVerdict('shop', A, false);
    assert.equal(ask(), B);
    upstreams.setVerdict('shop', B, false);
    assert.equal(ask(A), 'all_dead');
  });
});

/** Time never stands still, not even between two readings. */
class MovingClock extends ManualClock {
  #read = 0;
  override monotonic(): number {
    return super.monotonic() + ++this.#read / 1_000;
  }
}

describe('connects that are not answered', () => {
  const silent = (connect: string) => {
    const connector = new HeldConnector();
    const clock = new MovingClock();
    const it = rig({ connector, clock });
    const settings = {
      health: { type: 'off' },
      timeouts: { connect },
      passive: { attempts: 1, offline: '10s' },
    };
    const shop = service({ 1: [A, B] }, settings);
    it.upstreams.setService('shop', shop);
    return { ...it, shop, connector, pass: (ms: number) => advance(clock, it.timers, ms) };
  };

  test('count against the backend also where the time for one is that for all', () => {
    const { acquire, shop, pass, failures, backend } = silent('8s');
    acquire(shop);
    pass(8_300);
    assert.deepEqual(
      failures.map(({ address }) => address),
      [A],
    );
    assert.equal(backend(A).alive, false);
  });

  test('count against a backend whose name stands for several addresses', () => {
    const { acquire, upstreams, pass, connector, failures, backend } = silent('3s');
    const named = service({ 1: ['app:80', B] }, { health: { type: 'off' }, passive: { attempts: 1 } });
    upstreams.setService('shop', named);
    upstreams.setResolved('app', ['10.0.1.1', '10.0.1.2']);
    acquire(named);
    pass(5_300);
    assert.deepEqual(connector.targets, ['10.0.1.1:80', '10.0.1.2:80']);
    assert.deepEqual(
      failures.map(({ address }) => address),
      ['app:80'],
    );
    assert.equal(backend('app:80').alive, false);
  });

  test('fail its trial: the next one comes after twice the time', () => {
    const { acquire, shop, pass, connector, backend } = silent('3s');
    const tries = () => connector.targets.filter((target) => target === A).length;
    /** Somebody asks every second; B accepts. */
    const ask = (seconds: number) => {
      for (let second = 0; second < seconds; second++) {
        const got = acquire(shop);
        const index = connector.pending.findIndex(({ target }) => target.text === B);
        if (index >= 0) connector.succeed(index);
        got.connection?.release(null);
        pass(1_000);
      }
    };
    acquire(shop);
    pass(3_300);
    assert.deepEqual([tries(), backend(A).alive], [1, false]);
    ask(11);
    assert.equal(tries(), 2, 'its trial');
    ask(18);
    assert.equal(tries(), 2);
    ask(10);
    assert.equal(tries(), 3);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { type Health, resolveService } from '../../shared/model/service.ts';
import type { BackendSpec, CompiledService } from '../../shared/routing/decision.ts';
import type { HealthVerdict } from '../link/messages.ts';
import { HealthChecks } from './health-checks.ts';
import type { Target, Verdict } from './probe.ts';
import { until } from './scripted-primary.ts';

function compiled(
  addresses: readonly string[],
  options: { health?: Health; state?: BackendSpec['state']; enabled?: boolean } = {},
): CompiledService {
  const backends = addresses.map((address, since) => ({
    address,
    weight: 1,
    tier: 0,
    state: options.state ?? ('ready' as const),
    since,
    worker: null,
  }));
  return {
    name: 'shop',
    config: resolveService({
      name: 'shop',
      enabled: options.enabled ?? true,
      health: options.health ?? { type: 'tcp', interval: 5_000, rise: 2, fall: 3, jitter: 0 },
    }),
    keys: new Map([[1, { key: 1, enabled: true, backends }]]),
    latest: 1,
    greatest: 1,
  };
}

function setup() {
  const clock = new ManualClock();
  const probed: string[] = [];
  /** What was told, and of that what went down or came back. */
  const told: HealthVerdict[] = [];
  const verdicts: HealthVerdict[] = [];
  const names = new Map<string, string[]>();
  const world = {
    answers: new Map<string, Verdict>(),
    /** Probes that wait to be let go, when `manual`. */
    waiting: [] as (() => void)[],
    manual: false,
    most: 0,
    running: 0,
    refused: '',
  };
  const textOf = (target: Target) => (target.type === 'unix' ? target.path : `${target.host}:${target.port}`);
  const checks = new HealthChecks({
    clock,
    random: () => 0.5,
    addresses: (name) => names.get(name) ?? [],
    mayConnect: (address) => address !== world.refused,
    async probe(target) {
      probed.push(textOf(target));
      world.most = Math.max(world.most, ++world.running);
      if (world.manual) await new Promise<void>((resolve) => world.waiting.push(resolve));
      world.running--;
      return world.answers.has(textOf(target)) ? world.answers.get(textOf(target)) : null;
    },
    changed: (batch, flipped) => {
      told.push(...batch);
      verdicts.push(...flipped.map(({ service, address, alive }) => ({ service, address, alive })));
    },
  });
  /** Advances by steps, letting probes end in between. */
  const pass = async (ms: number) => {
    for (let at = 0; at < ms; at += 100) {
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { clock, checks, probed, told, verdicts, names, world, pass };
}

test('a new backend counts as alive, is checked at once, and again at its interval when all is well', async (t) => {
  const { checks, probed, verdicts, pass } = setup();
  t.after(() => checks.close());
  checks.setService('shop', compiled(['10.0.0.1:80']));
  assert.deepEqual(probed, ['10.0.0.1:80']);
  await pass(1_500);
  assert.equal(probed.length, 2, 'faster while undecided');
  await pass(1_500);
  assert.equal(probed.length, 2);
  await pass(1_000);
  assert.equal(probed.length, 3, 'the first interval is cut, so that backends that came together are spread');
  await pass(4_000);
  assert.equal(probed.length, 3);
  await pass(1_500);
  assert.equal(probed.length, 4);
  assert.equal(verdicts.length, 0);
});

test('only `fall` failures in a row make it dead and `rise` successes alive again, checked faster meanwhile', async (t) => {
  const { checks, world, verdicts, pass } = setup();
  t.after(() => checks.close());
  checks.setService('shop', compiled(['10.0.0.1:80']));
  await pass(3_000);
  world.answers.set('10.0.0.1:80', 'refused');
  await pass(2_000);
  assert.equal(verdicts.length, 0);
  world.answers.delete('10.0.0.1:80');
  await pass(6_000);
  world.answers.set('10.0.0.1:80', 'refused');
  await pass(8_000);
  assert.deepEqual(verdicts, [{ service: 'shop', address: '10.0.0.1:80', alive: false }]);
  assert.deepEqual(checks.dead(), verdicts);
  assert.equal(checks.of('shop', '10.0.0.1:80')?.problem, 'refused');
  world.answers.delete('10.0.0.1:80');
  await pass(2_500);
  assert.deepEqual(verdicts.at(-1), { service: 'shop', address: '10.0.0.1:80', alive: true });
});

test('the first finding is told even when it is no news: processes may believe an earlier sync', async (t) => {
  const { checks, told, pass } = setup();
  t.after(() => checks.close());
  checks.setService('shop', compiled(['10.0.0.1:80']));
  await pass(500);
  assert.equal(told.length, 0);
  await pass(1_000);
  assert.deepEqual(told, [{ service: 'shop', address: '10.0.0.1:80', alive: true }]);
  await pass(20_000);
  assert.equal(told.length, 1);
});

test('alive again after a single failed check is told: traffic may have taken it out on its own', async (t) => {
  const { checks, told, world, verdicts, pass } = setup();
  t.after(() => checks.close());
  checks.setService('shop', compiled(['10.0.0.1:80']));
  await pass(3_000);
  world.answers.set('10.0.0.1:80', 'refused');
  checks.trigger('shop', '10.0.0.1:80');
  await pass(500);
  world.answers.delete('10.0.0.1:80');
  await pass(2_500);
  assert.equal(verdicts.length, 0);
  assert.equal(told.length, 2);
  assert.equal(told[1]?.alive, true);
});

test('an error of real traffic triggers a check at once, a storm of them few', async (t) => {
  const { checks, probed, pass } = setup();
  t.after(() => checks.close());
  checks.setService('shop', compiled(['10.0.0.1:80']));
  await pass(3_000);
  const before = probed.length;
  for (let i = 0; i < 1_000; i++) checks.trigger('shop', '10.0.0.1:80');
  await pass(100);
  for (let i = 0; i < 1_000; i++) checks.trigger('shop', '10.0.0.1:80');
  assert.equal(probed.length - before, 1);
  checks.trigger('shop', 'unknown:1');
  checks.trigger('unknown', 'unknown:1');
});

test('what is known of a backend survives changes of its service, and ends with the backend', async (t) => {
  const { checks, world, verdicts, pass } = setup();
  t.after(() => checks.close());
  world.answers.set('10.0.0.1:80', 'refused');
  checks.setService('shop', compiled(['10.0.0.1:80']));
  await pass(3_500);
  assert.equal(verdicts.length, 1);
  checks.setService('shop', compiled(['10.0.0.1:80', '10.0.0.2:80']));
  assert.equal(checks.of('shop', '10.0.0.1:80')?.alive, false);
  checks.setService('shop', compiled(['10.0.0.2:80']));
  assert.equal(checks.of('shop', '10.0.0.1:80'), null);
  checks.setService('shop', compiled(['10.0.0.1:80']));
  assert.equal(checks.of('shop', '10.0.0.1:80')?.alive, true);
});

test('turning checks off says alive; maintenance and disabled services are left alone', async (t) => {
  const { checks, world, verdicts, probed, pass } = setup();
  t.after(() => checks.close());
  world.answers.set('10.0.0.1:80', 'refused');
  checks.setService('shop', compiled(['10.0.0.1:80']));
  await pass(3_500);
  checks.setService('shop', compiled(['10.0.0.1:80'], { health: { type: 'off' } }));
  await pass(100);
  assert.deepEqual(
    verdicts.map(({ alive }) => alive),
    [false, true],
  );
  const before = probed.length;
  await pass(10_000);
  checks.setService('shop', compiled(['10.0.0.1:80'], { state: 'maintenance' }));
  checks.setService('shop', compiled(['10.0.0.1:80'], { enabled: false }));
  await pass(10_000);
  assert.equal(probed.length, before);
});

test('a name is alive while any of its addresses is; unresolved or refused ones are never connected to', async (t) => {
  const { checks, names, world, verdicts, probed, pass } = setup();
  t.after(() => checks.close());
  checks.setService('shop', compiled(['db.example:80']));
  await pass(5_000);
  assert.equal(probed.length, 0);
  assert.equal(verdicts.length, 0);
  assert.deepEqual([...checks.names()], ['db.example']);
  names.set('db.example', ['10.0.0.1', '10.0.0.2']);
  world.answers.set('10.0.0.1:80', 'refused');
  checks.resolved('db.example');
  await pass(5_000);
  assert.equal(verdicts.length, 0);
  assert.ok(probed.includes('10.0.0.2:80'));
  world.refused = '10.0.0.2:80';
  probed.length = 0;
  await pass(12_000);
  assert.deepEqual(verdicts.at(-1)?.alive, false);
  assert.ok(!probed.includes('10.0.0.2:80'));
});

test('when this machine cannot check, nothing is said of the backend', async (t) => {
  const { checks, world, verdicts, pass } = setup();
  t.after(() => checks.close());
  world.answers.set('10.0.0.1:80', undefined);
  checks.setService('shop', compiled(['10.0.0.1:80']));
  await pass(10_000);
  assert.equal(verdicts.length, 0);
});

test('thousands of backends are checked within a bound, and verdicts go out in batches', async (t) => {
  const { checks, world, verdicts, clock } = setup();
  t.after(() => checks.close());
  const addresses = Array.from({ length: 1_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}:80`);
  for (const address of addresses) world.answers.set(address, 'refused');
  world.manual = true;
  checks.setService('shop', compiled(addresses, { health: { type: 'tcp', fall: 1, jitter: 0 } }));
  await until('all were checked', () => {
    for (const letGo of world.waiting.splice(0)) letGo();
    clock.advance(10);
    return verdicts.length >= 1_000;
  });
  assert.ok(world.most <= 256, `${world.most} at a time`);
});

test('backends that came together are checked all over the interval', async (t) => {
  const clock = new ManualClock();
  const at: number[] = [];
  const start = clock.monotonic();
  let seed = 1;
  const checks = new HealthChecks({
    clock,
    random: () => {
      seed = (seed * 16_807) % 2_147_483_647;
      return seed / 2_147_483_647;
    },
    addresses: () => [],
    mayConnect: () => true,
    probe: async () => {
      at.push(clock.monotonic() - start);
      return null;
    },
    changed: () => {},
  });
  t.after(() => checks.close());
  const addresses = Array.from({ length: 200 }, (_, i) => `10.0.0.${i}:80`);
  checks.setService('shop', compiled(addresses, { health: { type: 'tcp', interval: 5_000, jitter: 0.1 } }));
  for (let ms = 0; ms < 20_000; ms += 100) {
    clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const counts = Array.from({ length: 10 }, (_, slot) => {
    return at.filter((ms) => ms - 15_000 >= slot * 500 && ms - 15_000 < (slot + 1) * 500).length;
  });
  assert.ok(Math.max(...counts) < 50, `checks per half second: ${counts}`);
  assert.ok(Math.min(...counts) > 5, `checks per half second: ${counts}`);
});

test('backends that take their whole time-out hold up nobody who is well', async (t) => {
  const { checks, world, probed, pass } = setup();
  t.after(() => checks.close());
  const dead = Array.from({ length: 400 }, (_, i) => `10.1.${i >> 8}.${i & 255}:80`);
  for (const address of dead) world.answers.set(address, 'no answer');
  checks.setService('shop', compiled(dead, { health: { type: 'tcp', fall: 1, jitter: 0 } }));
  await pass(300);
  world.manual = true;
  await pass(2_000);
  assert.equal(world.waiting.length, 128);
  world.manual = false;
  checks.setService('well', { ...compiled(['10.0.0.1:80']), name: 'well' });
  await pass(100);
  assert.ok(probed.includes('10.0.0.1:80'));
  for (const letGo of world.waiting.splice(0)) letGo();
});

test('one that stays down is looked at less often after a minute', async (t) => {
  const { checks, world, probed, pass } = setup();
  t.after(() => checks.close());
  world.answers.set('10.0.0.1:80', 'refused');
  checks.setService(
    'shop',
    compiled(['10.0.0.1:80'], { health: { type: 'tcp', interval: 20_000, jitter: 0 } }),
  );
  await pass(58_000);
  const fast = probed.length;
  assert.ok(fast > 50, `${fast}`);
  await pass(60_000);
  assert.ok(probed.length - fast < 10, `${probed.length - fast}`);
});

/** Two services with two backends each, all alive. */
async function network(prefix: string) {
  const world = setup();
  const addresses = [1, 2, 3, 4].map((n) => `${prefix}${n}:80`);
  const checks = world.checks;
  const compile = (name: string, of: string[]): CompiledService => {
    const service = compiled(of);
    return { ...service, name, config: { ...service.config, name } };
  };
  checks.setService('shop', compile('shop', addresses.slice(0, 2)));
  checks.setService('mail', compile('mail', addresses.slice(2)));
  await world.pass(3_000);
  return { ...world, addresses };
}

test('when everything of every service goes bad at once, nothing is taken out, until a check passes', async (t) => {
  const { checks, world, verdicts, told, addresses, pass } = await network('10.0.0.');
  t.after(() => checks.close());
  for (const address of addresses) world.answers.set(address, 'no route to host');
  await pass(20_000);
  assert.ok(checks.suspected);
  assert.deepEqual(checks.dead(), []);
  const last = new Map(told.map(({ address, alive }) => [address, alive]));
  assert.deepEqual([...last.values()], [true, true, true, true]);
  await pass(60_000);
  assert.deepEqual(checks.dead(), []);
  // The network is back; one of them really is dead.
  for (const address of addresses.slice(1)) world.answers.delete(address);
  for (let ms = 0; checks.suspected && ms < 10_000; ms += 100) await pass(100);
  assert.ok(!checks.suspected);
  assert.deepEqual(checks.dead(), [], 'each has to fail anew');
  await pass(6_000);
  assert.deepEqual(
    checks.dead().map(({ address }) => address),
    [addresses[0]],
  );
  assert.deepEqual(verdicts.at(-1), { service: 'shop', address: addresses[0], alive: false });
});

test('what goes down one after the other, leaves one alive, or is on this machine, is believed', async (t) => {
  const slow = await network('10.0.0.');
  t.after(() => slow.checks.close());
  for (const address of slow.addresses) {
    slow.world.answers.set(address, 'refused');
    await slow.pass(40_000);
  }
  assert.equal(slow.checks.dead().length, 4);
  const one = await network('10.0.0.');
  t.after(() => one.checks.close());
  for (const address of one.addresses.slice(1)) one.world.answers.set(address, 'refused');
  await one.pass(20_000);
  assert.equal(one.checks.dead().length, 3);
  const local = await network('127.0.0.');
  t.after(() => local.checks.close());
  for (const address of local.addresses) local.world.answers.set(address, 'refused');
  await local.pass(20_000);
  assert.equal(local.checks.dead().length, 4);
});

test('a first pass of one that is down is confirmed soon: it is back within a moment', async (t) => {
  const { checks, world, verdicts, pass } = setup();
  t.after(() => checks.close());
  world.answers.set('10.0.0.1:80', 'refused');
  checks.setService(
    'shop',
    compiled(['10.0.0.1:80'], { health: { type: 'tcp', interval: 5_000, rise: 4, jitter: 0 } }),
  );
  await pass(6_000);
  assert.equal(verdicts.at(-1)?.alive, false);
  world.answers.delete('10.0.0.1:80');
  await pass(1_700);
  assert.equal(verdicts.at(-1)?.alive, true);
});

test('what the checks find of another worker at an address is told, even if it is what was told of the one before', async (t) => {
  const { checks, world, told, verdicts, pass } = setup();
  t.after(() => checks.close());
  const of = (worker: string): CompiledService => {
    const service = compiled(['10.0.0.1:80']);
    const backends = service.keys.get(1)!.backends.map((backend) => ({ ...backend, worker }));
    return { ...service, keys: new Map([[1, { key: 1, enabled: true, backends }]]) };
  };
  world.answers.set('10.0.0.1:80', 'status 500');
  checks.setService('shop', of('one'));
  await pass(6_000);
  const dead = { service: 'shop', address: '10.0.0.1:80', alive: false };
  assert.deepEqual(told, [dead]);
  checks.setService('shop', of('one'));
  await pass(6_000);
  assert.equal(told.length, 1, 'the same worker');
  assert.deepEqual(checks.dead(), [dead]);
  checks.setService('shop', of('two'));
  assert.deepEqual(checks.dead(), [], 'of the new one a process that begins knows as little as the others');
  await pass(6_000);
  assert.deepEqual(told.slice(1), [dead], 'serving processes believed the new one alive');
  assert.equal(verdicts.length, 1, 'nobody hears twice that it is down');
  world.answers.delete('10.0.0.1:80');
  await pass(3_000);
  assert.equal(told.at(-1)?.alive, true);
});

test('a process that may have missed verdicts is told those of all that were decided', async (t) => {
  const { checks, world, pass } = setup();
  t.after(() => checks.close());
  world.answers.set('10.0.0.1:80', 'refused');
  checks.setService('shop', compiled(['10.0.0.1:80', '10.0.0.2:80']));
  assert.deepEqual(checks.verdicts(), []);
  await pass(6_000);
  assert.deepEqual(
    checks.verdicts().map(({ address, alive }) => [address, alive]),
    [
      ['10.0.0.1:80', false],
      ['10.0.0.2:80', true],
    ],
  );
});

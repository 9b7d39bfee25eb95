import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { serviceEntry, tableOf } from '../../shared/routing/fixtures.ts';
import { Trouble } from './service-trouble.ts';

const backends = (...states: string[]) => ({
  latest: 1,
  keys: { '1': { backends: states.map((state, i) => ({ address: `10.0.0.${i + 1}:80`, state })) } },
});

function troubleOf(
  entries: Parameters<typeof tableOf>[0],
  dead: readonly string[] = [],
  failing: readonly string[] = [],
) {
  const clock = new ManualClock();
  // Without a verdict a backend counts as alive.
  const health = {
    suspected: false,
    of: (_: string, address: string) =>
      dead.includes(address)
        ? { alive: false, against: 0 }
        : failing.includes(address)
          ? { alive: true, against: 1 }
          : null,
  };
  return { clock, health, trouble: new Trouble(tableOf(entries), health, clock) };
}

test('a service is down when no backend that serves is alive', () => {
  const entries = [
    serviceEntry('alive', backends('ready', 'ready')),
    serviceEntry('drained', backends('maintenance', 'drain')),
    serviceEntry('empty', { latest: 1, keys: { '1': {} } }),
    serviceEntry('never', { keys: {} }),
    serviceEntry('off', { enabled: false, ...backends('ready') }),
  ];
  const { trouble } = troubleOf(entries, ['10.0.0.1:80']);
  assert.deepEqual(trouble.report().down, ['empty']);
  const all = troubleOf(entries, ['10.0.0.1:80', '10.0.0.2:80']);
  assert.deepEqual(all.trouble.report().down, ['alive', 'empty']);
});

test('a dead backend is named while others of its service serve, and should be one of those', () => {
  const entries = [
    serviceEntry('half', backends('ready', 'ready')),
    serviceEntry('none', backends('ready')),
    serviceEntry('drained', backends('drain', 'ready')),
    serviceEntry('off', { enabled: false, ...backends('ready', 'ready') }),
  ];
  const { trouble } = troubleOf(entries, ['10.0.0.1:80']);
  const { down, dead } = trouble.report();
  assert.deepEqual(down, ['none']);
  assert.deepEqual(dead, ['half 10.0.0.1:80']);
});

test('what fails its checks, and not for long enough to tell, is named apart', () => {
  const entries = [
    serviceEntry('one', backends('ready')),
    serviceEntry('two', backends('ready', 'ready')),
    serviceEntry('three', backends('ready', 'ready', 'ready')),
  ];
  const { trouble } = troubleOf(entries, ['10.0.0.1:80'], ['10.0.0.2:80']);
  const { down, dead, failingServices, failingBackends } = trouble.report();
  assert.deepEqual(down, ['one']);
  assert.deepEqual(dead, ['three 10.0.0.1:80', 'two 10.0.0.1:80']);
  assert.deepEqual(failingServices, ['two']);
  assert.deepEqual(failingBackends, ['three 10.0.0.2:80', 'two 10.0.0.2:80']);
});

test('that no check is believed is said', () => {
  const { trouble, health } = troubleOf([]);
  assert.equal(trouble.report().checksSuspended, false);
  health.suspected = true;
  assert.equal(trouble.report().checksSuspended, true);
});

test('a backend flaps after six changes within ten minutes, until it has been calmer', () => {
  const { clock, trouble } = troubleOf([]);
  const change = () => {
    trouble.changed([{ service: 'web', address: '10.0.0.1:80' }]);
    clock.advance(60_000);
  };
  for (let i = 0; i < 5; i++) change();
  assert.deepEqual(trouble.report().flapping, []);
  change();
  assert.deepEqual(trouble.report().flapping, ['web 10.0.0.1:80']);
  clock.advance(300_000);
  assert.deepEqual(trouble.report().flapping, ['web 10.0.0.1:80']);
  clock.advance(200_000);
  assert.deepEqual(trouble.report().flapping, []);
  for (let i = 0; i < 10_000; i++) trouble.changed([{ service: 'web', address: `10.0.0.1:${i}` }]);
  assert.deepEqual(trouble.report().flapping, []);
});

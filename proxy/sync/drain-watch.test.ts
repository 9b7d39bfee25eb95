import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import { resolveService } from '../../shared/model/service.ts';
import type { BackendSpec, CompiledService } from '../../shared/routing/decision.ts';
import { DrainWatch } from './drain-watch.ts';

function service(states: Record<string, BackendSpec['state']>, name = 'shop'): CompiledService {
  const backends = Object.entries(states).map(([address, state]) => {
    return { address, weight: 1, tier: 0, state, since: 0, worker: null };
  });
  return {
    name,
    config: resolveService({ name }),
    keys: new Map([[1, { key: 1, enabled: true, backends }]]),
    latest: 1,
    greatest: 1,
  };
}

function setup() {
  const clock = new ManualClock();
  const lines: string[] = [];
  const busy = new Set<string>();
  const asked: string[] = [];
  const log: Log = {
    ...silentLog,
    info: (event, message) => {
      lines.push(`${event}: ${message}`);
    },
  };
  const watch = new DrainWatch({
    clock,
    log,
    async isDrained(of, address) {
      asked.push(`${of} ${address}`);
      if (busy.has('broken')) throw new Error('no answer');
      return !busy.has(address);
    },
  });
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      clock.advance(1_000);
      for (let turn = 0; turn < 60; turn++) await Promise.resolve();
    }
  };
  return { watch, lines, busy, asked, pass };
}

test('a backend that drains is reported once, when nothing is under way on it any more', async () => {
  const { watch, lines, busy, asked, pass } = setup();
  busy.add('a:1');
  watch.setService('shop', service({ 'a:1': 'drain', 'b:1': 'ready' }));
  await pass(5);
  assert.deepEqual(lines, []);
  busy.add('broken');
  busy.delete('a:1');
  await pass(2);
  assert.deepEqual(lines, []);
  busy.delete('broken');
  await pass(1);
  assert.deepEqual(lines, ['backend_drained: backend a:1 of shop has nothing under way any more']);
  const looks = asked.length;
  watch.setService('shop', service({ 'a:1': 'drain', 'b:1': 'ready' }));
  await pass(5);
  assert.equal(asked.length, looks, 'nobody is asked once all are done');
  watch.setService('shop', service({ 'a:1': 'ready' }));
  watch.setService('shop', service({ 'a:1': 'drain' }));
  await pass(2);
  assert.equal(lines.length, 2);
});

test('one that is ready again, or gone, is not reported', async () => {
  const { watch, lines, pass } = setup();
  watch.setService('shop', service({ 'a:1': 'drain' }));
  watch.setService('mail', service({ 'a:1': 'drain' }, 'mail'));
  watch.setService('shop', service({ 'a:1': 'ready' }));
  watch.setService('mail', null);
  await pass(3);
  assert.deepEqual(lines, []);
});

test('however many drain, all are looked at, and closing ends it', async () => {
  const { watch, lines, busy, asked, pass } = setup();
  const all = Array.from({ length: 50 }, (_, n) => `h${n}:1`);
  for (const address of all.slice(0, 45)) busy.add(address);
  watch.setService('shop', service(Object.fromEntries(all.map((address) => [address, 'drain']))));
  await pass(4);
  assert.equal(lines.length, 5);
  const looks = asked.length;
  watch.close();
  await pass(3);
  assert.equal(asked.length, looks);
});

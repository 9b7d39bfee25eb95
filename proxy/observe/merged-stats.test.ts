import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { COUNT, Counters, OTHER_SERVICES } from './counters.ts';
import { exampleRecord } from './example.ts';
import { MergedStats } from './merged-stats.ts';

/** As it arrives after the trip between processes. */
const sent = (counters: Counters, full = false, dropped = 0) =>
  JSON.parse(JSON.stringify(counters.snapshot(full, dropped)));
const requests = (stats: MergedStats, name = 'shop') => stats.services().get(name)?.counts[COUNT.timed] ?? 0;

test('the counts of several processes add up', () => {
  const stats = new MergedStats();
  const processes = [new Counters(), new Counters()];
  processes.forEach((counters, i) => {
    counters.connectionsActive = 2;
    counters.connectionsTotal = 5;
    counters.count(exampleRecord({ cause: 'all_dead' }));
    counters.count(exampleRecord({ service: 'blog' }));
    stats.report(i + 1, sent(counters, false, 3));
  });
  assert.deepEqual([requests(stats), requests(stats, 'blog')], [2, 2]);
  assert.deepEqual([stats.connectionsActive, stats.connectionsTotal, stats.logLinesDropped], [4, 10, 6]);
  assert.equal(new Map(stats.causes()).get('all_dead'), 2);
  assert.equal(new Map(stats.causes()).get('internal'), 0);
});

test('late timers add up over processes; memory is that of the living, by number', () => {
  const stats = new MergedStats();
  const [one, two] = [new Counters(), new Counters()];
  const report = (from: number, counters: Counters, loopDelays: unknown, residentBytes: unknown) =>
    stats.report(from, { ...sent(counters), loopDelays, residentBytes });
  report(1, one, [0, 40, 10, 2], 100);
  report(2, two, [0, 30], 200);
  report(1, one, [0, 90, 10, 3, -1, 5, 1e9, 5], 120);
  assert.deepEqual([stats.loopDelays()[0], stats.loopDelays()[10]], [120, 3]);
  assert.deepEqual(
    [...stats.residentBytes()],
    [
      [1, 120],
      [2, 200],
    ],
  );
  stats.gone(2);
  assert.deepEqual([...stats.residentBytes()], [[1, 120]]);
  assert.equal(stats.loopDelays()[0], 120);
});

test('a process that is replaced leaves its totals and takes its open connections', () => {
  const stats = new MergedStats();
  const old = new Counters();
  old.connectionsActive = 7;
  old.connectionsTotal = 9;
  old.count(exampleRecord());
  stats.report(1, sent(old));
  stats.gone(1);
  assert.deepEqual([requests(stats), stats.connectionsActive, stats.connectionsTotal], [1, 0, 9]);
  const next = new Counters();
  next.connectionsActive = 1;
  next.connectionsTotal = 1;
  next.count(exampleRecord());
  stats.report(1, sent(next));
  assert.deepEqual([requests(stats), stats.connectionsActive, stats.connectionsTotal], [2, 1, 10]);
});

test('what waits in queues adds up, falls to 0, and ends with its process and its service', () => {
  const known = new Set(['shop', 'blog']);
  const stats = new MergedStats((name) => known.has(name));
  const report = (from: number, counters: Counters, queues: unknown) =>
    stats.report(from, { ...sent(counters), queues });
  const [one, two] = [new Counters(), new Counters()];
  assert.deepEqual([...stats.queues()], []);
  report(1, one, { shop: 3, blog: 1, gone: 5 });
  report(2, two, { shop: 4 });
  assert.deepEqual(Object.fromEntries(stats.queues()), { shop: 7, blog: 1 });
  report(1, one, {});
  assert.deepEqual(Object.fromEntries(stats.queues()), { shop: 4, blog: 0 });
  stats.gone(2);
  known.delete('blog');
  assert.deepEqual(Object.fromEntries(stats.queues()), { shop: 0 });
  for (const nonsense of [null, 7, 'x', { shop: 'many' }, { shop: -1 }]) report(1, one, nonsense);
  assert.deepEqual(Object.fromEntries(stats.queues()), { shop: 0 });
});

test('an old and a new process under one number do not count twice', () => {
  const stats = new MergedStats();
  const old = new Counters();
  const next = new Counters();
  for (let round = 0; round < 4; round++) {
    for (const counters of [old, next]) {
      counters.count(exampleRecord());
      stats.report(1, sent(counters, true));
    }
  }
  assert.equal(requests(stats), 8);
});

test('the same snapshot twice, or one that comes late, changes nothing', () => {
  const stats = new MergedStats();
  const counters = new Counters();
  counters.count(exampleRecord());
  const early = sent(counters);
  counters.count(exampleRecord());
  const late = sent(counters);
  for (const snapshot of [early, late, late, early, late]) stats.report(1, snapshot);
  assert.equal(requests(stats), 2);
  stats.gone(1);
  stats.report(1, late);
  assert.equal(requests(stats), 2);
});

test('a sync that is new gets everything from one full snapshot', () => {
  const counters = new Counters();
  counters.count(exampleRecord());
  sent(counters);
  const stats = new MergedStats();
  stats.report(1, sent(counters, true));
  assert.equal(requests(stats), 1);
});

test('a service that is removed disappears, the totals of the node stay', () => {
  const table = new Set(['shop']);
  const stats = new MergedStats((name) => table.has(name));
  const counters = new Counters();
  counters.count(exampleRecord());
  stats.report(1, sent(counters));
  table.delete('shop');
  assert.equal(stats.services().has('shop'), false);
  assert.equal(stats.totals()[COUNT.timed], 1);
  // A late report of the process must not bring the name back.
  counters.count(exampleRecord());
  stats.report(1, sent(counters));
  assert.equal(stats.services().has('shop'), false);
});

test('what is no snapshot is ignored', () => {
  const stats = new MergedStats();
  for (const garbage of [
    null,
    undefined,
    1,
    'x',
    [],
    {},
    { version: 2 },
    { version: 1, process: 'p', causes: {} },
  ]) {
    stats.report(1, garbage);
  }
  stats.report(1, {
    version: 1,
    process: 'p',
    connectionsActive: 0,
    connectionsTotal: Number.NaN,
    causes: { nonsense: 4, __proto__: 3 },
    services: [{ name: 'shop', born: 1, counts: [-1, 'x', null], times: [999, 5, -1, 5] }],
  });
  assert.equal(requests(stats), 0);
  assert.equal(stats.connectionsTotal, 0);
});

test('totals never go backwards and miss nothing, whatever processes come, go, and forget', () => {
  const step = fc.record({
    process: fc.nat(2),
    what: fc.constantFrom('count', 'count', 'count', 'report', 'report-full', 'replace', 'gone'),
    service: fc.constantFrom('a', 'b'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const stats = new MergedStats();
      const processes = [new Counters(), new Counters(), new Counters()];
      const unsent = [0, 0, 0];
      let total = 0;
      let before = 0;
      for (const { process, what, service } of steps) {
        const counters = processes[process] as Counters;
        if (what === 'count') {
          counters.count(exampleRecord({ service }));
          unsent[process]!++;
        } else if (what === 'report' || what === 'report-full') {
          stats.report(process, sent(counters, what === 'report-full'));
          total += unsent[process] as number;
          unsent[process] = 0;
        } else {
          stats.gone(process);
          // Dead is dead, or it was only said of the one before it.
          if (what === 'replace') {
            processes[process] = new Counters();
            unsent[process] = 0;
          }
        }
        const now = stats.totals()[COUNT.timed] as number;
        assert.ok(now >= before);
        assert.equal(now, total);
        before = now;
      }
    }),
  );
});

test('more services than the bound are counted together', () => {
  const stats = new MergedStats();
  const counters = [new Counters(), new Counters()];
  counters.forEach((one, i) => {
    for (let n = 0; n < 3_000; n++) one.count(exampleRecord({ service: `p${i}-${n}` }));
    stats.report(i, sent(one, true));
  });
  assert.ok(stats.services().size <= 5_001);
  assert.equal(stats.totals()[COUNT.timed], 6_000);
  assert.ok(requests(stats, OTHER_SERVICES) > 900);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { COUNT, Counters, MAX_SERVICES, NO_SERVICE, OTHER_SERVICES, type StatsSnapshot } from './counters.ts';
import { exampleRecord } from './example.ts';
import { BOUNDS_MS, BUCKETS, bucketOf, quantile } from './histogram.ts';

const service = (snapshot: StatsSnapshot, name: string) =>
  snapshot.services.find((candidate) => candidate.name === name);

test('requests are counted by service and class of their status', () => {
  const counters = new Counters();
  for (const status of [101, 200, 204, 302, 404, 499, 503, 0, 999]) counters.count(exampleRecord({ status }));
  counters.count(exampleRecord({ service: null }));
  const snapshot = counters.snapshot();
  assert.deepEqual(service(snapshot, 'shop')?.counts.slice(COUNT.status, COUNT.status + 5), [2, 2, 1, 2, 2]);
  assert.equal(service(snapshot, NO_SERVICE)?.counts[COUNT.status + 1], 1);
});

test('bytes, retries and causes add up', () => {
  const counters = new Counters();
  counters.count(exampleRecord({ bytesIn: 3, bytesOut: 10, retries: 1, cause: 'backend_reset' }));
  counters.count(exampleRecord({ bytesIn: 4, bytesOut: 20, retries: 2, cause: 'backend_reset' }));
  counters.count(exampleRecord({ bytesIn: 0, bytesOut: 0, service: null, cause: 'host_unknown' }));
  const snapshot = counters.snapshot();
  const counts = service(snapshot, 'shop')?.counts ?? [];
  assert.deepEqual([counts[COUNT.bytesIn], counts[COUNT.bytesOut], counts[COUNT.retries]], [7, 30, 3]);
  assert.deepEqual(snapshot.causes, { backend_reset: 2, host_unknown: 1 });
});

test('the life of a tunnel is no request duration', () => {
  const counters = new Counters();
  counters.count(exampleRecord({ protocol: 'websocket', status: 101, totalMs: 3_600_000 }));
  counters.count(exampleRecord({ protocol: 'tcp', status: 0, totalMs: 3_600_000 }));
  counters.count(exampleRecord({ protocol: 'websocket', status: 503, totalMs: 2 }));
  counters.count(exampleRecord({ totalMs: 4 }));
  const shop = service(counters.snapshot(), 'shop');
  assert.deepEqual(
    [COUNT.timed, COUNT.timeMs, COUNT.websockets, COUNT.tcp].map((place) => shop?.counts[place]),
    [2, 6, 1, 1],
  );
  assert.deepEqual(shop?.times, [bucketOf(2), 1, bucketOf(4), 1]);
});

test('a snapshot holds what changed, a full one everything', () => {
  const counters = new Counters();
  counters.count(exampleRecord({ service: 'a' }));
  counters.count(exampleRecord({ service: 'b' }));
  assert.deepEqual(
    counters.snapshot().services.map(({ name }) => name),
    ['a', 'b'],
  );
  counters.count(exampleRecord({ service: 'b' }));
  const [only, ...others] = counters.snapshot().services;
  assert.deepEqual([only?.name, only?.counts[COUNT.timed], others.length], ['b', 2, 0]);
  assert.deepEqual(counters.snapshot().services, []);
  assert.deepEqual(
    counters.snapshot(true).services.map(({ name }) => name),
    [NO_SERVICE, OTHER_SERVICES, 'a', 'b'],
  );
});

test('a snapshot is bounded, and what did not fit is in the next ones', () => {
  const counters = new Counters();
  const names = Array.from({ length: 1_200 }, (_, i) => `s${i}`);
  for (const name of names) counters.count(exampleRecord({ service: name }));
  const seen: string[] = [];
  for (let round = 0; round < 3; round++) {
    const { services } = counters.snapshot();
    assert.ok(services.length <= 500);
    seen.push(...services.map(({ name }) => name));
  }
  assert.deepEqual(seen.sort(), names.sort());
});

test('names that the table does not have are counted together', () => {
  const counters = new Counters((name) => name === 'shop');
  for (const name of ['shop', 'gone', 'constructor']) counters.count(exampleRecord({ service: name }));
  const snapshot = counters.snapshot();
  assert.equal(service(snapshot, OTHER_SERVICES)?.counts[COUNT.timed], 2);
  assert.deepEqual(
    snapshot.services.map(({ name }) => name),
    [OTHER_SERVICES, 'shop'],
  );
});

test('a service that was removed is forgotten, and begins anew when it comes back', () => {
  const table = new Set(['shop']);
  const counters = new Counters((name) => table.has(name));
  counters.count(exampleRecord());
  const before = service(counters.snapshot(), 'shop');
  table.delete('shop');
  counters.snapshot();
  counters.count(exampleRecord());
  assert.equal(service(counters.snapshot(true), 'shop'), undefined);
  table.add('shop');
  counters.count(exampleRecord());
  const again = service(counters.snapshot(), 'shop');
  assert.equal(again?.counts[COUNT.timed], 1);
  assert.notEqual(again?.born, before?.born);
});

test('however many services there are, the counted ones are bounded and no request is lost', () => {
  const counters = new Counters();
  for (let i = 0; i < MAX_SERVICES + 100; i++) counters.count(exampleRecord({ service: `s${i}` }));
  const { services } = counters.snapshot(true);
  assert.equal(services.length, MAX_SERVICES);
  assert.equal(
    services.reduce((sum, { counts }) => sum + (counts[COUNT.timed] ?? 0), 0),
    MAX_SERVICES + 100,
  );
});

test('every duration is in the one bucket whose bounds enclose it', () => {
  assert.equal(BOUNDS_MS.length + 1, BUCKETS);
  fc.assert(
    fc.property(
      fc.oneof(fc.double({ min: 0, max: 200_000, noNaN: true }), fc.constantFrom(...BOUNDS_MS)),
      (ms) => {
        const bucket = bucketOf(ms);
        assert.ok(bucket >= 0 && bucket < BUCKETS);
        assert.ok(ms <= (BOUNDS_MS[bucket] ?? Infinity));
        assert.ok(bucket === 0 || ms > (BOUNDS_MS[bucket - 1] as number));
      },
    ),
  );
});

test('bounds grow by about a quarter, so that a quantile is right to within that', () => {
  for (let i = 1; i < BOUNDS_MS.length; i++) {
    const ratio = (BOUNDS_MS[i] as number) / (BOUNDS_MS[i - 1] as number);
    assert.ok(ratio > 1.2 && ratio < 1.3, `${BOUNDS_MS[i - 1]} … ${BOUNDS_MS[i]}`);
  }
  const counts = new Float64Array(BUCKETS);
  const durations = Array.from({ length: 1_000 }, (_, i) => (i + 1) * 0.37);
  for (const ms of durations) counts[bucketOf(ms)]!++;
  for (const q of [0.5, 0.95, 0.99]) {
    const exact = durations[Math.ceil(q * 1_000) - 1] as number;
    const found = quantile(counts, q) as number;
    assert.ok(Math.abs(found / exact - 1) < 0.3, `${q}: ${found} for ${exact}`);
  }
  assert.equal(quantile(new Float64Array(BUCKETS), 0.5), null);
});

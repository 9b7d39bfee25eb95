import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heldRig, service, spec } from './testing.ts';

const OLD = '10.0.0.1:80';
const NEW = '10.0.0.2:80';
const SLOW = { slowStart: '20s', pool: { max: 10_000 } };

/** Seeded, so that shares can be told exactly enough. */
function drawing(): () => number {
  let state = 7;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x80000000;
  };
}

/** Share of 2 000 requests that go to `NEW`. */
function share(made: ReturnType<typeof heldRig>, of: ReturnType<typeof service>): number {
  let hits = 0;
  for (let request = 0; request < 2_000; request++) {
    const got = made.acquire(of);
    while (got.answers === 0 && made.connector.pending.length > 0) made.connector.succeed();
    if (got.address === NEW) hits++;
    got.connection?.release(null);
  }
  return hits / 2_000;
}

function setup(document: Record<string, unknown> = SLOW) {
  const made = heldRig({ random: drawing() });
  const alone = service({ 1: [OLD] }, document);
  const both = service({ 1: [OLD, NEW] }, document);
  made.upstreams.setService('shop', alone);
  return { made, both };
}

for (const balance of ['round-robin', 'random', 'weighted-round-robin', 'rendezvous'] as const) {
  test(`under ${balance} a new backend gets a growing part of its share`, () => {
    const { made, both } = setup({ ...SLOW, balance, hash: { by: 'uri' } });
    made.upstreams.setService('shop', both);
    // A visitor of a hash keeps its backend: the weights tell, then.
    const part = () =>
      balance === 'rendezvous'
        ? (made.upstreams.status().find(({ address }) => address === NEW)?.ramp ?? 0) / 2
        : share(made, both);
    assert.ok(part() < 0.08, 'at first next to nothing');
    made.pass(10_000);
    const middle = part();
    assert.ok(middle > 0.15 && middle < 0.4, `half-way ${middle}`);
    made.pass(11_000);
    const full = part();
    assert.ok(full > 0.44 && full < 0.56, `at the end ${full}`);
  });
}

test('a backend that came back starts slowly, one that was there from the beginning does not', () => {
  const { made, both } = setup();
  const fresh = heldRig({ random: drawing() });
  fresh.upstreams.setService('shop', both);
  assert.ok(share(fresh, both) > 0.44);
  made.upstreams.setService('shop', both);
  made.pass(21_000);
  made.upstreams.setVerdict('shop', NEW, false);
  assert.equal(share(made, both), 0);
  made.upstreams.setVerdict('shop', NEW, true);
  assert.ok(share(made, both) < 0.08);
});

test('so does one that returns from maintenance, and not one that was merely drained', () => {
  for (const [state, slowly] of [
    ['maintenance', true],
    ['drain', false],
  ] as const) {
    const { made, both } = setup();
    made.upstreams.setService('shop', both);
    made.pass(21_000);
    made.upstreams.setService('shop', service({ 1: [OLD, spec(NEW, { state })] }, SLOW));
    made.upstreams.setService('shop', both);
    assert.equal(share(made, both) < 0.08, slowly, state);
  }
});

test('without slowStart a new backend gets its share at once, and switching it off ends what is under way', () => {
  const { made, both } = setup({ pool: { max: 10_000 } });
  made.upstreams.setService('shop', both);
  assert.ok(share(made, both) > 0.44);
  const slow = setup();
  slow.made.upstreams.setService('shop', slow.both);
  const off = service({ 1: [OLD, NEW] }, { pool: { max: 10_000 } });
  slow.made.upstreams.setService('shop', off);
  assert.ok(share(slow.made, off) > 0.44);
});

test('a shorter slowStart counts at once for those that are on their way', () => {
  const { made, both } = setup({ ...SLOW, slowStart: '1h' });
  made.upstreams.setService('shop', both);
  const shorter = service({ 1: [OLD, NEW] }, SLOW);
  made.upstreams.setService('shop', shorter);
  made.pass(21_000);
  assert.ok(share(made, shorter) > 0.44);
});

test('a slow start of the only backend holds nothing back, and leaves no timer behind', () => {
  const { made } = setup();
  const alone = service({ 1: [NEW] }, SLOW);
  made.upstreams.setService('shop', alone);
  assert.equal(share(made, alone), 1);
  made.upstreams.setService('shop', null);
  made.upstreams.close();
  made.pass(1_000);
  assert.equal(made.timers.size, 0);
});

test('a connect that was under way when its service went away starts nothing slowly', () => {
  const { made, both } = setup();
  made.upstreams.setService('shop', both);
  made.pass(21_000);
  for (let count = 0; count < 3; count++) {
    made.upstreams.applyRemoteFailures([{ service: 'shop', address: NEW, count: 1 }]);
  }
  made.acquire(both, { tried: [] });
  made.upstreams.setService('shop', null);
  while (made.connector.pending.length > 0) made.connector.succeed();
  made.upstreams.close();
  made.pass(30_000);
  assert.equal(made.timers.size, 0);
});

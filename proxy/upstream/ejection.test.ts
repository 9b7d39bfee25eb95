import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FailureReport } from './failure-report.ts';
import { type Got, heldRig, service, spec } from './testing.ts';

const A = '10.0.0.1:80';
const B = '10.0.0.2:80';
const C = '10.0.0.3:80';
const EJECT = { eject: { status5xx: 3 }, passive: { offline: '10s' } };

function setup(document: Record<string, unknown> = EJECT, addresses = [A, B, C]) {
  const made = heldRig();
  const shop = service({ 1: addresses }, document);
  made.upstreams.setService('shop', shop);
  const ask = (): Got => {
    const got = made.acquire(shop);
    while (got.answers === 0 && made.connector.pending.length > 0) made.connector.succeed();
    return got;
  };
  /** One answer of this backend; other backends that the policy gives meanwhile answer 200 fast. */
  const answer = (address: string, status: number, ms = 1) => {
    for (let attempt = 0; attempt < 20; attempt++) {
      const got = ask();
      const its = got.address === address;
      got.connection?.signals?.answered(its ? status : 200, its ? ms : 1);
      got.connection?.release(null);
      if (its) return;
    }
    assert.fail(`${address} gets nothing`);
  };
  const alive = (address: string) => made.backend(address).alive;
  return { made, shop, ask, answer, alive };
}

test('a backend is out after so many 5xx in a row, and back after passive.offline', () => {
  const { made, ask, answer, alive } = setup();
  for (const status of [500, 503, 200, 502, 599]) answer(A, status);
  assert.ok(alive(A), 'an answer in between begins the count again');
  answer(A, 500);
  assert.ok(!alive(A));
  for (let turn = 0; turn < 6; turn++) assert.notEqual(ask().address, A);
  made.pass(9_800);
  assert.ok(!alive(A));
  made.pass(400);
  assert.ok(alive(A));
});

test('neither a passed check nor a connection brings it back before its time', () => {
  const { made, answer, alive } = setup();
  for (let count = 0; count < 3; count++) answer(A, 500);
  made.upstreams.setVerdict('shop', A, true);
  made.upstreams.applyRemoteRecovered('shop', A);
  assert.ok(!alive(A));
});

test('it is out for longer each time, and forgiven after it did well for long enough', () => {
  const { made, answer, alive } = setup();
  const out = () => {
    for (let count = 0; count < 3; count++) answer(A, 500);
    let ms = 0;
    for (; !alive(A); ms += 1_000) made.pass(1_000);
    return Math.round(ms / 10_000);
  };
  assert.deepEqual([out(), out(), out()], [1, 2, 4]);
  made.pass(100_000);
  assert.equal(out(), 1);
});

test('at most maxShare of the backends is out, the dead ones counted', () => {
  const { made, answer, alive } = setup({
    eject: { status5xx: 2, maxShare: 0.67 },
    passive: { offline: '10s' },
  });
  for (const address of [A, B, C]) for (let count = 0; count < 2; count++) answer(address, 500);
  assert.deepEqual([A, B, C].map(alive), [false, false, true]);
  const half = setup({ eject: { status5xx: 2 } });
  half.made.upstreams.setVerdict('shop', B, false);
  for (let count = 0; count < 4; count++) half.answer(A, 500);
  assert.ok(half.alive(A));
  const only = setup({ eject: { status5xx: 1 } }, [A]);
  for (let count = 0; count < 4; count++) only.answer(A, 500);
  assert.ok(only.alive(A));
  assert.equal(made.upstreams.status().filter(({ why }) => why !== null).length, 2);
});

test('a backend much slower than the others is out; when all are slow, nobody is', () => {
  const { answer, alive, made } = setup({ eject: { latency: '100ms' } });
  for (let count = 0; count < 10; count++) for (const address of [B, C]) answer(address, 200, 20);
  for (let count = 0; count < 9 && alive(A); count++) answer(A, 200, 300);
  assert.ok(!alive(A));
  assert.match(made.upstreams.status().find(({ address }) => address === A)?.why ?? '', /take \d+ ms/);
  const slow = setup({ eject: { latency: '100ms' } });
  const each = () => {
    const got = slow.ask();
    got.connection?.signals?.answered(200, 300);
    got.connection?.release(null);
  };
  for (let count = 0; count < 60; count++) each();
  assert.ok([A, B, C].every(slow.alive));
});

test('a few slow answers, and those with a body to wait for, eject nobody', () => {
  const { answer, alive } = setup({ eject: { latency: '100ms' } });
  for (let count = 0; count < 10; count++) for (const address of [A, B, C]) answer(address, 200, 20);
  for (let count = 0; count < 20; count++) answer(A, 200, -1);
  answer(A, 200, 300);
  assert.ok(alive(A));
});

test('the processes of a node share what they see', () => {
  const reports: FailureReport[] = [];
  const { made, answer } = setup();
  reports.push(...made.failures);
  for (let count = 0; count < 3; count++) answer(A, 500);
  assert.deepEqual(made.failures, [
    { service: 'shop', address: A, count: 0, status5xx: 1 },
    { service: 'shop', address: A, count: 0, ejectedMs: 10_000 },
  ]);
  const other = setup();
  other.made.upstreams.applyRemoteFailures(made.failures);
  assert.ok(!other.alive(A));
  assert.deepEqual(other.made.failures, [], 'what was heard is not told again');
  const counting = setup();
  counting.made.upstreams.applyRemoteFailures([{ service: 'shop', address: B, count: 0, status5xx: 2 }]);
  assert.ok(counting.alive(B));
  counting.answer(B, 500);
  assert.ok(!counting.alive(B));
});

test('answers 5xx that are not in a row never add up in a process that gets none of the traffic', () => {
  const { made, answer, alive } = setup();
  const idle = setup();
  let told = 0;
  for (let turn = 0; turn < 12; turn++) {
    for (const status of [500, 200, 200]) answer(A, status);
    made.pass(200);
    idle.made.upstreams.applyRemoteFailures(made.failures.slice(told));
    told = made.failures.length;
  }
  assert.ok(alive(A));
  assert.ok(idle.alive(A), 'what was told is taken back by the good answer after it');
  assert.deepEqual(idle.made.failures, []);
  assert.equal(told, 24, 'good answers in a row are told once');
});

test('off by default: nobody hears of answers', () => {
  const { ask } = setup({});
  assert.equal(ask().connection?.signals, null);
});

test('switching it off brings back who was out; a new worker at the address begins anew', () => {
  const { made, answer, alive } = setup();
  for (let count = 0; count < 3; count++) answer(A, 500);
  made.upstreams.setService('shop', service({ 1: [A, B, C] }));
  assert.ok(alive(A));
  const renewed = setup();
  const workers = (id: string) => service({ 1: [spec(A, { worker: id }), B, C] }, EJECT);
  renewed.made.upstreams.setService('shop', workers('one'));
  for (let count = 0; count < 3; count++) renewed.answer(A, 500);
  renewed.made.upstreams.setService('shop', workers('two'));
  assert.ok(renewed.alive(A));
});

test('answers that come after their backend left the table, or after ejection was switched off, do nothing', () => {
  for (const gone of [true, false]) {
    const { made, ask } = setup({ eject: { status5xx: 1 }, passive: { offline: '10s' } });
    const late = ask();
    made.upstreams.setService(
      'shop',
      gone ? service({ 1: [B, C].filter((one) => one !== late.address) }, EJECT) : service({ 1: [A, B, C] }),
    );
    late.connection?.signals?.answered(500, 1);
    late.connection?.release(null);
    assert.deepEqual(made.failures, []);
    assert.ok(made.upstreams.status().every(({ alive }) => alive));
  }
});

test('an ejected backend that leaves the table leaves no timer behind', () => {
  const { made, answer } = setup();
  for (let count = 0; count < 3; count++) answer(A, 500);
  made.upstreams.setService('shop', null);
  made.upstreams.close();
  made.pass(1_000);
  assert.equal(made.timers.size, 0);
});

test('processes that take out another one each at the same moment leave each other somebody', () => {
  const document = { eject: { status5xx: 2 }, passive: { offline: '10s' } };
  const [one, two] = [setup(document, [A, B]), setup(document, [A, B])];
  for (let count = 0; count < 2; count++) {
    one.answer(A, 500);
    two.answer(B, 500);
  }
  const said = [...one.made.failures];
  one.made.upstreams.applyRemoteFailures(two.made.failures);
  two.made.upstreams.applyRemoteFailures(said);
  assert.deepEqual([A, B].map(one.alive), [false, true]);
  assert.deepEqual([A, B].map(two.alive), [true, false]);
});

test('when nobody else is left, those that are out for their answers serve', () => {
  const { made, answer, alive, ask } = setup(EJECT, [A, B]);
  for (let count = 0; count < 3; count++) answer(A, 500);
  assert.ok(!alive(A));
  made.upstreams.setVerdict('shop', B, false);
  assert.ok(alive(A));
  assert.equal(ask().address, A);
  const drained = setup(EJECT, [A, B]);
  for (let count = 0; count < 3; count++) drained.answer(A, 500);
  drained.made.upstreams.setService('shop', service({ 1: [A, spec(B, { state: 'maintenance' })] }, EJECT));
  assert.ok(drained.alive(A));
});

test('one that fails its checks as well stays out, and so do all where all may be', () => {
  const dead = setup(EJECT, [A, B]);
  for (let count = 0; count < 3; count++) dead.answer(A, 500);
  dead.made.upstreams.setVerdict('shop', A, false);
  dead.made.upstreams.setVerdict('shop', B, false);
  assert.ok(!dead.alive(A));
  const all = setup({ eject: { status5xx: 1, maxShare: 1 } }, [A, B]);
  all.answer(A, 500);
  all.answer(B, 500);
  assert.deepEqual([A, B].map(all.alive), [false, false]);
});

test('one that is out for its answers alone from now on serves where nobody else is left', () => {
  const { made, answer, alive, ask } = setup(EJECT, [A, B]);
  for (let count = 0; count < 3; count++) answer(A, 500);
  made.upstreams.setVerdict('shop', A, false);
  made.upstreams.setVerdict('shop', B, false);
  assert.ok(!alive(A));
  made.upstreams.setVerdict('shop', A, true);
  assert.ok(alive(A));
  assert.equal(ask().address, A);
});

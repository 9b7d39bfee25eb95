import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heldRig, service, spec } from './testing.ts';

const ALL = ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80'];

test('while all are marked dead one request a second tries them, one after the other, until one accepts', () => {
  const made = heldRig();
  const shop = service({ 1: ALL });
  made.upstreams.setService('shop', shop);
  for (const address of ALL) made.upstreams.setVerdict('shop', address, false);
  const first = made.acquire(shop);
  const second = made.acquire(shop);
  assert.equal(second.unavailable?.cause, 'all_dead');
  made.connector.fail();
  made.connector.fail();
  assert.equal(first.answers, 0);
  made.connector.succeed();
  assert.equal(new Set(made.connector.targets).size, 3);
  assert.ok(first.connection !== null);
  // A TCP check asks for nothing more than that: it is back for everybody.
  assert.equal(made.acquire(shop).unavailable, null);
});

test('a request that tried all of the dead in vain is told so, and the next try is a second later', () => {
  const made = heldRig();
  const shop = service({ 1: ALL });
  made.upstreams.setService('shop', shop);
  for (const address of ALL) made.upstreams.setVerdict('shop', address, false);
  const got = made.acquire(shop);
  for (let count = 0; count < 3; count++) made.connector.fail();
  assert.equal(got.unavailable?.cause, 'all_dead');
  assert.equal(made.acquire(shop).unavailable?.cause, 'all_dead');
  assert.equal(made.connector.targets.length, 3);
  made.pass(1_100);
  made.acquire(shop);
  assert.equal(made.connector.targets.length, 4);
});

test('a round of trials meets every dead backend once, and none that is in maintenance or has no room', () => {
  const made = heldRig();
  const many = Array.from({ length: 40 }, (_, i) =>
    spec(`10.0.1.${i}:80`, i % 4 === 0 ? { state: 'maintenance' } : {}),
  );
  const shop = service({ 1: many }, { pool: { max: 1 }, health: { type: 'http' } });
  made.upstreams.setService('shop', shop);
  const busy = made.acquire(shop);
  made.connector.succeed();
  for (const { address } of many) made.upstreams.setVerdict('shop', address, false);
  for (const round of [1, 2]) {
    const before = made.connector.targets.length;
    made.acquire(shop);
    while (made.connector.pending.length > 0) made.connector.fail();
    const tried = made.connector.targets.slice(before);
    assert.equal(tried.length, 29, `round ${round}`);
    assert.equal(new Set(tried).size, 29);
    assert.ok(!tried.includes(busy.address ?? ''));
    made.pass(1_100);
  }
});

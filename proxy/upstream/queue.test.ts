import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CompiledService } from '../../shared/routing/decision.ts';
import { Got, heldRig, plain, request, service, spec } from './testing.ts';

const A = '10.0.0.1:80';
const B = '10.0.0.2:80';

/** A service with one connection per backend, all of them lent. */
function full(keys: Parameters<typeof service>[0], document: Record<string, unknown> = {}) {
  const it = heldRig();
  const shop = service(keys, { pool: { max: 1, idle: '1h' }, ...document });
  it.upstreams.setService('shop', shop);
  const lent: Got[] = [];
  for (const [number, key] of shop.keys) {
    for (const _ of key.backends) {
      lent.push(it.acquire(shop, {}, number));
      it.connector.succeed();
    }
  }
  return { ...it, shop, lent };
}

describe('queue', () => {
  test('requests wait for a connection at the limit and get it in order of arrival', () => {
    const { acquire, shop, lent, upstreams, connector } = full({ 1: [A] });
    const waiting = [acquire(shop), acquire(shop), acquire(shop)];
    assert.equal(upstreams.waiting, 3);
    lent[0]?.connection?.release(null);
    assert.equal(waiting[0]?.connection?.stream, connector.streams[0]);
    assert.equal(waiting[1]?.answers, 0);
    waiting[0]?.connection?.release(null);
    assert.equal(waiting[1]?.answers, 1);
    // One that is thrown away leaves room for a new one.
    waiting[1]?.connection?.discard(false);
    assert.equal(waiting[2]?.answers, 0);
    connector.succeed();
    assert.equal(waiting[2]?.connection?.reused, false);
    assert.equal(upstreams.waiting, 0);
  });

  test('says how long a request waited and connected', () => {
    const { acquire, shop, lent, connector, pass } = full({ 1: [A] });
    const got = acquire(shop);
    pass(500);
    lent[0]?.connection?.discard(false);
    pass(200);
    connector.succeed();
    assert.equal(got.connection?.queuedMs, 500);
    assert.equal(got.connection?.connectMs, 200);
  });

  test('refuses what is more than queue.size, at once', () => {
    const { acquire, shop, upstreams } = full({ 1: [A] }, { queue: { size: 2, wait: '7s' } });
    const waiting = [acquire(shop), acquire(shop), acquire(shop)];
    assert.deepEqual(waiting[2]?.unavailable, { cause: 'queue_full', retryAfter: 7 });
    waiting[0]?.ticket.cancel();
    assert.equal(upstreams.waiting, 1);
    assert.equal(acquire(shop).answers, 0, 'a cancelled place is free at once');
    assert.equal(waiting[0]?.answers, 0, 'and nobody is answered who cancelled');
  });

  test('refuses what waited for queue.wait, not earlier', () => {
    const { acquire, shop, pass, lent } = full({ 1: [A] }, { queue: { wait: '2s' } });
    const got = acquire(shop);
    pass(1_900);
    assert.equal(got.answers, 0);
    pass(300);
    assert.deepEqual(got.unavailable, { cause: 'queue_timeout', retryAfter: 2 });
    lent[0]?.connection?.release(null);
    assert.equal(got.answers, 1);
  });

  test('one key at its limit does not hold up another', () => {
    const { acquire, shop, lent } = full({ 1: [A], 2: [B] });
    const first = acquire(shop, {}, 1);
    const second = acquire(shop, {}, 2);
    lent[1]?.connection?.release(null);
    assert.equal(second.answers, 1);
    assert.equal(first.answers, 0);
  });

  test('a retry that wants another backend does not hold up those behind it', () => {
    const { acquire, shop, lent } = full({ 1: [A, B] });
    const [onA, onB] = lent;
    const retry = acquire(shop, { tried: [onA!.connection!.backend] });
    const plainOne = acquire(shop);
    onA?.connection?.release(null);
    assert.equal(plainOne.address, A);
    assert.equal(retry.answers, 0);
    onB?.connection?.release(null);
    assert.equal(retry.address, B);
  });

  test('nor does one that a backend refused', () => {
    const { acquire, shop, lent, connector } = full({ 1: [A, B] });
    const refused = acquire(shop);
    lent[0]?.connection?.discard(false);
    connector.fail();
    const next = acquire(shop);
    connector.succeed();
    assert.equal(next.address, A);
    const last = acquire(shop);
    next.connection?.release(null);
    assert.equal(last.address, A);
    assert.equal(refused.answers, 0, 'it waits for the other one');
  });

  test('a request that goes wrong as it gets its connection harms nobody else', () => {
    const { acquire, shop, lent, upstreams, connector, backend } = full({ 1: [A] });
    const failing = new Got();
    failing.onConnection = () => {
      throw new Error('a defect');
    };
    upstreams.acquire(shop, shop.keys.get(1)!, request, plain, failing);
    const next = acquire(shop);
    lent[0]?.connection?.release(null);
    connector.succeed();
    assert.equal(next.answers, 1);
    assert.equal(backend(A).active, 1);
    next.connection?.release(null);
    upstreams.acquire(shop, shop.keys.get(1)!, request, plain, failing);
    assert.equal(backend(A).active, 0, 'nor does one that gets it at once');
  });

  test('twenty thousand requests that end at once are served one after the other', () => {
    const { shop, lent, upstreams } = full({ 1: [A] }, { queue: { size: 20_000 } });
    let served = 0;
    for (let number = 0; number < 20_000; number++) {
      const got = new Got();
      got.onConnection = (connection) => {
        served++;
        connection.release(null);
      };
      upstreams.acquire(shop, shop.keys.get(1)!, request, plain, got);
    }
    lent[0]?.connection?.release(null);
    assert.equal(served, 20_000);
  });

  test('a request that cancels the one behind it leaves the rest their turn', () => {
    const { acquire, shop, upstreams } = full({ 1: [A] });
    const others: Got[] = [];
    const first = new Got();
    first.onUnavailable = () => others[0]?.ticket.cancel();
    upstreams.acquire(shop, shop.keys.get(1)!, request, plain, first);
    others.push(acquire(shop), acquire(shop));
    upstreams.setVerdict('shop', A, false);
    assert.equal(others[0]?.answers, 0);
    assert.equal(others[1]?.unavailable?.cause, 'all_dead');
  });

  describe('a change of the table', () => {
    const change = (keys: Parameters<typeof service>[0], document: Record<string, unknown> = {}) =>
      service(keys, { pool: { max: 1, idle: '1h' }, ...document });
    const cases: [string, CompiledService | null, string][] = [
      ['a new backend', change({ 1: [A, B] }), B],
      ['a higher limit', change({ 1: [A] }, { pool: { max: 2 } }), A],
      ['the key gone', change({ 2: [B] }), 'no_backend'],
      ['the service gone', null, 'no_backend'],
      ['every backend gone', change({ 1: [] }), 'no_backend'],
      ['drain of the only backend', change({ 1: [spec(A, { state: 'drain' })] }), 'no_backend'],
    ];
    for (const [what, changed, outcome] of cases) {
      test(`is seen by those that wait: ${what}`, () => {
        const { acquire, shop, upstreams, connector } = full({ 1: [A] });
        const got = acquire(shop);
        upstreams.setService('shop', changed);
        while (connector.pending.length > 0) connector.succeed();
        assert.equal(got.address ?? got.unavailable?.cause, outcome);
        assert.equal(got.answers, 1);
        assert.equal(upstreams.waiting, 0);
      });
    }
  });

  test('all backends dying sends those that wait away', () => {
    const { acquire, shop, upstreams, connector } = full({ 1: [A, B] });
    const waiting = [acquire(shop), acquire(shop), acquire(shop)];
    upstreams.setVerdict('shop', A, false);
    upstreams.setVerdict('shop', B, false);
    assert.equal(connector.pending.length, 0, 'no room for a trial either');
    assert.deepEqual(
      waiting.map((got) => got.unavailable?.cause),
      ['all_dead', 'all_dead', 'all_dead'],
    );
  });
});

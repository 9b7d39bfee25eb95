import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { heldRig, service, spec } from './testing.ts';

const A = '10.0.0.1:80';
const B = '10.0.0.2:80';

function held(keys: Parameters<typeof service>[0], document: Record<string, unknown> = {}) {
  const it = heldRig();
  const shop = service(keys, { pool: { idle: '1h' }, ...document });
  it.upstreams.setService('shop', shop);
  return { ...it, shop };
}

describe('a change of the table', () => {
  test('keeps connections, counts, health and rotation of what stays', () => {
    const { acquire, shop, connector, upstreams, backend } = held({ 1: [A, B] });
    const idle = acquire(shop);
    connector.succeed();
    const lent = acquire(shop);
    connector.succeed();
    idle.connection?.release(null);
    upstreams.setVerdict('shop', B, false);
    const changed = service({ 1: [spec(A, { weight: 5 }), B] }, { pool: { idle: '1h' }, queue: { size: 1 } });
    upstreams.setService('shop', changed);
    assert.equal(backend(A).idle, 1);
    assert.equal(backend(B).active, 1);
    assert.equal(backend(B).alive, false);
    assert.equal(idle.connection?.backend.weight, 5, 'a backend is one object for as long as it is named');
    const next = acquire(changed);
    assert.equal(next.connection?.stream, idle.connection?.stream);
    lent.connection?.release(null);
    assert.equal(backend(B).idle, 1);
  });

  test('closes idle connections of a backend that is gone, and lent ones after their exchange', () => {
    const { acquire, shop, connector, upstreams } = held({ 1: [A] });
    const idle = acquire(shop);
    const lent = acquire(shop);
    connector.succeed();
    connector.succeed();
    idle.connection?.release(null);
    upstreams.setService('shop', service({ 1: [B] }));
    assert.equal(connector.streams[0]?.closed, true);
    assert.equal(connector.streams[1]?.closed, false);
    lent.connection?.release(null);
    assert.equal(connector.streams[1]?.closed, true);
    // Named again, it is a new backend: what the old one left is not used.
    upstreams.setService('shop', shop);
    acquire(shop);
    assert.equal(connector.pending.length, 1);
  });

  test('a connect under way to a backend that is gone still serves its request, then is closed', () => {
    const { acquire, shop, connector, upstreams, timers } = held({ 1: [A] });
    const got = acquire(shop);
    upstreams.setService('shop', null);
    connector.succeed();
    assert.equal(got.answers, 1);
    got.connection?.release(null);
    assert.equal(connector.streams[0]?.closed, true);
    assert.equal(timers.size, 0);
  });

  test('drain and weight 0 get nothing new, and what they have goes on', () => {
    for (const change of [{ state: 'drain' }, { weight: 0 }, { state: 'maintenance' }] as const) {
      const { acquire, shop, connector, upstreams, backend } = held({ 1: [A, B] });
      const lent = acquire(shop);
      connector.succeed();
      assert.equal(lent.address, A);
      const changed = service({ 1: [spec(A, change), B] }, { pool: { idle: '1h' } });
      upstreams.setService('shop', changed);
      for (let turn = 0; turn < 4; turn++) {
        const got = acquire(changed);
        connector.succeed();
        assert.equal(got.address, B);
      }
      assert.equal(backend(A).active, 1);
      lent.connection?.release(null);
      assert.equal(backend(A).active, 0);
    }
  });

  test('a request decided before the change is served by the key as it is now', () => {
    const { acquire, shop, connector, upstreams } = held({ 1: [A] });
    upstreams.setService('shop', service({ 1: [B] }));
    const got = acquire(shop);
    connector.succeed();
    assert.equal(got.address, B);
  });

  test('one address under two keys is one pool and one health, with a weight and state for each key', () => {
    const { acquire, shop, connector, upstreams } = held({
      1: [A],
      2: [spec(A, { state: 'maintenance' }), B],
    });
    const one = acquire(shop, {}, 1);
    connector.succeed();
    one.connection?.release(null);
    const two = acquire(shop, {}, 2);
    connector.succeed();
    assert.equal(two.address, B);
    assert.equal(acquire(shop, {}, 1).connection?.stream, one.connection?.stream);
    upstreams.setVerdict('shop', A, false);
    assert.deepEqual(
      upstreams.status().map(({ key, address, alive }) => [key, address, alive]),
      [
        [1, A, false],
        [2, A, false],
        [2, B, true],
      ],
    );
  });

  test('another policy takes effect with the next request', () => {
    const { acquire, shop, connector, upstreams } = held({
      1: [spec(A, { since: 1 }), spec(B, { since: 2 })],
    });
    acquire(shop);
    connector.succeed();
    const broker = service(
      { 1: [spec(A, { since: 1 }), spec(B, { since: 2 })] },
      { balance: 'broker', pool: { idle: '1h' } },
    );
    upstreams.setService('shop', broker);
    for (let turn = 0; turn < 3; turn++) {
      const got = acquire(broker);
      connector.succeed();
      assert.equal(got.address, B);
    }
  });

  test('a lower pool.max is kept to as connections come back', () => {
    const { acquire, shop, connector, upstreams, backend } = held({ 1: [A] });
    const all = [1, 2, 3].map(() => acquire(shop));
    for (const _ of all) connector.succeed();
    upstreams.setService('shop', service({ 1: [A] }, { pool: { max: 1, idle: '1h' } }));
    for (const got of all) got.connection?.release(null);
    assert.equal(backend(A).idle, 1);
  });
});

describe('tunnels', () => {
  test('have their own limit and count, their own policy, and are never pooled', () => {
    const { acquire, shop, connector, backend } = held(
      { 1: [A, B] },
      { pool: { max: 1, idle: '1h' }, websocket: { pool: { max: 2 } }, queue: { size: 0 } },
    );
    const spare = acquire(shop);
    connector.succeed();
    spare.connection?.release(null);
    const tunnels = [1, 2, 3, 4].map(() => acquire(shop, { websocket: true }));
    assert.equal(connector.pending.length, 4, 'the idle connection of requests is not for tunnels');
    while (connector.pending.length > 0) connector.succeed();
    assert.deepEqual([backend(A).tunnels, backend(B).tunnels], [2, 2]);
    assert.deepEqual([backend(A).active, backend(B).active], [0, 0]);
    assert.equal(acquire(shop, { websocket: true }).unavailable?.cause, 'queue_full');
    const onA = tunnels.filter((got) => got.address === A);
    for (const got of onA) got.connection?.discard(false);
    const next = acquire(shop, { websocket: true });
    connector.succeed();
    assert.equal(next.address, A, 'the fewest tunnels');
    next.connection?.release(null);
    assert.equal(connector.streams.at(-1)?.closed, true);
    assert.equal(backend(A).tunnels, 0);
    assert.equal(backend(A).idle, 1, 'requests kept theirs');
  });

  test('of TCP services go by the one policy of the service, and nothing of them is pooled', () => {
    const { acquire, shop, connector, backend } = held(
      { 1: [A, B] },
      { protocol: 'tcp', balance: 'first-alive' },
    );
    for (let turn = 0; turn < 3; turn++) {
      const got = acquire(shop, { websocket: true });
      connector.succeed();
      assert.equal(got.address, A);
    }
    const request = acquire(shop);
    connector.succeed();
    request.connection?.release(null);
    assert.equal(backend(A).idle, 0);
  });
});

describe('pool.min', () => {
  test('connections are kept warm, replaced when they are gone, and not tried in a loop when that fails', () => {
    const { connector, backend, upstreams, pass, acquire, shop, timers } = held(
      { 1: [A] },
      { pool: { min: 2, max: 4, idle: '10s' } },
    );
    assert.equal(connector.pending.length, 1, 'one after the other');
    connector.succeed();
    connector.succeed();
    assert.equal(backend(A).idle, 2);
    assert.equal(connector.pending.length, 0);
    const got = acquire(shop);
    assert.equal(got.connection?.reused, false, 'nobody has used it before');
    got.connection?.discard(false);
    assert.equal(connector.pending.length, 1);
    connector.fail();
    assert.equal(connector.pending.length, 0);
    pass(1_200);
    assert.equal(connector.pending.length, 1);
    connector.succeed();
    assert.equal(backend(A).idle, 2);
    upstreams.setService('shop', null);
    assert.ok(connector.streams.every((stream) => stream.closed));
    assert.equal(connector.pending.length, 0);
    assert.equal(timers.size, 0);
  });
});

describe('retry budget', () => {
  test('lets fifty retries be under way, or a fifth of what is active', () => {
    const { upstreams, shop, acquire, connector } = held({ 1: [A] }, { pool: { max: 1_000 } });
    const take = () => {
      let taken = 0;
      while (upstreams.takeRetry(shop)) taken++;
      return taken;
    };
    assert.equal(take(), 50);
    upstreams.retryDone(shop);
    assert.equal(take(), 1);
    for (let number = 0; number < 400; number++) {
      acquire(shop);
      connector.succeed();
    }
    assert.equal(take(), 30);
    upstreams.setService('shop', null);
    assert.equal(upstreams.takeRetry(shop), false);
    upstreams.retryDone(shop);
  });
});

import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { deadAddress, type Rig, rig, service, TestBackend, until } from './testing.ts';

const open: { close(): unknown }[] = [];
function keep<T extends { close(): unknown }>(thing: T): T {
  open.push(thing);
  return thing;
}
function started(): Rig {
  const made = rig();
  keep({
    close: () => {
      made.upstreams.close();
      made.timers.stop();
    },
  });
  return made;
}
afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

describe('pool', () => {
  test('a connection that was given back carries the next request, the last one first', async () => {
    const backend = keep(await TestBackend.start());
    const { upstreams, get, acquire } = started();
    const shop = service({ 1: [backend.address] });
    upstreams.setService('shop', shop);
    const first = await get(shop);
    const second = await get(shop);
    assert.equal(first.connection?.reused, false);
    first.connection?.release(null);
    second.connection?.release(null);
    const third = acquire(shop);
    assert.equal(third.connection?.stream, second.connection?.stream);
    assert.equal(third.connection?.reused, true);
    assert.equal(backend.accepted, 2);
    third.connection?.release(null);
  });

  test('a connection given back twice is not lent twice', async () => {
    const backend = keep(await TestBackend.start());
    const { upstreams, get, acquire, backend: status } = started();
    const shop = service({ 1: [backend.address] });
    upstreams.setService('shop', shop);
    const first = await get(shop);
    first.connection?.release(null);
    const second = acquire(shop);
    first.connection?.release(null);
    first.connection?.discard(true);
    const third = await get(shop);
    assert.notEqual(third.connection?.stream, second.connection?.stream);
    assert.equal(second.connection?.stream.closed, false);
    assert.equal(status(backend.address).active, 2);
    second.connection?.discard(false);
    third.connection?.discard(false);
  });

  for (const [what, happen] of [
    ['ends', (socket: import('node:net').Socket) => socket.end()],
    ['is reset', (socket: import('node:net').Socket) => socket.resetAndDestroy()],
    ['speaks unasked', (socket: import('node:net').Socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n')],
  ] as const) {
    test(`an idle connection that ${what} is dropped`, async () => {
      const backend = keep(await TestBackend.start());
      const { upstreams, get, backend: status } = started();
      const shop = service({ 1: [backend.address] }, { pool: { idle: '1h' } });
      upstreams.setService('shop', shop);
      (await get(shop)).connection?.release(null);
      assert.equal(status(backend.address).idle, 1);
      await until('accepted', () => backend.sockets.size === 1);
      for (const socket of backend.sockets) happen(socket);
      await until('dropped', () => status(backend.address).idle === 0);
      await until('closed', () => backend.sockets.size === 0);
    });
  }

  test('an idle connection is closed after pool.idle, and two seconds before the backend would', async () => {
    const backend = keep(await TestBackend.start());
    const { upstreams, get, backend: status } = started();
    const shop = service({ 1: [backend.address] }, { pool: { idle: 50 } });
    upstreams.setService('shop', shop);
    (await get(shop)).connection?.release(null);
    assert.equal(status(backend.address).idle, 1);
    await until('closed', () => status(backend.address).idle === 0);
    const patient = service({ 1: [backend.address] }, { pool: { idle: '1h' } });
    upstreams.setService('shop', patient);
    (await get(patient)).connection?.release(2_050);
    assert.equal(status(backend.address).idle, 1);
    await until('closed', () => status(backend.address).idle === 0);
    (await get(patient)).connection?.release(2_000);
    assert.equal(status(backend.address).idle, 0);
  });

  test('a fresh connection is made although an idle one is there', async () => {
    const backend = keep(await TestBackend.start());
    const { upstreams, get, backend: status } = started();
    const shop = service({ 1: [backend.address] }, { pool: { max: 1, idle: '1h' } });
    upstreams.setService('shop', shop);
    (await get(shop)).connection?.release(null);
    const fresh = await get(shop, { fresh: true });
    assert.equal(fresh.connection?.reused, false);
    assert.equal(status(backend.address).idle, 0, 'the idle one made way: pool.max is 1');
    await until('one left', () => backend.accepted === 2 && backend.sockets.size === 1);
    fresh.connection?.discard(false);
  });

  test('round robin goes round, one request each', async () => {
    const backends = await Promise.all([1, 2, 3].map(async () => keep(await TestBackend.start())));
    const { upstreams, get } = started();
    const shop = service({ 1: backends.map((backend) => backend.address) });
    upstreams.setService('shop', shop);
    for (let turn = 0; turn < 9; turn++) {
      const got = await get(shop);
      assert.equal(got.address, backends[turn % 3]?.address);
      got.connection?.release(null);
    }
    assert.deepEqual(
      backends.map((backend) => backend.accepted),
      [1, 1, 1],
    );
  });
});

describe('connecting', () => {
  test('a refused connect goes to the next backend, with nothing counted as a retry', async () => {
    const dead = await deadAddress();
    const backend = keep(await TestBackend.start());
    const { upstreams, get, failures } = started();
    const shop = service({ 1: [dead, backend.address] });
    upstreams.setService('shop', shop);
    const got = await get(shop);
    assert.equal(got.address, backend.address);
    assert.deepEqual(failures, [{ service: 'shop', address: dead, count: 1 }]);
    got.connection?.discard(false);
  });

  test('every backend is tried before a request is told that all are dead', async () => {
    const dead = await Promise.all([deadAddress(), deadAddress(), deadAddress()]);
    const { upstreams, get, failures } = started();
    const shop = service({ 1: dead });
    upstreams.setService('shop', shop);
    const got = await get(shop);
    assert.equal(got.unavailable?.cause, 'all_dead');
    assert.deepEqual(failures.map((report) => report.address).sort(), [...dead].sort());
    assert.equal(got.answers, 1);
  });

  test('a key without backends, an unknown key and an unknown service have no backend', async () => {
    const { upstreams, get } = started();
    const shop = service({ 1: [] });
    upstreams.setService('shop', shop);
    assert.equal((await get(shop)).unavailable?.cause, 'no_backend');
    assert.equal((await get(shop, {}, 7)).unavailable?.cause, 'no_backend');
    upstreams.setService('shop', null);
    assert.equal((await get(shop)).unavailable?.cause, 'no_backend');
  });
});

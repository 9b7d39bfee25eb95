import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { deadAddress, heldRig, rig, service, TestBackend, until } from './testing.ts';

const A = '10.0.0.1:80';
const B = '10.0.0.2:80';
const C = '10.0.0.3:80';

function held(keys: Parameters<typeof service>[0], document: Record<string, unknown> = {}) {
  const it = heldRig();
  const shop = service(keys, document);
  it.upstreams.setService('shop', shop);
  return { ...it, shop };
}

describe('connect fail-over', () => {
  test('a backend that does not accept in time is given up and the next one tried, five seconds in all', () => {
    const { acquire, shop, pass, connector, failures } = held({ 1: [A, B, C] });
    const got = acquire(shop);
    pass(2_900);
    assert.deepEqual(connector.targets, [A]);
    pass(300);
    assert.deepEqual(connector.targets, [A, B]);
    assert.deepEqual(connector.aborted, [A]);
    pass(1_600);
    assert.equal(got.answers, 0);
    pass(400);
    assert.equal(got.unavailable?.cause, 'all_dead');
    assert.deepEqual(connector.aborted, [A, B]);
    assert.deepEqual(connector.targets, [A, B], 'no time was left for the third');
    assert.deepEqual(
      failures.map((report) => report.address),
      [A],
      'the second was not given its full time, which proves nothing against it',
    );
  });

  test('a longer connect time-out of the service is honoured', () => {
    const { acquire, shop, pass, connector } = held({ 1: [A] }, { timeouts: { connect: '8s' } });
    const got = acquire(shop);
    pass(7_900);
    assert.equal(got.answers, 0);
    connector.succeed();
    assert.equal(got.address, A);
  });

  test('goes on by tier, and to the lost as the last resort', () => {
    const { acquire, shop, connector } = held({
      1: [
        { address: A, weight: 1, tier: 0, state: 'ready', since: 0, worker: null },
        { address: B, weight: 1, tier: 1, state: 'ready', since: 0, worker: null },
        { address: C, weight: 1, tier: 0, state: 'lost', since: 0, worker: 'w' },
        { address: '10.0.0.4:80', weight: 1, tier: 0, state: 'maintenance', since: 0, worker: null },
        { address: '10.0.0.5:80', weight: 1, tier: 0, state: 'drain', since: 0, worker: null },
      ],
    });
    const got = acquire(shop);
    while (connector.pending.length > 0) connector.fail();
    assert.deepEqual(connector.targets, [A, B, C]);
    assert.equal(got.unavailable?.cause, 'all_dead');
  });

  test('a client that leaves while connecting frees the connect, the slot and whoever waits for it', () => {
    const { acquire, shop, connector, backend } = held({ 1: [A] }, { pool: { max: 1 } });
    const leaver = acquire(shop);
    const waiting = acquire(shop);
    leaver.ticket.cancel();
    assert.deepEqual(connector.aborted, [A]);
    connector.succeed();
    assert.equal(waiting.address, A);
    assert.equal(leaver.answers, 0);
    assert.equal(backend(A).active, 1);
    leaver.ticket.cancel();
  });

  test('a failure of this machine is not held against the backend', () => {
    const { acquire, shop, connector, failures, backend } = held({ 1: [A] });
    for (const code of ['EMFILE', 'EADDRNOTAVAIL', 'ENFILE', 'EMFILE']) {
      const got = acquire(shop);
      connector.fail(0, code);
      assert.equal(got.unavailable?.cause, 'out_of_sockets', 'nor called a dead backend');
    }
    assert.deepEqual(failures, []);
    assert.equal(backend(A).alive, true);
  });

  test('a failure of this machine is not called dead backends when others refuse, and is no failure when one accepts', () => {
    const refused = held({ 1: [A, B] });
    const got = refused.acquire(refused.shop);
    refused.connector.fail(0, 'EMFILE');
    refused.connector.fail();
    assert.equal(got.unavailable?.cause, 'out_of_sockets');
    const accepted = held({ 1: [A, B] });
    const served = accepted.acquire(accepted.shop);
    accepted.connector.fail(0, 'EMFILE');
    accepted.connector.succeed();
    assert.equal(served.answers, 1);
    assert.equal(served.unavailable, null);
  });

  test('an address that may not be connected to is never tried', () => {
    const asked: string[] = [];
    const it = heldRig({
      mayConnect: (address) => {
        asked.push(address);
        return address !== '169.254.169.254:80';
      },
    });
    const shop = service({ 1: ['169.254.169.254:80', '[fd00::1]:81', 'unix:/run/x.sock'] });
    it.upstreams.setService('shop', shop);
    const got = it.acquire(shop);
    it.connector.fail();
    it.connector.succeed();
    assert.deepEqual(asked, ['169.254.169.254:80', '[fd00::1]:81', 'unix:/run/x.sock']);
    assert.deepEqual(it.connector.targets, ['[fd00::1]:81', 'unix:/run/x.sock']);
    assert.equal(got.address, 'unix:/run/x.sock');
  });

  test('a retry avoids backends it failed on while there is another, and gets a fresh connection', () => {
    const { acquire, shop, connector } = held({ 1: [A, B] }, { pool: { idle: '1h' } });
    const first = acquire(shop);
    connector.succeed();
    const second = acquire(shop);
    connector.succeed();
    const [a, b] = [first.connection!.backend, second.connection!.backend];
    first.connection?.release(null);
    second.connection?.release(null);
    const retry = acquire(shop, { tried: [a], fresh: true });
    connector.succeed();
    assert.equal(retry.address, B);
    assert.equal(retry.connection?.reused, false);
    const last = acquire(shop, { tried: [a, b], fresh: true });
    connector.succeed();
    assert.equal(last.answers, 1);
  });
});

describe('host names', () => {
  test('are connected to by address only, each in turn, and all are tried before the backend counts as failed', () => {
    const { acquire, shop, connector, upstreams, failures } = held({ 1: ['app.internal:80', B] });
    upstreams.setResolved('app.internal', ['10.1.0.1', '10.1.0.2', 'fd00::3', 'not an address']);
    const got = acquire(shop);
    connector.fail();
    connector.fail();
    assert.deepEqual(connector.targets, ['10.1.0.1:80', '10.1.0.2:80', '[fd00::3]:80']);
    assert.deepEqual(failures, []);
    connector.fail();
    assert.deepEqual(failures, [{ service: 'shop', address: 'app.internal:80', count: 1 }]);
    connector.succeed();
    assert.equal(got.address, B);
    got.connection?.release(null);
    acquire(shop);
    assert.equal(connector.targets[4], '10.1.0.2:80', 'the next connect begins with the next address');
  });

  test('that were never resolved fail without a look-up, and work as soon as they are', () => {
    const { acquire, shop, connector, upstreams } = held({ 1: ['app.internal:80'] });
    assert.equal(acquire(shop).unavailable?.cause, 'all_dead');
    assert.deepEqual(connector.targets, []);
    upstreams.setResolved('app.internal', ['10.1.0.1']);
    const got = acquire(shop);
    connector.succeed();
    assert.equal(got.address, 'app.internal:80');
  });

  test('an answer that came before its backend is kept', () => {
    const { upstreams, acquire, connector } = held({ 1: [A] });
    upstreams.setResolved('late.internal', ['10.1.0.9']);
    const changed = service({ 1: ['late.internal:81'] });
    upstreams.setService('shop', changed);
    acquire(changed);
    assert.deepEqual(connector.targets, ['10.1.0.9:81']);
  });

  test('idle connections to an address the name no longer stands for are closed, lent ones after their exchange', () => {
    const { acquire, shop, connector, upstreams, backend } = held(
      { 1: ['app.internal:80'] },
      { pool: { idle: '1h' } },
    );
    upstreams.setResolved('app.internal', ['10.1.0.1']);
    const idle = acquire(shop);
    const lent = acquire(shop);
    connector.succeed();
    connector.succeed();
    idle.connection?.release(null);
    upstreams.setResolved('app.internal', ['10.1.0.2']);
    assert.equal(connector.streams[0]?.closed, true);
    assert.equal(connector.streams[1]?.closed, false);
    lent.connection?.release(null);
    assert.equal(connector.streams[1]?.closed, true);
    assert.equal(backend('app.internal:80').idle, 0);
  });
});

describe('on real sockets', () => {
  test('nothing is left behind, however a connect ends', async () => {
    const backend = await TestBackend.start();
    // Takes no connection: its queue in the kernel is full once two wait in it.
    const { upstreams, timers, acquire, get, backend: status } = rig();
    const dead = await deadAddress();
    const shop = service({ 1: [dead, backend.address] }, { pool: { idle: '1h' } });
    upstreams.setService('shop', shop);
    for (let turn = 0; turn < 20; turn++) {
      const leaver = acquire(shop, { fresh: true });
      leaver.ticket.cancel();
      const got = await get(shop, { fresh: true });
      if (turn % 3 === 0) got.connection?.release(null);
      else if (turn % 3 === 1) got.connection?.discard(true);
      else got.connection?.discard(false);
    }
    assert.equal(status(backend.address).active, 0);
    assert.equal(status(dead).active, 0);
    assert.ok(status(backend.address).idle > 0);
    await until('only idle ones are open', () => backend.sockets.size === status(backend.address).idle);
    upstreams.close();
    await until('all are closed', () => backend.sockets.size === 0);
    assert.equal(timers.size, 0);
    timers.stop();
    await backend.close();
  });

  test('a Unix socket is a backend', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kontrol-unix-'));
    const backend = await TestBackend.start(net.createServer(), { path: join(folder, 'app.sock') });
    const { upstreams, get, timers } = rig();
    const shop = service({ 1: [backend.address] });
    upstreams.setService('shop', shop);
    const got = await get(shop);
    assert.equal(got.address, backend.address);
    got.connection?.discard(false);
    upstreams.close();
    timers.stop();
    await backend.close();
    await rm(folder, { recursive: true });
  });

  test('bytes and their order survive from lease to lease', async () => {
    const echo = net.createServer((socket) => socket.pipe(socket));
    const backend = await TestBackend.start(echo);
    const { upstreams, get, timers } = rig();
    const shop = service({ 1: [backend.address] }, { pool: { idle: '1h' } });
    upstreams.setService('shop', shop);
    for (let turn = 0; turn < 5; turn++) {
      const got = await get(shop);
      assert.equal(got.connection?.reused, turn > 0);
      const stream = got.connection!.stream;
      const answer = await new Promise<string>((resolve) => {
        let text = '';
        stream.handler = {
          onData: (buffer, start, end) => {
            text += buffer.toString('latin1', start, end);
            if (text.length === 6) resolve(text);
          },
          onEnd() {},
          onDrain() {},
          onClose() {},
        };
        stream.write(Buffer.from(`turn ${turn}`));
      });
      assert.equal(answer, `turn ${turn}`);
      got.connection?.release(null);
    }
    upstreams.close();
    timers.stop();
    await backend.close();
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withProxy } from './harness.ts';
import { stuckUpload } from './stuck-upload.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('time-outs of the client', () => {
  it('a head has its time from the first byte, not per byte', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('GET / HTTP/1.1\r\n');
      let sent = 16;
      for (let i = 0; i < 2; i++) {
        await proxy.settled(() => proxy.received === sent, 'the bytes');
        proxy.passTime(9_000);
        client.write(`X-${i}: a\r\n`);
        sent += 8;
      }
      assert.equal(client.ended, null);
      await proxy.settled(() => proxy.received === sent, 'the bytes');
      proxy.passTime(3_000);
      const answer = await client.readMessage();
      assert.equal(answer.status, 408);
      assert.equal(await client.readToEnd(), '');
      const record = await proxy.record();
      assert.equal(record.cause, 'head_timeout');
      assert.equal(record.phase, 'head');
      assert.equal(record.method, 'GET');
    }));

  it('a connection that says nothing is closed without a word', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      await proxy.settled(() => proxy.connections.size === 1, 'the connection');
      proxy.passTime(21_000);
      assert.equal(await client.readToEnd(), '');
      assert.equal(proxy.records.length, 0);
    }));

  it('an idle connection is kept for the keep-alive time', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(OK);
      await client.readMessage();
      await proxy.record();
      proxy.passTime(60_000);
      assert.equal(client.ended, null);
      proxy.passTime(6_000);
      assert.equal(await client.readToEnd(), '');
      assert.equal(proxy.records.length, 1);
    }));

  it('a body may pause for its idle time', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc');
      const backend = await proxy.backend.connection();
      await backend.readUntil('abc');
      proxy.passTime(25_000);
      client.write('def');
      await backend.readUntil('def');
      proxy.passTime(25_000);
      assert.equal(client.ended, null);
      proxy.passTime(6_000);
      assert.equal((await client.readMessage()).status, 408);
      await backend.readToEnd();
      const record = await proxy.record();
      assert.equal(record.cause, 'body_timeout');
      assert.equal(record.endedBy, 'client');
      assert.equal(record.phase, 'send');
    }));

  it('a body that trickles below the mean rate is ended after its first minute', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc');
      const backend = await proxy.backend.connection();
      await backend.readUntil('abc');
      for (let i = 0; i < 3; i++) {
        proxy.passTime(19_500);
        client.write('def');
        await backend.readUntil('def');
      }
      assert.equal(client.ended, null);
      proxy.passTime(2_000);
      client.write('ghi');
      assert.equal((await client.readMessage()).status, 408);
    }));

  it('the time in which a slow backend held the body back does not count against its rate', () =>
    withProxy({ limits: { bodyRate: 1_000_000 }, service: { timeouts: { idle: '1h' } } }, async (proxy) => {
      const client = await proxy.client();
      const size = 32 * 1_048_576;
      client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.socket.pause();
      client.write(Buffer.alloc(size));
      for (let i = 0; i < 300; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(client.socket.writableLength > 0);
      proxy.passTime(600_000);
      backend.socket.resume();
      await backend.readBytes(size);
      backend.write(OK);
      assert.equal((await client.readMessage()).body, 'ok');
    }));

  it('a domain may set a lower limit of size and idle time than the settings', () =>
    withProxy(
      { decide: (_view, forward) => ({ ...forward, limits: { body: 10, bodyIdleMs: 1_000 } }) },
      async (proxy) => {
        const large = await proxy.client();
        large.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n');
        assert.equal((await large.readMessage()).status, 413);
        assert.equal(proxy.backend.accepted.length, 0);
        const chunked = await proxy.client();
        chunked.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n');
        const backend = await proxy.backend.connection();
        await backend.readUntil('123456789\r\n');
        chunked.write('2\r\nab\r\n');
        assert.equal((await chunked.readMessage()).status, 413);
        await backend.readToEnd();
        const slow = await proxy.client();
        slow.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na');
        await (await proxy.backend.connection()).readUntil('\r\n\r\na');
        proxy.passTime(1_200);
        assert.equal((await slow.readMessage()).status, 408);
        const silent = await proxy.client();
        silent.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n');
        await (await proxy.backend.connection()).readHead();
        proxy.passTime(1_200);
        assert.equal((await silent.readMessage()).status, 408);
      },
    ));
});

describe('time-outs of the backend', () => {
  it('504 when the answer does not begin in time, and the connection is dropped', () =>
    withProxy({ service: { timeouts: { firstByte: '10s' } } }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      proxy.passTime(9_000);
      assert.equal(client.rest, '');
      proxy.passTime(2_000);
      const answer = await client.readMessage();
      assert.equal(answer.status, 504);
      assert.equal(answer.fields.has('connection'), false);
      await backend.readToEnd();
      const record = await proxy.record();
      assert.equal(record.cause, 'first_byte_timeout');
      assert.equal(record.endedBy, 'backend');
    }));

  it('504 when the head of the answer does not go on', () =>
    withProxy({ service: { timeouts: { firstByte: '10s' } } }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      // What comes in one piece with an interim answer has arrived when that has.
      backend.write('HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 ');
      assert.equal((await client.readMessage()).status, 103);
      proxy.passTime(11_000);
      assert.equal((await client.readMessage()).status, 504);
    }));

  it('an answer that stands still in its middle is cut', () =>
    withProxy({ service: { timeouts: { idle: '10s' } } }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
      await client.readUntil('abc');
      proxy.passTime(8_000);
      backend.write('def');
      await client.readUntil('def');
      proxy.passTime(8_000);
      assert.equal(client.ended, null);
      proxy.passTime(3_000);
      assert.equal(await client.readToEnd(), '');
      assert.equal((await proxy.record()).cause, 'idle_timeout');
      await backend.readToEnd();
    }));

  for (const interim of ['', 'HTTP/1.1 100 Continue\r\n\r\n']) {
    const what = interim === '' ? '' : ', an interim answer or not,';
    it(`a backend that takes nothing of an upload${what} is given up`, () =>
      withProxy({ service: { timeouts: { idle: '10s' } } }, async (proxy) => {
        const { client, backend } = await stuckUpload(proxy);
        if (interim !== '') {
          backend.write(interim);
          await client.readHead();
        }
        proxy.passTime(11_000);
        assert.equal((await client.readMessage()).status, 504);
        assert.equal((await proxy.record()).phase, 'send');
      }));
  }
});

describe('draining', () => {
  it('closes idle connections at once and others after their answer', () =>
    withProxy({}, async (proxy) => {
      const idle = await proxy.client();
      const busy = await proxy.client();
      busy.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      await proxy.settled(() => proxy.connections.size === 2, 'both');
      for (const connection of proxy.connections) connection.drain();
      assert.equal(await idle.readToEnd(), '');
      assert.equal(busy.ended, null);
      backend.write(OK);
      const answer = await busy.readMessage();
      assert.equal(answer.fields.get('connection'), 'close');
      assert.equal(answer.body, 'ok');
      assert.equal(await busy.readToEnd(), '');
    }));

  it('an answer whose head has gone already ends and then closes', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc');
      await client.readUntil('abc');
      for (const connection of proxy.connections) connection.drain();
      backend.write('def');
      assert.equal(await client.readToEnd(), 'def');
      assert.equal(client.ended, 'end');
    }));

  it('closing now ends everything, recorded as ours', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      for (const connection of [...proxy.connections]) connection.closeNow();
      await client.readToEnd();
      await backend.readToEnd();
      assert.equal((await proxy.record()).endedBy, 'proxy');
      await proxy.idle();
      assert.equal(proxy.opened, 0);
    }));
});

describe('a failure of ours', () => {
  it('ends that request with a 500 and nothing else', async () => {
    let broken = true;
    const log: unknown[] = [];
    await withProxy(
      {
        decide: (_view, forward) => {
          if (broken) throw new Error('boom');
          return forward;
        },
      },
      async (proxy) => {
        const client = await proxy.client();
        client.write(GET);
        assert.equal((await client.readMessage()).status, 500);
        assert.equal(await client.readToEnd(), '');
        assert.equal((await proxy.record()).cause, 'internal');
        log.push(...proxy.errors.splice(0));
        broken = false;
        const other = await proxy.client();
        other.write(GET);
        await (await proxy.backend.connection()).readHead();
      },
    );
    assert.equal(log.length, 1);
  });
});

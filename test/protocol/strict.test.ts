/** Rules that only show when a message is cut at the right place, or when a field says what nobody expects. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withProxy } from './harness.ts';
import type { Wire } from './wire.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n';

describe('a request, strictly', () => {
  it('trailer fields that Connection names stay on their hop (RFC 9110 §7.6.1)', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${POST}Connection: X-Hop, close\r\nX-Hop: 1\r\n\r\n`);
      client.write('1\r\na\r\n0\r\nx-hop: 2\r\nX-End: 3\r\n\r\n');
      const backend = await proxy.backend.connection();
      const request = await backend.readMessage();
      assert.equal(request.fields.has('x-hop'), false);
      assert.equal(request.body, '1\r\na\r\n0\r\nX-End: 3\r\n\r\n');
      backend.write(OK);
      assert.equal((await client.readMessage()).body, 'ok');
    }));

  it('what Connection named in one request says nothing about the trailers of the next', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${POST}Connection: X-Hop\r\n\r\n0\r\nX-Hop: 1\r\n\r\n`);
      const backend = await proxy.backend.connection();
      assert.equal((await backend.readMessage()).body, '0\r\n\r\n');
      backend.write(OK);
      await client.readMessage();
      client.write(`${POST}\r\n0\r\nX-Hop: 1\r\n\r\n`);
      assert.equal((await backend.readMessage()).body, '0\r\nX-Hop: 1\r\n\r\n');
    }));

  it('two Max-Forwards are refused on OPTIONS, as a list of them is', async () => {
    for (const field of ['Max-Forwards: 0\r\nMax-Forwards: 5', 'Max-Forwards: 0, 5', 'Max-Forwards: -1']) {
      await withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(`OPTIONS / HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`);
        assert.equal((await client.readMessage()).status, 400, field);
        assert.equal(proxy.backend.accepted.length, 0);
      });
    }
  });

  it('what is just within the limits passes', async () => {
    const fields = (count: number) => 'X: a\r\n'.repeat(count);
    const inside = {
      'a method of 32 characters': `${'A'.repeat(32)} / HTTP/1.1\r\nHost: a\r\n\r\n`,
      'a Connection that names a hundred fields': `GET / HTTP/1.1\r\nHost: a\r\nConnection: ${'x,'.repeat(100)}\r\n\r\n`,
      'a hundred fields': `GET / HTTP/1.1\r\nHost: a\r\n${fields(99)}\r\n`,
      'a head of 16 KB': `GET /${'a'.repeat(16_384 - 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.length)} HTTP/1.1\r\nHost: a\r\n\r\n`,
      'a host with an underscore and a port': 'GET / HTTP/1.1\r\nHost: a_b.example:65535\r\n\r\n',
      'an IPv6 literal': 'GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n',
      'chunked in any case': 'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n',
      'an extension of 1 KB': `${POST}\r\n1;${'a'.repeat(1_024)}\r\nx\r\n0\r\n\r\n`,
    };
    for (const [what, request] of Object.entries(inside)) {
      await withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(request);
        assert.ok((await (await proxy.backend.connection()).readHead()).length > 0, what);
        assert.equal(client.received, '', what);
      });
    }
  });

  it('an expectation that is said twice is passed on once', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(
        'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect:  100-Continue\r\nContent-Length: 1\r\n\r\n',
      );
      const request = await (await proxy.backend.connection()).readHead();
      assert.deepEqual(request.match(/\r\nexpect:.*/gi), ['\r\nExpect: 100-continue']);
    }));

  it('empty lines alone are no request: a client that leaves or waits after them leaves no trace', () =>
    withProxy({}, async (proxy) => {
      const first = await proxy.client();
      first.write('\r\n\r\n');
      await proxy.settled(() => proxy.received === 4, 'the empty lines');
      first.end();
      assert.equal(await first.readToEnd(), '');
      const second = await proxy.client();
      second.write(`${GET}\r\n`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(OK);
      await second.readMessage();
      proxy.passTime(30_000);
      assert.equal(second.ended, null);
      proxy.passTime(36_000);
      assert.equal(await second.readToEnd(), '');
      assert.equal(proxy.records.length, 1);
    }));

  it('at most four requests are read ahead, also when each arrives in two pieces', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      let sent = GET.length;
      for (let i = 0; i < 4; i++) {
        for (const piece of [GET.slice(0, -2), GET.slice(-2)]) {
          client.write(piece);
          sent += piece.length;
          await proxy.settled(() => proxy.received === sent, 'the piece');
        }
      }
      client.write(GET);
      // The fifth stays in the socket: when it was sent is past, and the engine still has not seen it.
      for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(proxy.received, sent);
      for (let i = 0; i < 6; i++) {
        if (i > 0) await backend.readHead();
        backend.write(OK);
        assert.equal((await client.readMessage()).body, 'ok');
      }
    }));
});

describe('an answer, strictly', () => {
  it('trailer fields that Connection names stay on their hop', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n');
      backend.write('0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n');
      assert.equal((await client.readMessage()).body, '0\r\nX-End: 2\r\n\r\n');
    }));

  for (const framing of ['Content-Length: 5', 'Transfer-Encoding: chunked']) {
    it(`a 204 that announces a body is the last on its connection: ${framing}`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(GET);
        const backend = await proxy.backend.connection();
        await backend.readHead();
        backend.write(`HTTP/1.1 204 No Content\r\n${framing}\r\n\r\n`);
        assert.equal((await client.readMessage()).status, 204);
        // What it announced comes late: it is nobody's answer.
        await backend.readToEnd();
        client.write(GET);
        const second = await proxy.backend.connection();
        await second.readHead();
        second.write(OK);
        assert.equal((await client.readMessage()).body, 'ok');
      }));
  }

  it('Connection cannot take the framing from it', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      const backends: Wire[] = [];
      for (const framing of [
        'Content-Length: 2\r\n\r\nok',
        'Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      ]) {
        client.write(GET);
        backends[0] ??= await proxy.backend.connection();
        await backends[0].readHead();
        backends[0].write(`HTTP/1.1 200 OK\r\nConnection: content-length, transfer-encoding\r\n${framing}`);
        const answer = await client.readMessage();
        assert.match(answer.body, /ok/, answer.head);
        assert.equal(answer.fields.has('connection'), false);
      }
    }));

  it('a Date that Connection names is replaced by ours', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(
        'HTTP/1.1 200 OK\r\nConnection: date\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 0\r\n\r\n',
      );
      const answer = await client.readMessage();
      assert.equal(answer.head.match(/\r\nDate: /g)?.length, 1, answer.head);
      assert.doesNotMatch(answer.head, /1994/);
    }));

  it('interim answers of more than 64 KB together are refused, so that no reader makes us buffer them', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n');
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(`HTTP/1.1 103 Early Hints\r\nX: ${'a'.repeat(30_000)}\r\n\r\n`.repeat(3));
      assert.equal((await client.readMessage()).status, 103);
      assert.equal((await client.readMessage()).status, 103);
      assert.equal((await client.readMessage()).status, 502);
      assert.equal((await proxy.record()).cause, 'backend_protocol');
    }));
});

describe('a client that ends its side, with limits.halfClose', () => {
  it('in the middle of a head behind an answered request is recorded as gone', () =>
    withProxy({ limits: { halfClose: true } }, async (proxy) => {
      const client = await proxy.client();
      client.write(`${GET}GET /half HTTP/1.1\r\nHo`);
      client.end();
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(OK);
      assert.match(await client.readToEnd(), /^HTTP\/1\.1 200 .*ok$/s);
      const half = await proxy.record(2);
      assert.deepEqual(
        [half.status, half.cause, half.phase, half.target],
        [499, 'client_gone', 'head', '/half'],
      );
      await proxy.idle();
    }));

  it('in the middle of the body of a request behind it is gone as soon as it is that one’s turn', () =>
    withProxy({ limits: { halfClose: true } }, async (proxy) => {
      const client = await proxy.client();
      client.write(`${GET}POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc`);
      client.end();
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(OK);
      assert.match(await client.readToEnd(), /^HTTP\/1\.1 200 .*ok$/s);
      assert.deepEqual([(await proxy.record(2)).status, proxy.records[1]?.cause], [499, 'client_gone']);
      await proxy.idle();
    }));

  it('in the middle of its body is gone all the same', () =>
    withProxy({ limits: { halfClose: true } }, async (proxy) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc');
      const backend = await proxy.backend.connection();
      await backend.readUntil('abc');
      client.end();
      await backend.readToEnd();
      assert.equal((await proxy.record()).status, 499);
      await proxy.idle();
    }));
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withProxy } from './harness.ts';
import { dechunk } from './wire.ts';

describe('keep-alive', () => {
  it('several requests share the connections of both sides', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      for (let i = 0; i < 3; i++) {
        client.write(`GET /${i}?a=b HTTP/1.1\r\nHost: example.com\r\nX-One: 1\r\n\r\n`);
        const upstream = i === 0 ? await proxy.backend.connection() : proxy.backend.accepted[0]!;
        const request = await upstream.readMessage();
        assert.equal(request.line, `GET /${i}?a=b HTTP/1.1`);
        assert.equal(request.fields.get('host'), 'example.com');
        assert.equal(request.fields.get('x-one'), '1');
        assert.equal(request.fields.get('x-forwarded-for'), '127.0.0.1');
        upstream.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello');
        const answer = await client.readMessage();
        assert.equal(answer.status, 200);
        assert.equal(answer.body, 'hello');
        assert.ok(answer.fields.has('date'));
        assert.equal(answer.fields.has('connection'), false);
      }
      assert.equal(proxy.backend.accepted.length, 1);
      assert.equal(proxy.records.length, 3);
      client.end();
      await proxy.idle();
    }));

  it('bodies with a length and chunked ones pass in both directions', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('POST /a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nab');
      const upstream = await proxy.backend.connection();
      await upstream.readHead();
      client.write('cde');
      assert.equal(await upstream.readBytes(5), 'abcde');
      upstream.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
      upstream.write('2;x=y\r\nde\r\n0\r\n\r\n');
      assert.equal(dechunk((await client.readMessage()).body), 'abcde');
      client.write(
        'PUT /b HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n',
      );
      const second = await upstream.readMessage();
      assert.equal(second.line, 'PUT /b HTTP/1.1');
      assert.equal(second.body, '3\r\nxyz\r\n0\r\n\r\n');
      upstream.write('HTTP/1.1 204 No Content\r\n\r\n');
      assert.equal((await client.readMessage()).status, 204);
      assert.equal(proxy.backend.accepted.length, 1);
    }));

  it("a backend's Keep-Alive counts although the rest of its answer comes later", () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('GET / HTTP/1.1\r\nHost: example.com\r\n\r\n');
      const upstream = await proxy.backend.connection();
      await upstream.readHead();
      upstream.write('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=10\r\nContent-Length: 500\r\n\r\n');
      await client.readHead();
      // Where the head was received, there are other bytes now.
      upstream.write('x'.repeat(500));
      await client.readBytes(500);
      await proxy.record();
      proxy.passTime(7_000);
      assert.equal(upstream.ended, null);
      proxy.passTime(2_000);
      await upstream.readToEnd();
    }));

  it('answers of the proxy keep the connection', () =>
    withProxy(
      {
        decide: (_view, forward) => ({
          type: 'page',
          cause: 'route_unknown',
          retryAfter: null,
          labels: forward.labels,
          response: null,
        }),
      },
      async (proxy) => {
        const client = await proxy.client();
        for (const method of ['GET', 'HEAD', 'GET']) {
          client.write(`${method} / HTTP/1.1\r\nHost: example.com\r\n\r\n`);
          const answer = await client.readMessage({ bodiless: method === 'HEAD' });
          assert.equal(answer.status, 404);
          assert.ok(Number(answer.fields.get('content-length')) > 0);
        }
        assert.deepEqual(
          proxy.records.map((record) => [record.status, record.cause, record.phase]),
          Array.from({ length: 3 }, () => [404, 'route_unknown', 'decide']),
        );
      },
    ));

  for (const [what, method, field, waits] of [
    ['that asked to close is let go with the last byte', 'GET', 'Connection: close', false],
    [
      'that asked to close, with a body that may be longer than it said, is heard out',
      'POST',
      'Connection: close\r\nContent-Length: 1',
      true,
    ],
  ] as const) {
    it(`a client ${what}`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(`${method} / HTTP/1.1\r\nHost: example.com\r\n${field}\r\n\r\n${waits ? 'x' : ''}`);
        const upstream = await proxy.backend.connection();
        await upstream.readHead();
        upstream.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello');
        assert.equal((await client.readMessage()).body, 'hello');
        await client.until(() => client.ended !== null, 'the end');
        assert.equal(client.ended, 'end');
        // The kernel refuses what comes after the first bytes that nobody is there for.
        for (let i = 0; i < 10; i++) {
          client.write('more');
          await new Promise((resolve) => setImmediate(resolve));
        }
        assert.equal(client.ended, waits ? 'end' : 'reset');
      }));
  }
});

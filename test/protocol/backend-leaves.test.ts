import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withProxy } from './harness.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('a backend that breaks off', () => {
  for (const how of ['end', 'reset'] as const) {
    it(`before its answer by ${how}: a POST gets 502 and is never sent again`, () =>
      withProxy({ backends: 2 }, async (proxy) => {
        const client = await proxy.client();
        client.write(POST);
        const backend = await Promise.race(proxy.backends.map((one) => one.connection()));
        await backend.readUntil('abc');
        backend[how]();
        const answer = await client.readMessage();
        assert.equal(answer.status, 502);
        assert.equal(answer.fields.has('connection'), false);
        const record = await proxy.record();
        assert.equal(record.cause, 'backend_reset');
        assert.equal(record.endedBy, 'backend');
        assert.equal(record.phase, 'wait');
        assert.equal(record.retries, 0);
        assert.equal(proxy.backends[0]!.accepted.length + proxy.backends[1]!.accepted.length, 1);
        assert.equal(proxy.activeRequests(), 0);
      }));

    it(`before its answer by ${how}: a GET is sent to the other backend`, () =>
      withProxy({ backends: 2 }, async (proxy) => {
        const client = await proxy.client();
        client.write(GET);
        const [first, second] = proxy.backends.map((one) => one.connection());
        const backend = await Promise.race([first!, second!]);
        await backend.readHead();
        backend[how]();
        const other = (await first!.catch(() => null)) === backend ? await second! : await first!;
        await other.readHead();
        other.write(OK);
        assert.equal((await client.readMessage()).body, 'ok');
        const record = await proxy.record();
        assert.equal(record.retries, 1);
        assert.equal(record.status, 200);
        await proxy.idle();
      }));

    for (const [framing, head, tail] of [
      ['with length', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n', 'abc'],
      ['chunked', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', '3\r\nabc\r\n'],
      [
        'chunked in the middle of a chunk',
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
        '9\r\nabc',
      ],
      [
        'chunked before the last line',
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
        '3\r\nabc\r\n0\r\n',
      ],
    ] as const) {
      it(`mid-body by ${how}, ${framing}: the client is cut and sees no end`, () =>
        withProxy({}, async (proxy) => {
          const client = await proxy.client();
          client.write(GET);
          const backend = await proxy.backend.connection();
          await backend.readHead();
          backend.write(head + tail);
          await client.readUntil('abc');
          backend[how]();
          const rest = await client.readToEnd();
          assert.doesNotMatch(rest, /0\r\n\r\n$/);
          const record = await proxy.record();
          assert.equal(record.cause, 'backend_cut');
          assert.equal(record.status, 200);
          assert.equal(record.phase, 'response');
          await proxy.idle();
        }));
    }
  }

  it('mid-body by reset, where the body would end with the connection: the client is cut', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\n\r\nabc');
      await client.readUntil('abc');
      backend.reset();
      assert.doesNotMatch(await client.readToEnd(), /0\r\n\r\n$/);
      assert.equal((await proxy.record()).cause, 'backend_cut');
    }));

  for (const [what, request] of Object.entries({
    'a POST without a body': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n',
    'a DELETE': 'DELETE / HTTP/1.1\r\nHost: a\r\n\r\n',
    'a GET with a body': 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc',
  })) {
    it(`${what} is never sent again`, () =>
      withProxy({ backends: 2 }, async (proxy) => {
        const client = await proxy.client();
        client.write(request);
        const backend = await Promise.race(proxy.backends.map((one) => one.connection()));
        await backend.readHead();
        backend.reset();
        assert.equal((await client.readMessage()).status, 502);
        assert.equal((await proxy.record()).retries, 0);
      }));
  }

  it('with a status to be retried after an interim answer went to the client: it is relayed', () =>
    withProxy({ backends: 2, service: { retries: { max: 1, on: [503] } } }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await Promise.race(proxy.backends.map((one) => one.connection()));
      await backend.readHead();
      backend.write('HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n');
      assert.equal((await client.readMessage()).status, 103);
      assert.equal((await client.readMessage()).status, 503);
    }));

  it('in the middle of its head: 502, and nothing is tried again', () =>
    withProxy({ backends: 2 }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await Promise.race(proxy.backends.map((one) => one.connection()));
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nConte');
      backend.end();
      assert.equal((await client.readMessage()).status, 502);
      assert.equal((await proxy.record()).retries, 0);
    }));

  it('after an interim answer went to the client: nothing is tried again', () =>
    withProxy({ backends: 2 }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const backend = await Promise.race(proxy.backends.map((one) => one.connection()));
      await backend.readHead();
      backend.write('HTTP/1.1 103 Early Hints\r\n\r\n');
      await client.readHead();
      backend.reset();
      assert.equal((await client.readMessage()).status, 502);
    }));

  it('a pooled connection that had ended: a GET goes to a fresh one, a POST is refused', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const first = await proxy.backend.connection();
      await first.readHead();
      first.write(OK);
      await client.readMessage();
      client.write(GET);
      await first.readHead();
      first.reset();
      const second = await proxy.backend.connection();
      await second.readHead();
      second.write(OK);
      assert.equal((await client.readMessage()).body, 'ok');
      client.write(POST);
      await second.readUntil('abc');
      second.reset();
      assert.equal((await client.readMessage()).status, 502);
      assert.equal(proxy.backend.accepted.length, 2);
    }));

  it('every time: the retries of a service are the limit', () =>
    withProxy({ backends: 5, service: { retries: { max: 2 } } }, async (proxy) => {
      for (const backend of proxy.backends) {
        backend.server.on('wire', () => {
          const wire = backend.accepted.at(-1)!;
          void wire.readHead().then(() => wire.reset());
        });
      }
      const client = await proxy.client();
      client.write(GET);
      assert.equal((await client.readMessage()).status, 502);
      const record = await proxy.record();
      assert.equal(record.retries, 2);
      assert.equal(
        proxy.backends.reduce((sum, backend) => sum + backend.accepted.length, 0),
        3,
      );
    }));

  it('a status that the service wants retried goes to the other backend, for a GET', () =>
    withProxy({ backends: 2, service: { retries: { max: 1, on: ['reset', 503] } } }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const connections = proxy.backends.map((one) => one.connection());
      const backend = await Promise.race(connections);
      await backend.readHead();
      backend.write('HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy');
      const wires = await Promise.all(connections);
      const other = wires.find((wire) => wire !== backend)!;
      await other.readHead();
      other.write(OK);
      assert.equal((await client.readMessage()).body, 'ok');
      client.write(POST);
      const reached = () =>
        proxy.backends.flatMap((one) => one.accepted).find((wire) => wire.rest.includes('abc'));
      await proxy.settled(() => reached() !== undefined, 'the POST to arrive');
      const again = reached()!;
      again.write('HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy');
      assert.equal((await client.readMessage()).status, 503);
    }));

  it('a client that leaves during a retry ends it', () =>
    withProxy({ backends: 2 }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      const connections = proxy.backends.map((one) => one.connection());
      const backend = await Promise.race(connections);
      await backend.readHead();
      backend.reset();
      const wires = await Promise.all(connections);
      const other = wires.find((wire) => wire !== backend)!;
      await other.readHead();
      client.reset();
      await other.readToEnd();
      const record = await proxy.record();
      assert.equal(record.status, 499);
      assert.equal(record.retries, 1);
      await proxy.idle();
    }));
});

describe('a backend that cannot be reached', () => {
  it('is passed over for any method, the body intact and delivered once', () =>
    withProxy({ backends: 3 }, async (proxy) => {
      proxy.backends[0]!.close();
      proxy.backends[1]!.close();
      for (let i = 0; i < 4; i++) {
        const client = await proxy.client();
        client.write(POST);
        const backend = i === 0 ? await proxy.backends[2]!.connection() : proxy.backends[2]!.accepted[0]!;
        assert.equal((await backend.readMessage()).body, 'abc');
        backend.write(OK);
        assert.equal((await client.readMessage()).body, 'ok');
        assert.equal(proxy.records[i]!.retries, 0);
      }
    }));

  it('like all others: 503 with Retry-After', () =>
    withProxy({ backends: 2 }, async (proxy) => {
      for (const backend of proxy.backends) backend.close();
      const client = await proxy.client();
      client.write(POST);
      const answer = await client.readMessage();
      assert.equal(answer.status, 503);
      assert.ok(Number(answer.fields.get('retry-after')) > 0);
      assert.equal((await proxy.record()).cause, 'all_dead');
      client.write(GET);
      assert.equal((await client.readMessage()).status, 503);
    }));

  it('a long body that came before the connection arrives whole', () =>
    withProxy({ backends: 2 }, async (proxy) => {
      proxy.backends[0]!.close();
      const body = Buffer.alloc(3_000_000, 'abcdefghij').toString('latin1');
      for (let i = 0; i < 2; i++) {
        const client = await proxy.client();
        client.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        const backend = i === 0 ? await proxy.backends[1]!.connection() : proxy.backends[1]!.accepted[0]!;
        assert.ok((await backend.readMessage()).body === body);
        backend.write(OK);
        assert.equal((await client.readMessage()).body, 'ok');
        assert.equal(proxy.records[i]!.bytesIn, body.length);
      }
    }));

  it('holds the client back, and the body arrives whole once it can', () =>
    withProxy({ service: { pool: { max: 1, idle: '1h' }, queue: { wait: '1h' } } }, async (proxy) => {
      const first = await proxy.client();
      first.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      const client = await proxy.client();
      const size = 64 * 1_048_576;
      client.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
      client.write(Buffer.alloc(size, 'x'));
      for (let i = 0; i < 300; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(client.socket.writableLength > 0, 'the proxy took the whole body');
      backend.write(OK);
      await first.readMessage();
      const got = await backend.readMessage();
      assert.equal(got.body.length, size);
      backend.write(OK);
      assert.equal((await client.readMessage()).body, 'ok');
    }));

  it('a full queue answers as the service says', () =>
    withProxy({ service: { pool: { max: 1 }, queue: { size: 0, status: 429 } } }, async (proxy) => {
      const first = await proxy.client();
      first.write(GET);
      await (await proxy.backend.connection()).readHead();
      const second = await proxy.client();
      second.write(GET);
      const answer = await second.readMessage();
      assert.equal(answer.status, 429);
      assert.ok(answer.fields.has('retry-after'));
      assert.equal((await proxy.record()).cause, 'queue_full');
    }));
});

describe('a backend that answers early', () => {
  it('its answer is relayed while the upload goes on, then both end', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc');
      const backend = await proxy.backend.connection();
      await backend.readUntil('abc');
      backend.write('HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\n');
      assert.equal((await client.readHead()).includes('Connection: close'), true);
      client.write('defg');
      assert.equal(await backend.readBytes(4), 'defg');
      backend.write('nope');
      assert.equal(await client.readBytes(4), 'nope');
      assert.equal(await client.readToEnd(), '');
      await backend.readToEnd();
      assert.equal((await proxy.record()).status, 413);
      client.write('x'.repeat(1_000));
      await proxy.idle();
    }));

  it('and then closes: the answer is not lost', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
      const backend = await proxy.backend.connection();
      await backend.readUntil('abc');
      backend.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno');
      backend.destroy();
      client.write('3\r\ndef\r\n');
      const answer = await client.readMessage();
      assert.equal(answer.status, 403);
      assert.equal(answer.body, 'no');
      await client.readToEnd();
    }));

  it('and resets in the middle of a fast upload: the answer is not lost', async () => {
    for (let round = 0; round < 10; round++) {
      await withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n');
        const block = Buffer.alloc(65_536);
        let left = 700;
        const pump = (): void => {
          while (left-- > 0 && client.socket.write(block));
        };
        client.socket.on('drain', pump);
        pump();
        const backend = await proxy.backend.connection();
        await backend.readHead();
        backend.socket.pause();
        await proxy.settled(() => proxy.received > 1_000_000, 'the upload to be under way');
        backend.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno');
        backend.destroy();
        assert.equal((await client.readMessage()).status, 413);
      });
    }
  });

  it('with little of the upload missing, the connection is kept', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc');
      const backend = await proxy.backend.connection();
      await backend.readUntil('abc');
      backend.write(OK);
      assert.equal((await client.readMessage()).body, 'ok');
      await backend.readToEnd();
      client.write(`def${GET}`);
      const second = await proxy.backend.connection();
      assert.match(await second.readHead(), /^GET \/ /);
      second.write(OK);
      assert.equal((await client.readMessage()).body, 'ok');
    }));
});

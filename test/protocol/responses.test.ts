import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withProxy } from './harness.ts';
import { dechunk } from './wire.ts';

const HOST = 'Host: example.com\r\n\r\n';

const BAD_HEADS: Readonly<Record<string, string>> = {
  'no HTTP': 'hello\r\n\r\n',
  'HTTP/0.9': '<html></html>',
  'HTTP/1.2': 'HTTP/1.2 200 OK\r\n\r\n',
  'HTTP/2.0': 'HTTP/2.0 200 OK\r\n\r\n',
  'lower-case version': 'http/1.1 200 OK\r\n\r\n',
  'two spaces before the status': 'HTTP/1.1  200 OK\r\n\r\n',
  'a status of two digits': 'HTTP/1.1 99 OK\r\n\r\n',
  'a status of four digits': 'HTTP/1.1 2000 OK\r\n\r\n',
  'status 600': 'HTTP/1.1 600 OK\r\n\r\n',
  'status 099': 'HTTP/1.1 099 OK\r\n\r\n',
  'a status of letters': 'HTTP/1.1 abc OK\r\n\r\n',
  'a signed status': 'HTTP/1.1 +20 OK\r\n\r\n',
  'a control in the reason': 'HTTP/1.1 200 O\x01K\r\n\r\n',
  'bare LF after the status line': 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n',
  'bare LF after a field': 'HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n',
  'obs-fold': 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n',
  'a space before the first field': 'HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n',
  'an empty field name': 'HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n',
  'no colon': 'HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n',
  'NUL in a value': 'HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 0\r\n\r\n',
  'bare CR in a value': 'HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n',
  'two Content-Lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc',
  'two equal Content-Lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab',
  'a negative Content-Length': 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab',
  'a list of Content-Lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab',
  'both framings': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'an unknown coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  identity: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc',
  'two codings':
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'chunked in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'a head of more than 64 KB': `HTTP/1.1 200 OK\r\n${`X: ${'a'.repeat(996)}\r\n`.repeat(70)}\r\n`,
  'a Connection that names 101 fields': `HTTP/1.1 200 OK\r\nConnection: ${'x,'.repeat(101)}\r\n\r\n`,
  'more than a hundred interim answers': `${'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(101)}HTTP/1.1 200 OK\r\n\r\n`,
};

describe('an answer that is not valid', () => {
  for (const [what, response] of Object.entries(BAD_HEADS)) {
    it(`${what}: 502, and the backend's connection is dropped`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(`POST / HTTP/1.1\r\nContent-Length: 0\r\n${HOST}`);
        const backend = await proxy.backend.connection();
        await backend.readHead();
        backend.write(response);
        let answer = await client.readMessage();
        while (answer.status < 200) answer = await client.readMessage();
        assert.equal(answer.status, 502);
        assert.equal(answer.fields.has('connection'), false);
        await backend.readToEnd();
        const record = await proxy.record();
        assert.equal(record.cause, 'backend_protocol');
        assert.equal(record.endedBy, 'backend');
        client.write(`GET /again HTTP/1.1\r\n${HOST}`);
        await (await proxy.backend.connection()).readHead();
      }));
  }

  it('a 101 that was not asked for is a 502', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`GET / HTTP/1.1\r\n${HOST}`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
      assert.equal((await client.readMessage()).status, 502);
      assert.equal((await proxy.record()).cause, 'backend_upgrade');
    }));

  for (const [what, body] of Object.entries({
    'a bad chunk size': 'x\r\n',
    'a missing CRLF': '3\r\nabcd',
    'bad trailers': '3\r\nabc\r\n0\r\nX : a\r\n\r\n',
  })) {
    it(`a chunked answer with ${what} is cut, never ended`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(`GET / HTTP/1.1\r\n${HOST}`);
        const backend = await proxy.backend.connection();
        await backend.readHead();
        backend.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n');
        await client.readUntil('ab\r\n');
        backend.write(body);
        assert.doesNotMatch(await client.readToEnd(), /0\r\n\r\n$/);
        await backend.readToEnd();
        assert.equal((await proxy.record()).cause, 'backend_protocol');
      }));
  }

  for (const [what, response] of Object.entries({
    'after a body with length': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n',
    'after an empty body': 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx',
    'after a chunked body': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx',
    'after a 204': 'HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\nx',
    'after a 304': 'HTTP/1.1 304 Not Modified\r\nContent-Length: 1\r\n\r\nx',
  })) {
    it(`bytes ${what} poison the connection, the answer passes`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(`GET / HTTP/1.1\r\n${HOST}`);
        const backend = await proxy.backend.connection();
        await backend.readHead();
        backend.write(response);
        assert.ok((await client.readMessage()).status < 400);
        await backend.readToEnd();
        assert.equal(client.rest, '');
        client.write(`GET /again HTTP/1.1\r\n${HOST}`);
        const second = await proxy.backend.connection();
        await second.readHead();
        second.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        assert.equal((await client.readMessage()).body, 'ok');
      }));
  }
});

describe('the connection of a backend', () => {
  for (const [what, head] of Object.entries({
    'Connection: close': 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok',
    'HTTP/1.0': 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
  })) {
    it(`is not used again when it says so: ${what}`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(`GET / HTTP/1.1\r\n${HOST}`);
        const backend = await proxy.backend.connection();
        await backend.readHead();
        backend.write(head);
        assert.equal((await client.readMessage()).body, 'ok');
        await backend.readToEnd();
        client.write(`GET / HTTP/1.1\r\n${HOST}`);
        await (await proxy.backend.connection()).readHead();
      }));
  }
});

describe('bodies that are there or not', () => {
  it('an answer to HEAD has no body whatever it says, and the connection is used again', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`HEAD / HTTP/1.1\r\n${HOST}`);
      const backend = await proxy.backend.connection();
      for (const framing of ['Content-Length: 1000', 'Transfer-Encoding: chunked', 'X-None: 1']) {
        await backend.readHead();
        backend.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`);
        const answer = await client.readMessage({ bodiless: true });
        assert.ok(answer.head.includes(`\r\n${framing}\r\n`), answer.head);
        client.write(`HEAD / HTTP/1.1\r\n${HOST}`);
      }
      assert.equal(proxy.backend.accepted.length, 1);
    }));

  it('204 loses its framing fields, 304 keeps the length it tells of', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`GET / HTTP/1.1\r\n${HOST}`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n');
      const none = await client.readMessage();
      assert.equal(none.fields.has('transfer-encoding'), false);
      for (const [head, length] of [
        ['HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n', '10'],
        ['HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', undefined],
      ] as const) {
        client.write(`GET / HTTP/1.1\r\n${HOST}`);
        const again = proxy.backend.accepted[1] ?? (await proxy.backend.connection());
        await again.readHead();
        again.write(head);
        assert.equal((await client.readMessage()).fields.get('content-length'), length);
      }
      assert.equal(proxy.backend.accepted.length, 2);
    }));

  it('a body that ends with the connection is chunked for a 1.1 client', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`GET / HTTP/1.1\r\n${HOST}`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.0 200 OK\r\n\r\nabc');
      const head = await client.readHead();
      assert.match(head, /\r\nTransfer-Encoding: chunked\r\n/);
      assert.equal(await client.readUntil('\r\nabc\r\n'), '3\r\nabc\r\n');
      backend.write('defghijklmnopqrstuvwxyz');
      assert.equal(await client.readUntil('xyz\r\n'), '17\r\ndefghijklmnopqrstuvwxyz\r\n');
      backend.end();
      assert.equal(await client.readUntil('0\r\n\r\n'), '0\r\n\r\n');
      assert.equal((await proxy.record()).endedBy, 'complete');
      client.write(`GET /again HTTP/1.1\r\n${HOST}`);
      await (await proxy.backend.connection()).readHead();
    }));

  it('trailers pass in both directions, without what they may not carry', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n${HOST}`);
      client.write(
        '2\r\nab\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: evil\r\nAuthorization: x\r\nX_Forwarded_For: 1\r\n\r\n',
      );
      const backend = await proxy.backend.connection();
      const request = await backend.readMessage();
      assert.equal(request.fields.get('trailer'), 'X-Sum');
      assert.equal(request.body, '2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n');
      backend.write(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Md5\r\n\r\n1\r\nz\r\n0\r\nX-Md5: 2\r\nSet-Cookie: a\r\n\r\n',
      );
      const answer = await client.readMessage();
      assert.equal(answer.fields.get('trailer'), 'X-Md5');
      assert.equal(answer.body, '1\r\nz\r\n0\r\nX-Md5: 2\r\n\r\n');
      client.write(`GET /again HTTP/1.1\r\n${HOST}`);
      await backend.readHead();
    }));

  it('a DELETE or OPTIONS with a chunked body is forwarded as it was framed', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      const smuggled = `GET /smuggled HTTP/1.1\r\n${HOST}`;
      for (const [index, method] of ['DELETE', 'OPTIONS', 'GET'].entries()) {
        const size = smuggled.length.toString(16);
        client.write(
          `${method} / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${HOST}${size}\r\n${smuggled}\r\n0\r\n\r\n`,
        );
        const backend = index === 0 ? await proxy.backend.connection() : proxy.backend.accepted[0]!;
        const request = await backend.readMessage();
        assert.equal(request.fields.get('transfer-encoding'), 'chunked');
        assert.equal(dechunk(request.body), smuggled);
        backend.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
        assert.equal((await client.readMessage()).status, 200);
        assert.equal(backend.rest, '');
      }
    }));
});

describe('HTTP/1.0 clients', () => {
  it('get a chunked answer as plain bytes, ended by close', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n');
      const backend = await proxy.backend.connection();
      const request = await backend.readMessage();
      assert.equal(request.line, 'GET / HTTP/1.1');
      assert.equal(request.fields.get('via'), '1.0 kontrol');
      backend.write(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nX: 1\r\n\r\n',
      );
      const answer = await client.readMessage();
      assert.equal(answer.fields.has('transfer-encoding'), false);
      assert.equal(answer.fields.has('trailer'), false);
      assert.equal(answer.fields.get('connection'), 'close');
      assert.equal(await client.readToEnd(), 'abcdef');
    }));

  it('close by default, keep the connection when they ask and the length is known', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n');
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.equal((await client.readMessage()).fields.get('connection'), 'keep-alive');
      client.write('GET / HTTP/1.0\r\nHost: a\r\n\r\n');
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.equal((await client.readMessage()).fields.get('connection'), 'close');
      assert.equal(await client.readToEnd(), '');
    }));

  it('may leave out Host, and never see an interim answer', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab');
      const backend = await proxy.backend.connection();
      const request = await backend.readMessage();
      assert.equal(proxy.lastView!.host, '');
      assert.equal(request.fields.has('expect'), false);
      backend.write(
        'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
      );
      assert.equal((await client.readMessage()).status, 200);
    }));

  it('a body that ends by close and breaks off is a reset, not an end', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('GET / HTTP/1.0\r\nHost: a\r\n\r\n');
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
      await client.readUntil('abc');
      backend.end();
      await client.readToEnd();
      assert.equal(client.ended, 'reset');
      assert.equal((await proxy.record()).cause, 'backend_cut');
    }));
});

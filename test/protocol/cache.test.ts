/** The cache on the wire: what is kept, for whom and how long, and how it is renewed. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { answer, caching, request, Scene, scene } from './cache-scene.ts';

describe('a stored answer', () => {
  scene('is given without the backend, with its age and why', {}, async (s) => {
    const first = await s.through(request(), answer(['Cache-Control: max-age=60', 'X-Backend: one']));
    assert.equal(first.got.fields.get('cache-status'), 'kontrol; fwd=uri-miss; stored');
    assert.equal(first.got.fields.get('age'), undefined);
    s.proxy.passTime(5_000);
    const second = await s.kept(request());
    assert.equal(second.body, 'hello');
    assert.equal(second.fields.get('x-backend'), 'one');
    assert.match(second.fields.get('age') ?? '', /^[56]$/);
    assert.match(second.fields.get('cache-status') ?? '', /^kontrol; hit; ttl=5[345]$/);
    assert.ok(second.fields.has('date'));
    assert.deepEqual(
      s.proxy.records.map(({ cache, backendStatus, bytesOut }) => [cache, backendStatus, bytesOut]),
      [
        ['miss', 200, 5],
        ['hit', 0, 5],
      ],
    );
  });

  scene('lives for the ttl when the backend says nothing', { ttl: '30s' }, async (s) => {
    await s.through(request(), answer());
    s.proxy.passTime(20_000);
    assert.equal((await s.kept(request())).body, 'hello');
    s.proxy.passTime(10_500);
    assert.equal((await s.through(request(), answer([], 'later'))).got.body, 'later');
  });

  scene('answers HEAD', {}, async (s) => {
    await s.through(request(), answer());
    const head = await s.kept(request([], 'HEAD'));
    assert.equal(head.fields.get('content-length'), '5');
    assert.equal((await s.kept(request())).body, 'hello');
  });

  scene('of a chunked answer has a length, and no trailers', {}, async (s) => {
    const chunked =
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n';
    await s.through(request(), chunked);
    const kept = await s.kept(request());
    assert.equal(kept.fields.get('content-length'), '5');
    assert.equal(kept.fields.has('transfer-encoding'), false);
    assert.equal(kept.fields.has('trailer'), false);
    assert.equal(kept.body, 'hello');
  });

  scene('has no fields of the hop it came over', {}, async (s) => {
    await s.through(request(), answer(['Connection: X-Hop', 'X-Hop: 1', 'Keep-Alive: timeout=5']));
    const kept = await s.kept(request());
    assert.equal(kept.fields.has('x-hop'), false);
    assert.equal(kept.fields.has('keep-alive'), false);
  });

  scene('says 304 to a visitor who has it', {}, async (s) => {
    const fields = ['ETag: "a"', 'Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT', 'Content-Type: text/plain'];
    await s.through(request(['If-None-Match: "other"']), answer(fields));
    for (const condition of [
      'If-None-Match: "x", W/"a"',
      'If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT',
    ]) {
      const kept = await s.kept(request([condition]));
      assert.equal(kept.status, 304);
      assert.equal(kept.fields.get('etag'), '"a"');
      assert.equal(kept.fields.has('content-type'), false);
      assert.equal(kept.fields.has('content-length'), false);
    }
    assert.equal((await s.kept(request(['If-None-Match: "b"']))).body, 'hello');
  });

  scene('is filled by an unconditional request, and a condition is judged here', {}, async (s) => {
    const { head, got } = await s.through(request(['If-None-Match: "a"']), answer(['ETag: "a"']));
    assert.doesNotMatch(head, /if-none-match/i);
    assert.equal(got.status, 304);
    assert.equal((await s.kept(request())).body, 'hello');
  });

  scene('gives the one range that is asked for', {}, async (s) => {
    await s.through(request(), answer(['Content-Type: text/plain']));
    const part = await s.kept(request(['Range: bytes=1-3']));
    assert.equal(part.status, 206);
    assert.equal(part.body, 'ell');
    assert.equal(part.fields.get('content-range'), 'bytes 1-3/5');
    assert.equal((await s.kept(request(['Range: bytes=-2']))).body, 'lo');
    assert.equal((await s.kept(request(['Range: bytes=3-']))).body, 'lo');
    assert.equal((await s.kept(request(['Range: bytes=9-']))).status, 416);
    assert.equal((await s.kept(request(['Range: bytes=0-1,3-4']))).body, 'hello');
  });

  scene('is not made of an answer to a range', {}, async (s) => {
    const part = answer(['Content-Range: bytes 0-1/5'], 'he', 'HTTP/1.1 206 Partial Content');
    const { head, got } = await s.through(request(['Range: bytes=0-1']), part);
    assert.match(head, /Range: bytes=0-1/);
    assert.equal(got.fields.get('cache-status'), 'kontrol; fwd=bypass');
    assert.equal((await s.through(request(), answer())).got.body, 'hello');
  });

  scene('is chosen by Vary', {}, async (s) => {
    const fr = request(['Accept-Language: fr']);
    const en = request(['Accept-Language: en']);
    await s.through(fr, answer(['Vary: Accept-Language'], 'salut'));
    await s.through(en, answer(['Vary: Accept-Language'], 'hello'));
    assert.equal((await s.kept(fr)).body, 'salut');
    assert.equal((await s.kept(en)).body, 'hello');
  });

  scene('is not made for a request of whose fields the backend did not see all', {}, async (s) => {
    const named = request(['Connection: Accept-Language', 'Accept-Language: fr']);
    const { head, got } = await s.through(named, answer(['Vary: Accept-Language'], 'hello'));
    assert.doesNotMatch(head, /accept-language/i);
    assert.equal(got.fields.get('cache-status'), 'kontrol; fwd=bypass');
    const fr = request(['Accept-Language: fr']);
    assert.equal((await s.through(fr, answer(['Vary: Accept-Language'], 'salut'))).got.body, 'salut');
    assert.equal((await s.through(named, answer([], 'again'))).got.body, 'again', 'nor given to one');
    assert.equal((await s.kept(fr)).body, 'salut');
  });

  scene('is told apart by host, port, query and method', {}, async (s) => {
    await s.through(request(), answer());
    for (const other of [
      request().replace('example.com', 'example.com:81'),
      request().replace('example.com', 'other.example'),
      request([], 'GET', '/page?a'),
      request([], 'GET', '/pagE'),
    ]) {
      assert.equal((await s.through(other, answer([], 'other'))).got.body, 'other');
    }
  });

  scene('is slow to read, and holds back nobody', { size: '64MB' }, async (s) => {
    const body = 'x'.repeat(4_000_000);
    await s.through(request(), answer([], body));
    const slow = await s.proxy.client();
    slow.socket.pause();
    slow.write(request());
    assert.equal((await s.kept(request())).body, body);
    slow.socket.resume();
    assert.equal((await slow.readMessage()).body, body);
  });

  scene('that nobody takes any of is given up after the idle time', { size: '512MB' }, async (s) => {
    // More than the kernel keeps for a connection.
    const body = 'x'.repeat(32_000_000);
    await s.through(request(), answer([], body));
    const stuck = await s.proxy.client();
    stuck.socket.pause();
    stuck.write(request());
    await s.proxy.settled(() => s.proxy.decisions === 2, 'the request');
    await s.proxy.settled(
      () => [...s.proxy.connections].some((one) => one.pendingBytes > 0),
      'it to be stuck',
    );
    s.proxy.passTime(61_000);
    s.proxy.passTime(61_000);
    assert.equal((await s.proxy.record(2)).cause, 'client_gone');
    stuck.destroy();
  });

  scene('goes to pipelined requests in order', {}, async (s) => {
    await s.through(request(), answer());
    s.client.write(request().repeat(3));
    for (let i = 0; i < 3; i++) assert.equal((await s.client.readMessage()).body, 'hello');
  });
});

describe('is asked anew of the backend', () => {
  const never: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['an answer that is private', ['Cache-Control: private, max-age=60'], []],
    ['an answer that must not be stored', ['Cache-Control: no-store'], []],
    ['an answer that sets a cookie', ['Cache-Control: max-age=60', 'Set-Cookie: a=1'], []],
    ['an answer that varies by everything', ['Cache-Control: max-age=60', 'Vary: *'], []],
    ['an answer that has expired', ['Expires: 0'], []],
    ['an answer to Authorization', ['Cache-Control: max-age=60'], ['Authorization: Basic YTpi']],
    ['an answer without lifetime to a request with cookies', [], ['Cookie: a=1']],
    ['an answer to a request with no-store', ['Cache-Control: max-age=60'], ['Cache-Control: no-store']],
  ];
  for (const [what, fields, asked] of never) {
    scene(what, {}, async (s) => {
      await s.through(request(asked), answer(fields));
      assert.equal((await s.through(request(asked), answer(fields, 'again'))).got.body, 'again');
    });
  }

  scene('an answer that ended with its connection', {}, async (s) => {
    s.client.write(request());
    const backend = await s.proxy.backend.connection();
    await backend.readHead();
    backend.write('HTTP/1.1 200 OK\r\n\r\nhello');
    backend.end();
    await s.client.readMessage();
    assert.equal((await s.through(request(), answer([], 'again'))).got.body, 'again');
  });

  scene('a fresh one, when the request says no-cache', {}, async (s) => {
    await s.through(request(), answer());
    assert.equal(
      (await s.through(request(['Cache-Control: no-cache']), answer([], 'again'))).got.body,
      'again',
    );
    assert.equal((await s.kept(request())).body, 'again');
  });

  scene('with Authorization, when the answer may not serve such requests', {}, async (s) => {
    const authorized = request(['Authorization: Basic YTpi']);
    await s.through(request(), answer(['Cache-Control: max-age=60']));
    assert.equal((await s.through(authorized, answer([], 'secret'))).got.body, 'secret');
    assert.equal((await s.kept(request())).body, 'hello');
  });

  scene('nothing, with Authorization, when the answer is public', {}, async (s) => {
    const authorized = request(['Authorization: Basic YTpi']);
    await s.through(authorized, answer(['Cache-Control: public, max-age=60']));
    assert.equal((await s.kept(authorized)).body, 'hello');
    assert.equal((await s.kept(request(['Cookie: a=1']))).body, 'hello');
  });

  scene('nothing, when only a stored answer is wanted', {}, async (s) => {
    const got = await s.kept(request(['Cache-Control: only-if-cached']));
    assert.equal(got.status, 504);
    assert.equal(s.proxy.records[0]?.cause, 'not_cached');
  });
});

describe('past its lifetime', () => {
  scene('it is renewed by a 304, whose fields it takes', {}, async (s) => {
    await s.through(request(), answer(['ETag: "a"', 'Cache-Control: max-age=1', 'X-Version: 1']));
    s.proxy.passTime(2_000);
    const notModified =
      'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nCache-Control: max-age=60\r\nX-Version: 2\r\n\r\n';
    const { head, got } = await s.through(request(), notModified);
    assert.match(head, /if-none-match: "a"/i);
    assert.equal(got.status, 200);
    assert.equal(got.body, 'hello');
    assert.equal(got.fields.get('x-version'), '2');
    assert.equal(got.fields.get('cache-status'), 'kontrol; fwd=stale; fwd-status=304');
    s.proxy.passTime(30_000);
    assert.match((await s.kept(request())).fields.get('age') ?? '', /^3[01]$/);
    assert.equal(s.proxy.records[1]?.cache, 'revalidated');
  });

  scene('it is replaced by a new answer', {}, async (s) => {
    await s.through(request(), answer(['ETag: "a"', 'Cache-Control: max-age=1']));
    s.proxy.passTime(2_000);
    await s.through(request(), answer(['ETag: "b"', 'Cache-Control: max-age=60'], 'newer'));
    assert.equal((await s.kept(request())).body, 'newer');
  });

  scene('a 304 for one visitor is given to that one alone', {}, async (s) => {
    await s.through(request(), answer(['ETag: "a"', 'Cache-Control: max-age=1']));
    s.proxy.passTime(2_000);
    s.client.write(request());
    const backend = s.proxy.backend.accepted[0]!;
    await backend.readHead();
    const other = await s.proxy.client();
    other.write(request());
    await s.proxy.settled(() => s.proxy.decisions === 3, 'the other to wait');
    backend.write('HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nSet-Cookie: session=first\r\n\r\n');
    const first = await s.client.readMessage();
    assert.deepEqual([first.body, first.fields.get('set-cookie')], ['hello', 'session=first']);
    await backend.readHead();
    backend.write(answer(['Set-Cookie: session=other'], 'mine!'));
    const got = await other.readMessage();
    assert.deepEqual([got.body, got.fields.get('set-cookie')], ['mine!', 'session=other']);
  });

  scene('a 304 about another version is not believed', {}, async (s) => {
    await s.through(request(), answer(['ETag: "a"', 'Cache-Control: max-age=1']));
    s.proxy.passTime(2_000);
    s.client.write(request());
    await s.background('HTTP/1.1 304 Not Modified\r\nETag: "b"\r\n\r\n');
    const second = await s.background(answer(['ETag: "b"'], 'newer'));
    assert.doesNotMatch(second, /if-none-match/i);
    assert.equal((await s.client.readMessage()).body, 'newer');
  });

  test('a renewal that grows too long for anybody but the one who left is given up', () =>
    caching({}, async (proxy) => {
      const s = await Scene.of(proxy);
      await s.through(request(), answer(['ETag: "a"', 'Cache-Control: max-age=1']));
      proxy.passTime(2_000);
      const leaving = await proxy.client();
      leaving.write(request());
      const backend = proxy.backend.accepted[0]!;
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      const chunk = `100000\r\n${'x'.repeat(1_048_576)}\r\n`;
      for (let i = 0; i < 9; i++) backend.write(chunk);
      await leaving.readBytes(9_000_000);
      leaving.reset();
      await backend.until(() => backend.ended !== null, 'the end of the request');
    }));

  scene('it is used while one request renews it', { staleWhileRevalidate: '10s' }, async (s) => {
    await s.through(request(), answer(['Cache-Control: max-age=1']));
    s.proxy.passTime(2_000);
    for (let i = 0; i < 5; i++) {
      const stale = await s.kept(request());
      assert.equal(stale.body, 'hello');
      assert.match(stale.fields.get('cache-status') ?? '', /hit; ttl=-\d/);
    }
    await s.background(answer(['Cache-Control: max-age=60'], 'newer'));
    await s.proxy.settled(() => s.proxy.activeRequests() === 0, 'the renewal');
    assert.equal((await s.kept(request())).body, 'newer');
    assert.equal(s.proxy.backend.accepted.length, 1);
    assert.equal(s.proxy.records.filter(({ cache }) => cache === 'stale').length, 5);
  });

  scene('must-revalidate forbids that', { staleWhileRevalidate: '10s', staleIfError: '1h' }, async (s) => {
    await s.through(request(), answer(['Cache-Control: max-age=1, must-revalidate']));
    s.proxy.passTime(2_000);
    const failed = answer([], 'broken', 'HTTP/1.1 503 Service Unavailable');
    assert.equal((await s.through(request(), failed)).got.status, 503);
  });

  for (const status of [500, 502, 503, 504]) {
    scene(`it stands in for a ${status}`, { staleIfError: '1h' }, async (s) => {
      await s.through(request(), answer(['Cache-Control: max-age=1']));
      s.proxy.passTime(2_000);
      s.client.write(request());
      await s.background(answer([], 'broken', `HTTP/1.1 ${status} No`));
      const got = await s.client.readMessage();
      assert.equal(got.body, 'hello');
      assert.match(got.fields.get('cache-status') ?? '', /stale-if-error/);
    });
  }

  scene(
    'it stands in when no backend can be reached',
    { staleIfError: '1h' },
    async (s) => {
      await s.through(request(), answer(['Cache-Control: max-age=1']));
      s.proxy.passTime(2_000);
      s.proxy.backend.close();
      assert.equal((await s.kept(request())).body, 'hello');
      s.proxy.passTime(3_700_000);
      const later = await s.proxy.client();
      later.write(request());
      assert.equal((await later.readMessage()).status, 503);
    },
    { service: { queue: { wait: '100ms' }, timeouts: { connect: '100ms' } } },
  );
});

describe('requests for what is not stored', () => {
  test('reach the backend once', () =>
    caching({}, async (proxy) => {
      const clients = await Promise.all(Array.from({ length: 50 }, () => proxy.client()));
      for (const client of clients) client.write(request());
      const backend = await proxy.backend.connection();
      await backend.readHead();
      await proxy.settled(() => proxy.decisions === 50, 'all to be decided');
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe');
      await clients[0]!.readUntil('he');
      // What is being stored serves those who come while it is.
      const late = await proxy.client();
      late.write(request());
      await late.readUntil('he');
      backend.write('llo');
      for (const client of clients.slice(1)) assert.equal((await client.readMessage()).body, 'hello');
      await late.readUntil('llo');
      assert.equal(proxy.backend.accepted.length, 1);
    }));
});

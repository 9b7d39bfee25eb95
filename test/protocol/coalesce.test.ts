/** Dog-pile protection on the wire: which requests share an answer, who gets which part of it, and what ends how. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ProxyOptions, type TestProxy, withProxy } from './harness.ts';
import { dechunk, type Wire } from './wire.ts';

const COALESCE = { coalesce: {} };
const GET = 'GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';

function sharing(body: (proxy: TestProxy) => Promise<void>, options: ProxyOptions = {}): Promise<void> {
  return withProxy({ ...options, service: { ...COALESCE, ...options.service } }, async (proxy) => {
    await body(proxy);
    await proxy.idle();
    assert.equal(proxy.answers.underWay, 0, 'all memory of answers under way is given back');
    assert.equal(proxy.answers.open, 0, 'nothing is under way');
  });
}

/** Clients whose request was decided while the first one's was at the backend. */
async function crowd(
  proxy: TestProxy,
  count: number,
  request = GET,
): Promise<{ clients: Wire[]; backend: Wire }> {
  const before = proxy.decisions;
  const leader = await proxy.client();
  leader.write(request);
  const backend = await proxy.backend.connection();
  await backend.readHead();
  const clients = [leader];
  for (let i = 1; i < count; i++) {
    const client = await proxy.client();
    client.write(request);
    clients.push(client);
  }
  await proxy.settled(() => proxy.decisions >= before + count, 'all requests to be decided');
  return { clients, backend };
}

describe('identical requests in flight', () => {
  test('reach the backend once, and every visitor gets the answer', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 200);
      backend.write(OK);
      for (const [i, client] of clients.entries()) {
        const answer = await client.readMessage();
        assert.equal(answer.body, 'hello');
        assert.equal(answer.fields.get('cache-status'), i === 0 ? undefined : 'kontrol; fwd=miss; collapsed');
      }
      assert.equal(proxy.backend.accepted.length, 1);
      await proxy.record(200);
      assert.equal(proxy.records.filter(({ cache }) => cache === 'collapsed').length, 199);
      assert.equal(proxy.records.filter(({ backend: address }) => address !== null).length, 1);
    }));

  test('are not joined once the answer has begun', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 2);
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe');
      await clients[0]!.readUntil('he');
      const late = await proxy.client();
      late.write(GET);
      const other = await proxy.backend.connection();
      await other.readHead();
      other.write(OK.replace('hello', 'later'));
      assert.equal((await late.readMessage()).body, 'later');
      backend.write('llo');
      await clients[0]!.readUntil('llo');
      assert.equal((await clients[1]!.readMessage()).body, 'hello');
    }));

  for (const [what, request] of [
    ['another target', GET.replace('/page', '/other')],
    ['a query', GET.replace('/page', '/page?a=1')],
    ['another host', GET.replace('example.com', 'example.com:81')],
    ['another method', GET.replace('GET', 'HEAD')],
    ['Authorization', GET.replace('\r\n\r\n', '\r\nAuthorization: Basic YTpi\r\n\r\n')],
    ['a cookie', GET.replace('\r\n\r\n', '\r\nCookie: a=1\r\n\r\n')],
    ['a range', GET.replace('\r\n\r\n', '\r\nRange: bytes=0-1\r\n\r\n')],
    ['a condition', GET.replace('\r\n\r\n', '\r\nIf-None-Match: "a"\r\n\r\n')],
    ['no-store', GET.replace('\r\n\r\n', '\r\nCache-Control: no-store\r\n\r\n')],
    ['another method that changes something', GET.replace('GET', 'DELETE')],
    ['a body', GET.replace('\r\n\r\n', '\r\nContent-Length: 1\r\n\r\nx')],
  ] as const) {
    test(`with ${what} go on their own`, () =>
      sharing(async (proxy) => {
        const { clients, backend } = await crowd(proxy, 1);
        const other = await proxy.client();
        other.write(request);
        const second = await proxy.backend.connection();
        await second.readHead();
        const bodiless = request.startsWith('HEAD');
        second.write(
          bodiless ? 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n' : OK.replace('hello', 'other'),
        );
        const answer = await other.readMessage({ bodiless });
        assert.equal(answer.status, 200);
        if (!bodiless) assert.equal(answer.body, 'other');
        backend.write(OK);
        assert.equal((await clients[0]!.readMessage()).body, 'hello');
      }));
  }

  test('of method HEAD share a head, with the length that it tells of and without one', () =>
    sharing(async (proxy) => {
      for (const length of ['Content-Length: 5\r\n', '']) {
        const { clients, backend } = await crowd(proxy, 3, GET.replace('GET', 'HEAD'));
        backend.write(`HTTP/1.1 200 OK\r\nConnection: close\r\n${length}\r\n`);
        for (const client of clients) {
          const head = await client.readMessage({ bodiless: true });
          assert.equal(head.fields.get('content-length'), length === '' ? undefined : '5');
          assert.equal(head.fields.has('transfer-encoding'), false);
        }
      }
    }));

  test('with the same cookies share when told so, with others do not', () =>
    sharing(
      async (proxy) => {
        const cookie = (value: string) => GET.replace('\r\n\r\n', `\r\nCookie: id=${value}\r\n\r\n`);
        const { clients, backend } = await crowd(proxy, 2, cookie('1'));
        const other = await proxy.client();
        other.write(cookie('2'));
        const second = await proxy.backend.connection();
        assert.match(await second.readHead(), /id=2/);
        second.write(OK);
        await other.readMessage();
        backend.write(OK);
        for (const client of clients) assert.equal((await client.readMessage()).body, 'hello');
        assert.equal(proxy.backend.accepted.length, 2);
      },
      { service: { coalesce: { withCookies: true } } },
    ));

  test('that differ in a chosen field go on their own', () =>
    sharing(
      async (proxy) => {
        const tenant = (value: string) => GET.replace('\r\n\r\n', `\r\nX-Tenant: ${value}\r\n\r\n`);
        const { clients, backend } = await crowd(proxy, 1, tenant('a'));
        const other = await proxy.client();
        other.write(tenant('b'));
        const second = await proxy.backend.connection();
        assert.match(await second.readHead(), /X-Tenant: b/);
        second.write(OK);
        await other.readMessage();
        backend.write(OK);
        await clients[0]!.readMessage();
      },
      { service: { coalesce: { headers: ['X-Tenant'] } } },
    ));

  test('beyond the bound of waiters go on their own', () =>
    sharing(
      async (proxy) => {
        const { clients, backend } = await crowd(proxy, 3);
        const second = await proxy.backend.connection();
        await second.readHead();
        second.write(OK);
        assert.equal((await clients[2]!.readMessage()).body, 'hello');
        backend.write(OK);
        for (const client of clients.slice(0, 2)) assert.equal((await client.readMessage()).body, 'hello');
      },
      { service: { coalesce: { waiters: 1 } } },
    ));
});

describe('an answer that is for one visitor', () => {
  for (const [why, field] of [
    ['sets a cookie', 'Set-Cookie: id=1'],
    ['is private', 'Cache-Control: private'],
    ['must not be stored', 'Cache-Control: no-store'],
    ['varies by everything', 'Vary: *'],
    ['is a stream', 'Content-Type: text/event-stream'],
    ['is too long', 'X-Long: yes'],
  ] as const) {
    test(`because it ${why} goes to the first; the others ask for themselves`, () =>
      sharing(async (proxy) => {
        const body = why === 'is too long' ? 'x'.repeat(1_048_577) : 'hello';
        const answer = (text: string) =>
          `HTTP/1.1 200 OK\r\n${field}\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
        const { clients, backend } = await crowd(proxy, 3);
        backend.write(answer(body));
        assert.equal((await clients[0]!.readMessage()).body, body);
        for (let i = 1; i < 3; i++) {
          const next = await proxy.backend.connection();
          await next.readHead();
          next.write(answer(`for ${i}`));
        }
        const bodies = [(await clients[1]!.readMessage()).body, (await clients[2]!.readMessage()).body];
        assert.deepEqual(bodies.sort(), ['for 1', 'for 2']);
      }));
  }

  test('keeps the crowd that waited for it to itself: who waits for another is not behind it', () =>
    sharing(async (proxy) => {
      const single = OK.replace('\r\n\r\n', '\r\nCache-Control: private\r\nConnection: close\r\n\r\n');
      const slow = await crowd(proxy, 50);
      slow.backend.write(single);
      await slow.clients[0]!.readMessage();
      for (let i = 0; i < 32; i++) await (await proxy.backend.connection()).readHead();
      const other = await crowd(proxy, 3, GET.replace('/page', '/other'));
      other.backend.write(single);
      await other.clients[0]!.readMessage();
      for (let i = 1; i < 3; i++) {
        const wire = await proxy.backend.connection();
        assert.match(await wire.readHead(), /^GET \/other /);
        wire.write(single);
      }
      for (const client of other.clients.slice(1)) assert.equal((await client.readMessage()).body, 'hello');
      for (const client of slow.clients) client.reset();
    }));

  test('lets a crowd of waiters go a few at a time', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 100);
      backend.write('HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      await clients[0]!.readMessage();
      await proxy.settled(() => proxy.activeRequests() === 32, 'as many as may go at once');
      for (let i = 0; i < 99; i++) {
        const next = await proxy.backend.connection();
        await next.readHead();
        assert.ok(proxy.activeRequests() <= 33, 'never more at once');
        next.write('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      }
      for (const client of clients.slice(1)) assert.equal((await client.readMessage()).status, 200);
    }));

  test('is not waited for again for a while', () =>
    sharing(async (proxy) => {
      const mine = OK.replace('\r\n\r\n', '\r\nCache-Control: private\r\nConnection: close\r\n\r\n');
      const { clients, backend } = await crowd(proxy, 2);
      backend.write(mine);
      const second = await proxy.backend.connection();
      await second.readHead();
      second.write(mine);
      for (const client of clients) await client.readMessage();
      for (const client of clients) client.write(GET);
      for (let i = 0; i < 2; i++) {
        const each = await proxy.backend.connection();
        await each.readHead();
        each.write(mine);
      }
      for (const client of clients) await client.readMessage();
      proxy.passTime(10_001);
      const later = await crowd(proxy, 2);
      later.backend.write(OK);
      for (const client of later.clients) assert.equal((await client.readMessage()).body, 'hello');
      assert.equal(proxy.backend.accepted.length, 5);
    }));

  test('that varies by a field goes to those who agree in it; the others wait together', () =>
    sharing(async (proxy) => {
      const speaks = (language: string) =>
        GET.replace('\r\n\r\n', `\r\nAccept-Language: ${language}\r\n\r\n`);
      const { clients, backend } = await crowd(proxy, 2, speaks('en'));
      const others = [await proxy.client(), await proxy.client()];
      for (const other of others) other.write(speaks('fr'));
      await proxy.settled(() => proxy.decisions === 4, 'all to be decided');
      const answer = (text: string) =>
        `HTTP/1.1 200 OK\r\nVary: Accept-Language\r\nContent-Length: 5\r\n\r\n${text}`;
      backend.write(answer('hello'));
      for (const client of clients) assert.equal((await client.readMessage()).body, 'hello');
      const second = await proxy.backend.connection();
      assert.match(await second.readHead(), /Accept-Language: fr/);
      second.write(answer('salut'));
      for (const other of others) assert.equal((await other.readMessage()).body, 'salut');
      assert.equal(proxy.backend.accepted.length, 2);
    }));
});

describe('while several wait', () => {
  test('the first one leaving hands over: the request at the backend goes on', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 3);
      clients[0]!.reset();
      assert.equal((await proxy.record()).cause, 'client_gone');
      backend.write(OK);
      for (const client of clients.slice(1)) assert.equal((await client.readMessage()).body, 'hello');
      assert.equal(proxy.backend.accepted.length, 1);
    }));

  test('the first one leaving leaves its request, to be sent again and to be told apart by', () =>
    sharing(async (proxy) => {
      const asked = GET.replace('\r\n\r\n', '\r\nAccept-Language: en\r\nX-Long: yes\r\n\r\n');
      const { clients, backend } = await crowd(proxy, 3, asked);
      clients[0]!.reset();
      await proxy.record();
      backend.reset();
      const again = await proxy.backend.connection();
      const head = await again.readHead();
      assert.match(
        head,
        /^GET \/page HTTP\/1\.1\r\nHost: example\.com\r\nAccept-Language: en\r\nX-Long: yes\r\n/,
      );
      again.write(OK.replace('\r\n\r\n', '\r\nVary: Accept-Language\r\n\r\n'));
      for (const client of clients.slice(1)) assert.equal((await client.readMessage()).body, 'hello');
      assert.equal(proxy.backend.accepted.length, 2);
    }));

  test('the last one leaving frees the backend', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 3);
      for (const client of clients) client.reset();
      await backend.until(() => backend.ended !== null, 'the end of the request');
      await proxy.record(3);
    }));

  test('a private answer is not given to a heir of the one who left', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 2);
      clients[0]!.reset();
      await proxy.record();
      backend.write(OK.replace('\r\n\r\n', '\r\nCache-Control: private\r\n\r\n'));
      const second = await proxy.backend.connection();
      await second.readHead();
      second.write(OK.replace('hello', 'yours'));
      assert.equal((await clients[1]!.readMessage()).body, 'yours');
    }));

  test('a slow reader holds back nobody', () =>
    sharing(async (proxy) => {
      const body = 'x'.repeat(1_000_000);
      const { clients, backend } = await crowd(proxy, 3);
      clients[0]!.socket.pause();
      clients[1]!.socket.pause();
      backend.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      assert.equal((await clients[2]!.readMessage()).body, body);
      for (const slow of clients.slice(0, 2)) {
        slow.socket.resume();
        assert.equal((await slow.readMessage()).body, body);
      }
    }));

  test('an answer without a length comes to the first as it comes, to the others when it is complete', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 3);
      backend.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n');
      await clients[0]!.readUntil('hel');
      assert.equal(clients[1]!.rest, '');
      backend.write('2\r\nlo\r\n0\r\n\r\n');
      await clients[0]!.readUntil('0\r\n\r\n');
      for (const client of clients.slice(1)) {
        const answer = await client.readMessage();
        assert.equal(answer.fields.get('content-length'), '5');
        assert.equal(answer.body, 'hello');
      }
    }));

  test('an answer without a length that grows too long stays with the first; the others ask for themselves', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 2);
      const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
      backend.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      for (let i = 0; i < 17; i++) backend.write(chunk);
      const second = await proxy.backend.connection();
      await second.readHead();
      second.write(OK);
      assert.equal((await clients[1]!.readMessage()).body, 'hello');
      for (let i = 0; i < 17; i++) backend.write(chunk);
      backend.write('0\r\n\r\n');
      assert.equal(dechunk((await clients[0]!.readMessage()).body).length, 34 * 65_536);
    }));

  test('the first one holds the backend back, when it alone is left with an answer that is too long', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 2);
      clients[0]!.socket.pause();
      backend.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      const chunk = `100000\r\n${'x'.repeat(1_048_576)}\r\n`;
      backend.write(chunk.repeat(24));
      const second = await proxy.backend.connection();
      await second.readHead();
      second.write(OK);
      assert.equal((await clients[1]!.readMessage()).body, 'hello');
      // Until nothing moves any more.
      let left = -1;
      for (let still = 0; still < 300; still++) {
        if (backend.socket.writableLength !== left) still = 0;
        left = backend.socket.writableLength;
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.ok(left > 0, 'the backend is held back');
      assert.ok(proxy.answers.underWay <= 1_048_576);
      clients[0]!.socket.resume();
      backend.write('0\r\n\r\n');
      await clients[0]!.readBytes(24 * 1_048_576);
      await clients[0]!.readUntil('\r\n0\r\n\r\n');
    }));

  test('a backend that breaks before its head is an error for all', () =>
    sharing(
      async (proxy) => {
        const { clients, backend } = await crowd(proxy, 5);
        backend.reset();
        for (const client of clients) assert.equal((await client.readMessage()).status, 502);
        assert.equal(proxy.backend.accepted.length, 1);
      },
      { service: { retries: { max: 0 } } },
    ));

  test('a backend that breaks in the middle cuts all who have begun', () =>
    sharing(async (proxy) => {
      const { clients, backend } = await crowd(proxy, 3);
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello');
      for (const client of clients) await client.readUntil('hello');
      backend.reset();
      for (const client of clients) {
        await client.readToEnd();
        assert.notEqual(client.ended, null);
      }
      await proxy.record(3);
      for (const record of proxy.records) assert.equal(record.cause, 'backend_cut');
    }));

  test('a backend that says nothing in time is an error for all', () =>
    sharing(async (proxy) => {
      const { clients } = await crowd(proxy, 3);
      proxy.passTime(61_000);
      for (const client of clients) assert.equal((await client.readMessage()).status, 504);
    }));

  test('a retry is one retry for all', () =>
    sharing(
      async (proxy) => {
        const { clients, backend } = await crowd(proxy, 3);
        backend.reset();
        const second = await proxy.backends[1]!.connection();
        await second.readHead();
        second.write(OK);
        for (const client of clients) assert.equal((await client.readMessage()).body, 'hello');
      },
      { backends: 2, service: { balance: 'first-alive' } },
    ));
});

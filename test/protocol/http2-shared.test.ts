/** Answers for several visitors, over HTTP/2: the streams of one connection share, and a slow stream holds back nobody. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GET, withHttp2 } from './http2-wire.ts';

describe('HTTP/2: answers for several', () => {
  it('identical requests on the streams of one connection reach the backend once', () =>
    withHttp2({ service: { coalesce: {} } }, async ({ connect, request, proxy }) => {
      const client = await connect();
      for (let id = 1; id < 100; id += 2) client.headers(id, GET);
      const { wire } = await request();
      await proxy.settled(() => proxy.decisions === 50, 'all to be decided');
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello');
      for (let id = 1; id < 100; id += 2) {
        const answer = await client.answer(id);
        assert.equal(answer.body, 'hello');
        assert.equal(
          answer.fields.get('cache-status'),
          id === 1 ? undefined : 'kontrol; fwd=miss; collapsed',
        );
      }
      assert.equal(proxy.backend.accepted.length, 1);
      assert.equal(proxy.answers.underWay, 0);
    }));

  it('a stored answer is given to streams, with its age, and to HEAD without its body', () =>
    withHttp2({ service: { cache: { ttl: '1h' } } }, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, GET);
      const { wire } = await request();
      const body = 'x'.repeat(50_000);
      wire.write(
        `HTTP/1.1 200 OK\r\nETag: "a"\r\nTransfer-Encoding: chunked\r\n\r\nc350\r\n${body}\r\n0\r\n\r\n`,
      );
      assert.equal((await client.answer(1)).body.length, 50_000);
      proxy.passTime(3_000);
      client.headers(3, GET);
      // The window of the connection is used up by the first two answers.
      client.windowUpdate(0, 1_000_000);
      const kept = await client.answer(3);
      assert.equal(kept.body, body);
      assert.match(kept.fields.get('age') ?? '', /^[34]$/);
      assert.equal(kept.fields.get('content-length'), '50000');
      client.headers(5, [[':method', 'HEAD'], ...GET.slice(1)]);
      const head = await client.answer(5);
      assert.equal(head.body, '');
      assert.equal(head.fields.get('content-length'), '50000');
      client.headers(7, [...GET, ['if-none-match', '"a"']]);
      assert.equal((await client.answer(7)).status, 304);
      assert.deepEqual(
        proxy.records.map(({ cache }) => cache),
        ['miss', 'hit', 'hit', 'hit'],
      );
    }));

  it('a stream without a window takes nothing; others get the same answer meanwhile', () =>
    withHttp2({ service: { cache: { ttl: '1h' } } }, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, GET);
      const { wire } = await request();
      const body = 'x'.repeat(200_000);
      wire.write(`HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n${body}`);
      const other = await connect();
      other.windowUpdate(0, 1_000_000);
      other.headers(1, GET);
      other.windowUpdate(1, 1_000_000);
      assert.equal((await other.answer(1)).body, body);
      client.windowUpdate(0, 1_000_000);
      client.windowUpdate(1, 1_000_000);
      assert.equal((await client.answer(1)).body, body);
    }));
});

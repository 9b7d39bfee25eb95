import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as h2 from '../../proxy/http2/protocol.ts';
import { STREAM_WINDOW } from '../../proxy/http2/stream.ts';
import { block, type Fields, frame, GET, type H2Client, POST, settings, withHttp2 } from './http2-wire.ts';

const HEADERS = h2.END_HEADERS | h2.END_STREAM;
const MALFORMED: Fields = [...POST, ['connection', 'x']];
/** Answered by the proxy itself, at once. */
const SHORT: Fields = [[':method', 'OPTIONS'], ...GET.slice(1), ['max-forwards', '0']];

/** A client whose first stream was reset by the proxy, and then so many others ended that it is forgotten. */
async function forgotten(client: H2Client): Promise<void> {
  client.headers(1, MALFORMED, 0);
  assert.equal(await client.resetOf(1), h2.PROTOCOL_ERROR);
  for (let id = 3; id < 3 + 2 * 300; id += 100) {
    for (let i = 0; i < 100; i += 2) client.headers(id + i, SHORT);
    for (let i = 0; i < 100; i += 2) assert.equal((await client.answer(id + i)).reset, null);
  }
  await client.ping();
}

describe('HTTP/2: frames that were on their way when their stream ended', () => {
  it('DATA and trailers of a stream that was reset long ago are ignored', () =>
    withHttp2({}, async ({ connect }) => {
      const client = await connect();
      await forgotten(client);
      client.data(1, 'abc');
      client.write(frame(h2.HEADERS, HEADERS, 1, block([['x-t', 'late']])));
      client.headers(1001, SHORT);
      assert.equal((await client.answer(1001)).reset, null);
    }));

  it('no more than the windows of streams that were reset allowed', () =>
    withHttp2({}, async ({ connect }) => {
      const client = await connect();
      client.headers(1, MALFORMED, 0);
      await client.resetOf(1);
      const piece = Buffer.alloc(h2.FRAME_SIZE);
      for (let sent = 0; sent < STREAM_WINDOW; sent += piece.length) client.data(1, piece);
      await client.ping();
      client.data(1, 'x');
      assert.equal(await client.goneWith(), h2.STREAM_CLOSED);
    }));

  it('trailers of one stream again and again end the connection', () =>
    withHttp2({}, async ({ connect }) => {
      const client = await connect();
      client.headers(1, MALFORMED, 0);
      await client.resetOf(1);
      const trailers = frame(h2.HEADERS, HEADERS, 1, block([['x-t', 'late']]));
      client.write(...Array.from({ length: 2_000 }, () => trailers));
      assert.equal(await client.goneWith(), h2.ENHANCE_YOUR_CALM);
    }));
});

describe('HTTP/2: the deadline of a head', () => {
  it('begins anew with each head, also when the one before ended in the same read', () =>
    withHttp2({}, async ({ connect, proxy }) => {
      const client = await connect();
      await client.ping();
      const [first, second] = [3, 5].map((id) => frame(h2.HEADERS, HEADERS, id, block(SHORT)));
      client.write(frame(h2.HEADERS, HEADERS, 1, block(SHORT)), first!.subarray(0, 20));
      await client.answer(1);
      proxy.passTime(15_000);
      client.write(first!.subarray(20), second!.subarray(0, 20));
      await client.answer(3);
      proxy.passTime(15_000);
      client.write(second!.subarray(20));
      await client.answer(5);
    }));

  it('is of the whole head, however many frames it comes in while other requests are served', () =>
    withHttp2({}, async ({ connect, proxy, request }) => {
      const client = await connect('raw');
      const opening = [h2.PREFACE, settings(), frame(h2.HEADERS, HEADERS, 1, block(GET))];
      client.write(...opening, frame(h2.HEADERS, h2.END_STREAM, 3, block(GET)));
      await request();
      for (let passed = 0; passed < 20_000; passed += 4_000) {
        client.write(frame(h2.CONTINUATION, 0, 3, block([['x-a', 'b']])));
        proxy.passTime(4_001);
      }
      assert.equal(await client.goneWith(), h2.NO_ERROR);
      assert.ok(proxy.records.some(({ cause }) => cause === 'head_timeout'));
    }));
});

it('an HTTP/2 connection that is lost with requests under way is counted as gone when their records fail', () =>
  withHttp2({}, async ({ connect, request, proxy, connections }) => {
    proxy.environment.observer.record = () => {
      throw new Error('a defect of ours');
    };
    const client = await connect();
    client.headers(1, GET);
    client.headers(3, GET);
    await request();
    await request();
    client.socket.resetAndDestroy();
    await proxy.settled(() => connections.size === 0, 'the connection to end');
    await proxy.settled(() => proxy.activeRequests() === 0, 'all backends to be free');
    assert.equal(proxy.opened, 0);
    assert.equal(proxy.errors.splice(0).length, 2);
  }));

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as h2 from '../../proxy/http2/protocol.ts';
import { STREAM_WINDOW } from '../../proxy/http2/stream.ts';
import { labels } from './harness.ts';
import { GET, POST, settings, withHttp2 } from './http2-wire.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('HTTP/2: flow control', () => {
  it('an answer keeps within the windows, of the stream and of the connection', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect('raw');
      client.begin([h2.INITIAL_WINDOW_SIZE, 10]);
      client.headers(1, GET);
      const { wire } = await request();
      wire.write(`HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n${'x'.repeat(30)}`);
      assert.equal((await client.frameOf(h2.DATA, 1)).payload.length, 10);
      await client.ping();
      client.windowUpdate(1, 5);
      assert.equal((await client.frameOf(h2.DATA, 1)).payload.length, 5);
      client.write(settings([h2.INITIAL_WINDOW_SIZE, 11]));
      assert.equal((await client.frameOf(h2.DATA, 1)).payload.length, 1);
      client.write(settings([h2.INITIAL_WINDOW_SIZE, 0]));
      client.windowUpdate(1, 11);
      await client.ping();
      client.windowUpdate(1, 100);
      const last = await client.frameOf(h2.DATA, 1);
      assert.equal(last.payload.length, 14);
      assert.equal(last.flags, h2.END_STREAM);
    }));

  it('answers of the proxy itself keep within the windows, too', () =>
    withHttp2(
      {
        decide: () => ({
          type: 'answer',
          status: 200,
          contentType: 'text/plain',
          body: 'abc',
          labels,
          response: null,
        }),
      },
      async ({ connect }) => {
        const client = await connect('raw');
        client.begin([h2.INITIAL_WINDOW_SIZE, 0]);
        client.headers(1, GET);
        await client.frameOf(h2.HEADERS, 1);
        client.write(settings([h2.INITIAL_WINDOW_SIZE, 1]));
        assert.equal((await client.frameOf(h2.DATA, 1)).payload.toString(), 'a');
        client.windowUpdate(1, 5);
        const rest = await client.frameOf(h2.DATA, 1);
        assert.equal(rest.payload.toString(), 'bc');
        assert.equal(rest.flags, h2.END_STREAM);
        await client.ping();
      },
    ));

  it('a slow reader holds back its backend, and others go on', () =>
    withHttp2({}, async ({ connect, request, connections }) => {
      const client = await connect('raw');
      client.begin([h2.INITIAL_WINDOW_SIZE, 1_000]);
      client.windowUpdate(0, 100_000_000);
      client.headers(1, GET);
      const slow = await request();
      const size = 8 * 1_048_576;
      slow.wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      slow.wire.write(Buffer.alloc(size, 'x'));
      await client.frameOf(h2.DATA, 1);
      client.headers(3, GET);
      const fast = await request();
      fast.wire.write(OK);
      assert.equal((await client.answer(3)).body, 'ok');
      for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(slow.wire.socket.writableLength > 0, 'the proxy took the whole answer');
      for (const connection of connections)
        assert.ok(connection.sender.queued <= 262_144, String(connection.sender.queued));
      client.windowUpdate(1, size);
      const answer = await client.answer(1);
      assert.equal(answer.body.length + 1_000, size);
    }));

  it('large answers share the connection frame by frame', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect('raw');
      client.begin([h2.INITIAL_WINDOW_SIZE, 1_000_000]);
      const size = 100_000;
      for (const id of [1, 3]) client.headers(id, GET);
      const wires = [await request(), await request()];
      for (const { wire } of wires) {
        wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`);
      }
      // The window of the connection is used up; nothing more may come.
      let taken = 0;
      while (taken < h2.DEFAULT_WINDOW) taken += (await client.frameOf(h2.DATA)).payload.length;
      assert.equal(taken, h2.DEFAULT_WINDOW);
      await client.ping();
      assert.equal(client.frames().length, 0);
      client.windowUpdate(0, 1_000_000);
      const ids: number[] = [];
      while (taken < 2 * size) {
        const data = await client.frameOf(h2.DATA);
        taken += data.payload.length;
        ids.push(data.id);
      }
      assert.ok(new Set(ids.slice(0, 4)).size === 2, `one stream went first: ${ids}`);
    }));

  it('a backend that takes nothing holds its client back, until it takes more', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, POST, 0);
      const { wire } = await request();
      wire.socket.pause();
      const piece = 'x'.repeat(16_384);
      let sent = 0;
      const open = () => {
        const granted = (id: number) => client.granted.get(id) ?? 0;
        return Math.min(STREAM_WINDOW + granted(1), h2.DEFAULT_WINDOW + granted(0)) - sent;
      };
      // The kernel takes some megabytes for the backend; then no window opens any more.
      for (let quiet = 0; quiet < 20; quiet++) {
        for (; open() >= piece.length; sent += piece.length) {
          client.data(1, piece);
          quiet = 0;
        }
        await client.ping();
      }
      const held = sent;
      wire.socket.resume();
      for (let i = 0; i < 20; i++) {
        await client.settled(() => open() >= piece.length, 'an open window');
        client.data(1, piece);
        sent += piece.length;
      }
      client.data(1, '', h2.END_STREAM);
      await wire.until(() => wire.received.endsWith('0\r\n\r\n'), 'the whole body');
      assert.ok(wire.received.length > held + 20 * piece.length);
      wire.write(OK);
      assert.equal((await client.answer(1)).status, 200);
    }));

  it('a client that sends more than it may loses its stream', () =>
    withHttp2({ limits: { body: 1 } }, async ({ connect }) => {
      const client = await connect('raw');
      // The answer cannot leave, so that the stream stays open, and nothing of its body is taken.
      client.begin([h2.INITIAL_WINDOW_SIZE, 0]);
      client.headers(1, [...POST, ['content-length', '1000000']], 0);
      for (let i = 0; i < 17; i++) client.data(1, 'x'.repeat(16_384));
      assert.equal(await client.resetOf(1), h2.FLOW_CONTROL_ERROR);
      await client.ping();
    }));

  it('bodies that no backend has taken keep the window of the connection shut, and it bounds them all', () =>
    withHttp2({ service: { pool: { max: 1 } } }, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, POST, 0);
      await request();
      // They wait for the one connection that the backend may have.
      for (const id of [3, 5, 7, 9, 11]) client.headers(id, POST, 0);
      await proxy.settled(() => proxy.decisions === 6, 'all requests');
      const piece = 'x'.repeat(16_384);
      for (const id of [3, 5, 7, 9])
        for (let sent = 0; sent < STREAM_WINDOW; sent += piece.length) client.data(id, piece);
      await client.ping();
      assert.equal(client.granted.get(0), 1_048_576 - h2.DEFAULT_WINDOW, 'what waits opens no window');
      client.data(11, piece);
      assert.equal(await client.goneWith(), h2.FLOW_CONTROL_ERROR);
    }));

  it('bodies of streams that are over count for the window of the connection, which opens again', () =>
    withHttp2({ limits: { body: 1 } }, async ({ connect }) => {
      const client = await connect();
      for (const id of [1, 3, 5, 7]) {
        client.headers(id, [...POST, ['content-length', '100000000']], 0);
        assert.equal((await client.answer(id)).status, 413);
        for (let i = 0; i < 15; i++) client.data(id, 'x'.repeat(16_384));
      }
      await client.ping();
      assert.ok((client.granted.get(0) ?? 0) >= 40 * 16_384);
    }));
});

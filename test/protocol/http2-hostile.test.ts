import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import * as h2 from '../../proxy/http2/protocol.ts';
import {
  block,
  type Fields,
  frame,
  GET,
  type H2Proxy,
  POST,
  settings,
  withHttp2,
  word,
} from './http2-wire.ts';

const id = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(0, 1, 3, 5, 7, 9) },
  { weight: 1, arbitrary: fc.nat() },
);
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const fields: fc.Arbitrary<Fields> = fc.constantFrom<Fields>(
  GET,
  POST,
  [...POST, ['content-length', '3']],
  [...GET, ['expect', '100-continue']],
  [...GET, ['X', 'y']],
  [['x-t', 'v']],
);
const flags = fc.integer({ min: 0, max: 255 });

const anyFrame: fc.Arbitrary<Buffer> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.constantFrom(4, 5, 5), id, fields)
      .map(([flag, on, all]) => frame(h2.HEADERS, flag, on, block(all))),
  },
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.constantFrom(0, 1, 1, 8), id, bytes(50))
      .map(([flag, on, data]) => frame(h2.DATA, flag, on, data)),
  },
  { weight: 3, arbitrary: id.map((on) => frame(h2.RST_STREAM, 0, on, word(8))) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(id, fc.constantFrom(0, 1, 100, 70_000, 2 ** 31 - 1))
      .map(([on, more]) => frame(h2.WINDOW_UPDATE, 0, on, word(more))),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom(0, 1, 100, 65_535, 2 ** 31 - 1)
      .map((size) => settings([h2.INITIAL_WINDOW_SIZE, size])),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(0, 100, 4_096, 2 ** 32 - 1)
      .map((size) => settings([h2.HEADER_TABLE_SIZE, size])),
  },
  { weight: 1, arbitrary: fc.constant(frame(h2.PING, 0, 0, '12345678')) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(12), flags, id, bytes(30))
      .map(([type, flag, on, data]) => frame(type, flag, on, data)),
  },
  { weight: 1, arbitrary: bytes(30) },
);

const script = fc.record({
  frames: fc.array(anyFrame, { maxLength: 40 }),
  /** Where the bytes are cut in two, as a part of their number. */
  cut: fc.double({ min: 0, max: 1, noNaN: true }),
  ending: fc.constantFrom<'end' | 'destroy' | 'resetAndDestroy'>('end', 'destroy', 'resetAndDestroy'),
});

/** A backend that answers whatever it is asked, in one of several ways, some of them wrong. */
function answerAll({ backend }: H2Proxy): void {
  let turn = 0;
  backend.server.on('connection', (socket) => {
    socket.on('data', (chunk: Buffer) => {
      if (!/HTTP\/1\.1\r\n/.test(chunk.toString('latin1'))) return;
      switch (turn++ % 6) {
        case 0:
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello');
          return;
        case 1:
          socket.write(
            'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: v\r\n\r\n',
          );
          return;
        case 2:
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello');
          socket.destroy();
          return;
        case 3:
          socket.end(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(100_000)}`);
          return;
        case 4:
          socket.write('nonsense\r\n\r\n');
          return;
        default:
          socket.destroy();
      }
    });
  });
}

describe('HTTP/2: whatever a client sends', () => {
  it('ends without an exception of ours, and leaves nothing behind', () =>
    withHttp2({ service: { retries: { max: 0 } } }, async (it) => {
      answerAll(it);
      const run = async ({
        frames,
        cut,
        ending,
      }: {
        frames: Buffer[];
        cut: number;
        ending: 'end' | 'destroy' | 'resetAndDestroy';
      }) => {
        const client = await it.connect();
        const all = Buffer.concat(frames);
        const at = Math.floor(cut * all.length);
        client.write(all.subarray(0, at));
        await new Promise((resolve) => setImmediate(resolve));
        client.write(all.subarray(at));
        await new Promise((resolve) => setImmediate(resolve));
        client.socket[ending]();
        await it.proxy.settled(() => it.connections.size === 0, 'the connection to end');
        await it.proxy.settled(() => it.proxy.activeRequests() === 0, 'all backends to be free');
        assert.deepEqual(it.proxy.errors, []);
        assert.equal(it.proxy.opened, 0);
      };
      await fc.assert(fc.asyncProperty(script, run), { numRuns: 300 });
      // Each request that was decided is recorded once; what was refused before that may come on top.
      const decided = it.proxy.records.filter((record) => record.phase !== 'head').length;
      assert.equal(decided, it.proxy.decisions);
    }));

  it('the rest of a frame for a stream that is over reaches no other connection', () =>
    withHttp2({}, async ({ connect, request }) => {
      const early = await connect();
      early.headers(1, POST, 0);
      const first = await request();
      const data = frame(h2.DATA, 0, 1, 'GOOD!and an evil end');
      early.write(data.subarray(0, 9 + 5));
      await first.wire.until(() => first.wire.received.includes('GOOD!'), 'the first part');
      first.wire.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      await early.resetOf(1);
      const other = await connect();
      other.headers(1, POST, 0);
      const second = await request();
      early.write(data.subarray(9 + 5));
      await early.ping();
      other.data(1, 'mine', h2.END_STREAM);
      await second.wire.until(() => second.wire.received.endsWith('0\r\n\r\n'), 'the whole body');
      assert.ok(!second.wire.received.includes('evil'), second.wire.received);
      second.wire.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.equal((await other.answer(1)).body, 'ok');
    }));
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as h2 from '../../proxy/http2/protocol.ts';
import { STREAM_WINDOW } from '../../proxy/http2/stream.ts';
import { block, frame, GET, type H2Client, POST, settings, withHttp2, word } from './http2-wire.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const PING = frame(h2.PING, 0, 0, '12345678');
const RESET = (id: number) => frame(h2.RST_STREAM, 0, id, word(8));

function times(count: number, make: (index: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
}

describe('HTTP/2: limits', () => {
  it('says what it takes, and opens the window of the connection', () =>
    withHttp2({ limits: { h2Streams: 7, headSize: 5_000 } }, async ({ connect }) => {
      const client = await connect('raw');
      const { payload } = await client.frameOf(h2.SETTINGS);
      const said = new Map<number, number>();
      for (let at = 0; at < payload.length; at += 6)
        said.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
      assert.equal(said.get(h2.MAX_CONCURRENT_STREAMS), 7);
      assert.equal(said.get(h2.MAX_HEADER_LIST_SIZE), 5_000);
      assert.equal(said.get(h2.INITIAL_WINDOW_SIZE), STREAM_WINDOW);
      assert.equal(said.has(8), false, 'WebSockets over HTTP/2 are not offered');
      assert.equal((await client.frameOf(h2.WINDOW_UPDATE)).id, 0);
    }));

  it('streams beyond the limit are refused and may be tried again; one that ends makes room', () =>
    withHttp2({ limits: { h2Streams: 2 } }, async ({ connect, request, proxy }) => {
      const client = await connect();
      for (const id of [1, 3, 5]) client.headers(id, GET);
      assert.equal(await client.resetOf(5), h2.REFUSED_STREAM);
      assert.equal(proxy.decisions, 2);
      (await request()).wire.write(OK);
      await request();
      await client.next((one) => one.type === h2.DATA, 'an answer');
      client.headers(7, GET);
      await proxy.settled(() => proxy.decisions === 3, 'the next request');
    }));

  const FLOODS: Readonly<Record<string, (client: H2Client) => void>> = {
    'streams that are opened and reset (CVE-2023-44487)': (client) =>
      client.write(
        times(400, (i) =>
          Buffer.concat([
            frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 2 * i + 1, block(GET)),
            RESET(2 * i + 1),
          ]),
        ),
      ),
    'streams that are made to be reset by us': (client) =>
      client.write(
        times(400, (i) =>
          frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 2 * i + 1, block([...GET, ['X', 'y']])),
        ),
      ),
    'streams that are opened and given a window of 0': (client) =>
      client.write(
        times(400, (i) =>
          Buffer.concat([
            frame(h2.HEADERS, h2.END_HEADERS, 2 * i + 1, block(POST)),
            frame(h2.WINDOW_UPDATE, 0, 2 * i + 1, word(0)),
          ]),
        ),
      ),
    'streams beyond the limit': (client) =>
      client.write(
        times(600, (i) => frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 2 * i + 1, block(GET))),
      ),
    PINGs: (client) => client.write(times(5_000, () => PING)),
    SETTINGS: (client) => client.write(times(500, () => settings([h2.INITIAL_WINDOW_SIZE, 1]))),
    'empty DATA': (client) => {
      client.headers(1, POST, 0);
      client.write(times(5_000, () => frame(h2.DATA, 0, 1)));
    },
    PRIORITY: (client) => client.write(times(5_000, () => frame(h2.PRIORITY, 0, 1, '\0\0\0\x03\0'))),
    'window updates': (client) => client.write(times(5_000, () => frame(h2.WINDOW_UPDATE, 0, 0, word(1)))),
    'unknown frames': (client) => client.write(times(5_000, () => frame(99, 0, 0))),
    'CONTINUATION without end': (client) =>
      client.write(
        frame(h2.HEADERS, 0, 1, block(GET)),
        times(100, () => frame(h2.CONTINUATION, 0, 1)),
      ),
    'a field block larger than can be kept': (client) => {
      const bytes = block([...GET, ['x-a', 'b'.repeat(60_000)]]);
      client.write(frame(h2.HEADERS, h2.END_STREAM, 1, bytes.subarray(0, 16_384)));
      for (let at = 16_384; at < bytes.length; at += 16_384) {
        client.write(frame(h2.CONTINUATION, 0, 1, bytes.subarray(at, at + 16_384)));
      }
    },
  };
  for (const [name, send] of Object.entries(FLOODS)) {
    it(`a flood of ${name} ends the connection`, () =>
      withHttp2({}, async (it) => {
        const client = await it.connect();
        send(client);
        assert.equal(await client.goneWith(), h2.ENHANCE_YOUR_CALM);
        await it.proxy.settled(() => it.proxy.activeRequests() === 0, 'all backends to be free');
      }));
  }

  it('a client that leaves a page is no flood: as many resets as streams, again and again', () =>
    withHttp2({}, async ({ connect, proxy }) => {
      const client = await connect();
      const burst = (first: number) =>
        client.write(
          times(60, (i) => frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, first + 2 * i, block(GET))),
        );
      for (let page = 0; page < 5; page++) {
        burst(page * 120 + 1);
        await client.ping();
        client.write(times(60, (i) => RESET(page * 120 + 1 + 2 * i)));
        await client.ping();
        proxy.passTime(3_000);
      }
      assert.equal(proxy.decisions, 300);
    }));

  it('a small block that decodes to a large head is refused, and costs no memory (HPACK bomb)', () =>
    withHttp2({}, async ({ connect, proxy }) => {
      const client = await connect();
      const entry = Buffer.concat([
        Buffer.from('\x40\x03x-a\x7f\x81\x1e', 'latin1'),
        Buffer.alloc(127 + 1 + 30 * 128, 'b'),
      ]);
      const bomb = Buffer.concat([block(GET), entry, Buffer.alloc(12_000, 0xbe)]);
      client.write(frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, bomb));
      assert.equal((await client.answer(1)).status, 431);
      assert.equal(proxy.decisions, 0);
    }));

  it('a client that reads nothing cannot make us keep its answers to PING', () =>
    withHttp2({}, async ({ connect, connections, proxy }) => {
      const client = await connect();
      await client.ping();
      client.socket.pause();
      // Far more than the kernel takes; patience ends before that, and so does the connection.
      for (let i = 0; i < 100 && connections.size > 0; i++) {
        client.write(times(1_000, () => PING));
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.socket.resume();
      await proxy.settled(() => connections.size === 0, 'the connection to end');
    }));
});

describe('HTTP/2: deadlines', () => {
  it('a client that says nothing, or not enough', () =>
    withHttp2({}, async ({ connect, proxy }) => {
      const silent = await connect('raw');
      const half = await connect('raw');
      half.write(h2.PREFACE.subarray(0, 10));
      await half.frameOf(h2.SETTINGS);
      await proxy.settled(() => proxy.opened === 2, 'both connections');
      proxy.passTime(21_000);
      await silent.end();
      await half.end();
    }));

  it('a connection without requests, whatever else it says', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, GET);
      (await request()).wire.write(OK);
      await client.answer(1);
      proxy.passTime(50_000);
      await client.ping();
      proxy.passTime(16_000);
      assert.equal(await client.goneWith(), h2.NO_ERROR);
    }));

  it('a field block that is not completed, in frames or in bytes', () =>
    withHttp2({}, async ({ connect, proxy }) => {
      const frames = await connect();
      frames.write(frame(h2.HEADERS, h2.END_STREAM, 1, block(GET)));
      await frames.frameOf(h2.SETTINGS);
      const bytes = await connect();
      bytes.write(frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, block(GET)).subarray(0, 20));
      await bytes.frameOf(h2.SETTINGS);
      await bytes.next((one) => one.type === h2.SETTINGS && one.flags === h2.ACK, 'the acknowledgement');
      await frames.next((one) => one.type === h2.SETTINGS && one.flags === h2.ACK, 'the acknowledgement');
      proxy.passTime(10_000);
      // More of it does not move the deadline.
      frames.write(frame(h2.CONTINUATION, 0, 1, ''));
      proxy.passTime(11_000);
      assert.equal(await frames.goneWith(), h2.NO_ERROR);
      assert.equal(await bytes.goneWith(), h2.NO_ERROR);
      assert.equal((await proxy.record(2)).cause, 'head_timeout');
    }));

  it('a body that does not come: 408, and the connection lives', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, POST, 0);
      await request();
      proxy.passTime(31_000);
      assert.equal((await client.answer(1)).status, 408);
      assert.equal((await proxy.record()).cause, 'body_timeout');
      await client.ping();
    }));

  it('a body that does not come within the shorter time of its domain', () =>
    withHttp2(
      { decide: (_, forward) => ({ ...forward, limits: { bodyIdleMs: 1_000 } }) },
      async ({ connect, request, proxy }) => {
        const client = await connect();
        client.headers(1, POST, 0);
        await request();
        proxy.passTime(1_200);
        assert.equal((await client.answer(1)).status, 408);
      },
    ));

  it('an answer that is complete here and that the client does not take', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect('raw');
      client.begin([h2.INITIAL_WINDOW_SIZE, 1]);
      client.headers(1, GET);
      (await request()).wire.write(OK);
      await client.frameOf(h2.DATA);
      await proxy.record();
      proxy.passTime(61_000);
      assert.equal(await client.resetOf(1), h2.ENHANCE_YOUR_CALM);
    }));

  it('a backend that stops: 504 before its head, a reset behind it', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, GET);
      await request();
      proxy.passTime(61_000);
      assert.equal((await client.answer(1)).status, 504);
      client.headers(3, GET);
      const { wire } = await request();
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc');
      await client.frameOf(h2.DATA, 3);
      proxy.passTime(61_000);
      assert.equal(await client.resetOf(3), h2.INTERNAL_ERROR);
    }));
});

describe('HTTP/2: endings', () => {
  it('drains: says so, serves what is on its way, finishes, and ends', () =>
    withHttp2({}, async ({ connect, request, connections }) => {
      const client = await connect();
      client.headers(1, GET);
      const first = await request();
      for (const connection of connections) connection.drain();
      const warning = await client.frameOf(h2.GOAWAY);
      assert.equal(warning.payload.readUInt32BE(0), 0x7fffffff);
      // Sent before the warning was heard.
      client.headers(3, GET);
      const { payload } = await client.frameOf(h2.PING);
      client.write(frame(h2.PING, h2.ACK, 0, payload));
      const second = await request();
      const last = await client.frameOf(h2.GOAWAY);
      assert.equal(last.payload.readUInt32BE(0), 3);
      client.headers(5, GET);
      first.wire.write(OK);
      assert.equal((await client.answer(1)).status, 200);
      second.wire.write(OK);
      assert.equal((await client.answer(3)).status, 200);
      await client.end();
      assert.equal(client.frames().length, 0);
    }));

  it('drains: what was on its way is served although the last answer ended first', () =>
    withHttp2({}, async ({ connect, request, connections }) => {
      const client = await connect();
      client.headers(1, GET);
      const first = await request();
      for (const connection of connections) connection.drain();
      const { payload } = await client.frameOf(h2.PING);
      first.wire.write(OK);
      assert.equal((await client.answer(1)).status, 200);
      // Both sent before the warning was heard.
      client.headers(3, GET);
      client.write(frame(h2.PING, h2.ACK, 0, payload));
      await first.wire.readHead();
      first.wire.write(OK);
      assert.equal((await client.answer(3)).status, 200);
      await client.end();
    }));

  it('drains: whatever belongs to a stream that is not served any more harms no other', () =>
    withHttp2({}, async ({ connect, request, connections }) => {
      const client = await connect();
      client.headers(1, GET);
      const { wire } = await request();
      for (const connection of connections) connection.drain();
      const { payload } = await client.frameOf(h2.PING);
      client.write(frame(h2.PING, h2.ACK, 0, payload));
      await client.next((one) => one.type === h2.GOAWAY && one.payload.readUInt32BE(0) === 1, 'the last id');
      client.headers(3, POST, 0);
      client.data(3, 'body', h2.END_STREAM);
      client.windowUpdate(3, 10);
      client.write(RESET(3));
      await client.ping();
      wire.write(OK);
      assert.equal((await client.answer(1)).status, 200);
      await client.end();
    }));

  it('drains: a flood of streams that are not served any more ends the connection', () =>
    withHttp2({}, async ({ connect, request, connections }) => {
      const client = await connect();
      client.headers(1, GET);
      await request();
      for (const connection of connections) connection.drain();
      const { payload } = await client.frameOf(h2.PING);
      client.write(frame(h2.PING, h2.ACK, 0, payload));
      await client.next((one) => one.type === h2.GOAWAY && one.payload.readUInt32BE(0) === 1, 'the last id');
      const flags = h2.END_HEADERS | h2.END_STREAM;
      client.write(times(5_000, (i) => frame(h2.HEADERS, flags, 2 * i + 3, block(GET))));
      assert.equal(await client.goneWith(), h2.ENHANCE_YOUR_CALM);
    }));

  it('drains at once when nothing is under way, also a client that does not answer', () =>
    withHttp2({}, async ({ connect, connections, proxy }) => {
      const clients = [await connect(), await connect()];
      for (const client of clients) await client.ping();
      for (const connection of connections) connection.drain();
      const { payload } = await clients[0]!.frameOf(h2.PING);
      clients[0]!.write(frame(h2.PING, h2.ACK, 0, payload));
      await clients[0]!.end();
      proxy.passTime(1_500);
      await clients[1]!.end();
    }));

  it('a client that ends its side, or is gone, frees everything', () =>
    withHttp2({}, async ({ connect, request, proxy, connections }) => {
      for (const [index, leave] of (['end', 'destroy'] as const).entries()) {
        const client = await connect();
        client.headers(1, GET);
        await request();
        client.socket[leave]();
        assert.equal((await proxy.record(index + 1)).status, 499);
        await proxy.settled(() => proxy.activeRequests() === 0, 'the backend to be free');
        await proxy.settled(() => connections.size === 0, 'the connection to end');
      }
    }));

  it('with limits.halfClose a client that ended its side gets its answers', () =>
    withHttp2({ limits: { halfClose: true } }, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, GET);
      const { wire } = await request();
      client.socket.end();
      await new Promise((resolve) => setImmediate(resolve));
      wire.write(OK);
      assert.equal((await client.answer(1)).body, 'ok');
      await client.end();
    }));

  it('an exception of ours ends the connection, with a line in the log, and nothing else', () =>
    withHttp2({}, async ({ connect, proxy, request }) => {
      const other = await connect();
      other.headers(1, GET);
      const { wire } = await request();
      const client = await connect();
      const { decide } = proxy.environment;
      (proxy.environment as { decide: unknown }).decide = () => {
        throw new Error('on purpose');
      };
      client.headers(1, GET);
      assert.equal(await client.goneWith(), h2.INTERNAL_ERROR);
      (proxy.environment as { decide: unknown }).decide = decide;
      assert.match(String(proxy.errors.shift()?.['error']), /on purpose/);
      wire.write(OK);
      assert.equal((await other.answer(1)).status, 200);
    }));

  it('a table that one SETTINGS makes smaller and larger again is known to be empty', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      const answer = OK.replace('OK\r\n', 'OK\r\nX-Long: the same in each answer\r\n');
      client.headers(1, GET);
      const { wire } = await request();
      for (const id of [1, 3]) {
        if (id > 1) {
          client.headers(id, GET);
          await wire.readHead();
        }
        wire.write(answer);
        assert.equal((await client.answer(id)).status, 200);
      }
      client.write(settings([h2.HEADER_TABLE_SIZE, 0], [h2.HEADER_TABLE_SIZE, 4_096]));
      await client.ping();
      client.headers(5, GET);
      await wire.readHead();
      wire.write(answer);
      const head = await client.frameOf(h2.HEADERS, 5);
      // RFC 7541 §4.2: the smallest size, then the last one.
      assert.equal(head.payload.toString('hex', 0, 4), '203fe11f');
      assert.equal(client.fields(head).get('x-long'), 'the same in each answer');
    }));

  it('after thousands of requests nothing is kept', () =>
    withHttp2({}, async ({ connect, connections, proxy }) => {
      proxy.backend.server.on('connection', (socket) => {
        socket.on('data', (chunk) => {
          for (const _ of chunk.toString('latin1').matchAll(/GET/g)) socket.write(OK);
        });
      });
      for (let round = 0; round < 5; round++) {
        const client = await connect();
        for (let i = 0; i < 400; i += 50) {
          for (let j = 0; j < 50; j++) client.headers(2 * (i + j) + 1, GET);
          await client.answer(2 * (i + 49) + 1);
          await client.ping();
        }
        client.socket.end();
        await proxy.settled(() => connections.size === 0, 'the connection to end');
      }
      assert.equal(proxy.decisions, 2_000);
      assert.equal(proxy.opened, 0);
      assert.equal(proxy.records.filter((record) => record.status !== 200).length, 0);
    }));
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as h2 from '../../proxy/http2/protocol.ts';
import {
  block,
  frame,
  GET,
  type H2Client,
  type H2Proxy,
  POST,
  settings,
  withHttp2,
  word,
} from './http2-wire.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const HEADERS = h2.END_HEADERS | h2.END_STREAM;

interface Rule {
  readonly code: number;
  send(client: H2Client): void;
}

/** What ends the connection with a GOAWAY; each client has sent its preface, and stream 1 is open for its body. */
const FATAL: Readonly<Record<string, Rule>> = {
  'a frame larger than 16 KB': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.DATA, 0, 1, Buffer.alloc(16_385))),
  },
  'DATA on stream 0': { code: h2.PROTOCOL_ERROR, send: (client) => client.data(0, 'x') },
  'DATA on a stream that was not opened': { code: h2.PROTOCOL_ERROR, send: (client) => client.data(3, 'x') },
  'DATA with too much padding': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.DATA, h2.PADDED, 1, '\x05abc')),
  },
  'padded DATA without its length': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.DATA, h2.PADDED, 1)),
  },
  'HEADERS on stream 0': { code: h2.PROTOCOL_ERROR, send: (client) => client.headers(0, GET) },
  'HEADERS on an even stream': { code: h2.PROTOCOL_ERROR, send: (client) => client.headers(2, GET) },
  'a stream with a smaller id': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => {
      client.headers(7, GET);
      client.headers(5, GET);
    },
  },
  'HEADERS with too much padding': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.HEADERS, HEADERS | h2.PADDED, 3, '\x05abc')),
  },
  'HEADERS too short for its priority': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.HEADERS, HEADERS | h2.HAS_PRIORITY, 3, 'abc')),
  },
  'a field block that cannot be decoded': {
    code: h2.COMPRESSION_ERROR,
    send: (client) => client.write(frame(h2.HEADERS, HEADERS, 3, '\xff\xff\xff\xff\xff\xff')),
  },
  'another frame inside a field block': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.HEADERS, 0, 3, block(GET)), frame(h2.PING, 0, 0, '12345678')),
  },
  'an unknown frame inside a field block': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.HEADERS, 0, 3, block(GET)), frame(99, 0, 0)),
  },
  'DATA inside a field block': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.HEADERS, 0, 3, block(GET)), frame(h2.DATA, 0, 1, 'x')),
  },
  'CONTINUATION of another stream': {
    code: h2.PROTOCOL_ERROR,
    send: (client) =>
      client.write(frame(h2.HEADERS, 0, 3), frame(h2.CONTINUATION, h2.END_HEADERS, 1, block(GET))),
  },
  'CONTINUATION of nothing': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.CONTINUATION, h2.END_HEADERS, 1, block(GET))),
  },
  'PRIORITY on stream 0': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.PRIORITY, 0, 0, '\0\0\0\x01\0')),
  },
  'PRIORITY of another size': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.PRIORITY, 0, 1, '\0\0\0\x03')),
  },
  'PRIORITY of a stream on itself': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.PRIORITY, 0, 5, '\0\0\0\x05\0')),
  },
  'RST_STREAM on stream 0': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.RST_STREAM, 0, 0, word(8))),
  },
  'RST_STREAM on a stream that was not opened': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.RST_STREAM, 0, 3, word(8))),
  },
  'RST_STREAM of another size': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.RST_STREAM, 0, 1, 'abc')),
  },
  'SETTINGS on a stream': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.SETTINGS, 0, 1)),
  },
  'SETTINGS of another size': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.SETTINGS, 0, 0, 'abc')),
  },
  'an acknowledgement with settings': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.SETTINGS, h2.ACK, 0, '\0\x01\0\0\0\0')),
  },
  'ENABLE_PUSH of 2': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(settings([h2.ENABLE_PUSH, 2])),
  },
  'a window of 2^31': {
    code: h2.FLOW_CONTROL_ERROR,
    send: (client) => client.write(settings([h2.INITIAL_WINDOW_SIZE, 2 ** 31])),
  },
  'frames of 16 383': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(settings([h2.MAX_FRAME_SIZE, 16_383])),
  },
  'frames of 2^24': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(settings([h2.MAX_FRAME_SIZE, 2 ** 24])),
  },
  'a window that overflows by SETTINGS': {
    code: h2.FLOW_CONTROL_ERROR,
    send: (client) => {
      client.windowUpdate(1, 0x7fffffff - 65_535);
      client.write(settings([h2.INITIAL_WINDOW_SIZE, 65_536]));
    },
  },
  PUSH_PROMISE: {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.PUSH_PROMISE, 4, 1, word(2))),
  },
  'PING on a stream': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.PING, 0, 1, '12345678')),
  },
  'PING of another size': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.PING, 0, 0, '1234567')),
  },
  'GOAWAY on a stream': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.write(frame(h2.GOAWAY, 0, 1, '12345678')),
  },
  'GOAWAY too short': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.GOAWAY, 0, 0, '1234567')),
  },
  'WINDOW_UPDATE of another size': {
    code: h2.FRAME_SIZE_ERROR,
    send: (client) => client.write(frame(h2.WINDOW_UPDATE, 0, 0, 'abc')),
  },
  'WINDOW_UPDATE of 0 for the connection': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.windowUpdate(0, 0),
  },
  'WINDOW_UPDATE on a stream that was not opened': {
    code: h2.PROTOCOL_ERROR,
    send: (client) => client.windowUpdate(3, 1),
  },
  'a window of the connection that overflows': {
    code: h2.FLOW_CONTROL_ERROR,
    send: (client) => client.windowUpdate(0, 0x7fffffff),
  },
};

async function open(it: H2Proxy): Promise<H2Client> {
  const client = await it.connect();
  client.headers(1, POST, 0);
  await it.proxy.settled(() => it.proxy.decisions === 1, 'the request');
  return client;
}

describe('HTTP/2: what ends the connection', () => {
  for (const [name, { code, send }] of Object.entries(FATAL)) {
    it(name, () =>
      withHttp2({}, async (it) => {
        const client = await open(it);
        send(client);
        assert.equal(await client.goneWith(), code);
        // What was under way is over, and recorded once.
        assert.equal((await it.proxy.record()).cause, 'client_gone');
        await it.proxy.settled(() => it.connections.size === 0, 'the connection to end');
      }),
    );
  }

  it('a wrong preface, and a first frame that is not SETTINGS', () =>
    withHttp2({}, async ({ connect, connections, proxy }) => {
      for (const text of ['GET / HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\rx']) {
        const client = await connect('raw');
        client.write(Buffer.from(text));
        assert.equal(await client.goneWith(), h2.PROTOCOL_ERROR);
      }
      for (const first of [frame(h2.PING, 0, 0, '12345678'), frame(h2.SETTINGS, h2.ACK, 0)]) {
        const client = await connect('raw');
        client.write(h2.PREFACE, first);
        assert.equal(await client.goneWith(), h2.PROTOCOL_ERROR);
      }
      await proxy.settled(() => connections.size === 0, 'all connections to end');
    }));
});

const OF_STREAM: Readonly<Record<string, Rule>> = {
  'WINDOW_UPDATE of 0': { code: h2.PROTOCOL_ERROR, send: (client) => client.windowUpdate(1, 0) },
  'a window that overflows': {
    code: h2.FLOW_CONTROL_ERROR,
    send: (client) => client.windowUpdate(1, 0x7fffffff),
  },
};

describe('HTTP/2: what ends the stream alone', () => {
  for (const [name, { code, send }] of Object.entries(OF_STREAM)) {
    it(name, () =>
      withHttp2({}, async (it) => {
        const client = await open(it);
        send(client);
        assert.equal(await client.resetOf(1), code);
        await client.ping();
        await it.proxy.settled(() => it.proxy.activeRequests() === 0, 'the backend to be free');
      }),
    );
  }

  it('a stream that depends on itself', () =>
    withHttp2({}, async ({ connect }) => {
      const client = await connect();
      const payload = Buffer.concat([word(1), Buffer.from([0]), block(GET)]);
      client.write(frame(h2.HEADERS, HEADERS | h2.HAS_PRIORITY, 1, payload));
      assert.equal(await client.resetOf(1), h2.PROTOCOL_ERROR);
      await client.ping();
    }));

  it('DATA or HEADERS behind the end of the request', () =>
    withHttp2({}, async ({ connect, request }) => {
      for (const send of [
        (client: H2Client) => client.data(1, 'x'),
        (client: H2Client) => client.headers(1, [['a', 'b']]),
      ]) {
        const client = await connect();
        client.headers(1, GET);
        await request();
        send(client);
        assert.equal(await client.resetOf(1), h2.STREAM_CLOSED);
        await client.ping();
      }
    }));
});

describe('HTTP/2: streams that are over', () => {
  async function ended(it: H2Proxy): Promise<H2Client> {
    const client = await it.connect();
    client.headers(1, GET);
    const { wire } = await it.request();
    wire.write(OK);
    await client.answer(1);
    return client;
  }

  it('late window updates, resets and priorities of theirs are ignored', () =>
    withHttp2({}, async (it) => {
      const client = await ended(it);
      client.windowUpdate(1, 100);
      client.write(frame(h2.RST_STREAM, 0, 1, word(8)), frame(h2.PRIORITY, 0, 1, '\0\0\0\0\0'));
      await client.ping();
    }));

  for (const [name, send] of Object.entries({
    DATA: (client: H2Client) => client.data(1, 'x'),
    HEADERS: (client: H2Client) => client.headers(1, GET),
  })) {
    it(`${name} on one of them ends the connection`, () =>
      withHttp2({}, async (it) => {
        const client = await ended(it);
        send(client);
        assert.equal(await client.goneWith(), h2.STREAM_CLOSED);
      }));
  }

  it('what was on its way to a stream that we reset is ignored, but its fields are decoded', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, [...POST, ['connection', 'x']], 0);
      assert.equal(await client.resetOf(1), h2.PROTOCOL_ERROR);
      client.data(1, 'abc');
      // The entry that these trailers add is used by the next request.
      client.write(frame(h2.HEADERS, HEADERS, 1, '\x40\x03x-t\x05hello'));
      client.write(frame(h2.HEADERS, HEADERS, 3, Buffer.concat([block(GET), Buffer.from([0xbe])])));
      assert.match((await request()).head, /\r\nx-t: hello\r\n/);
    }));
});

describe('HTTP/2: what is taken', () => {
  it('frames of unknown types, unknown settings and flags, and a reserved bit', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.write(frame(99, 255, 0, 'abc'), frame(99, 0, 77), settings([99, 1]));
      client.write(frame(h2.HEADERS, HEADERS | 0xc0, 0x80000001, block(GET)));
      await request();
      await client.ping();
    }));

  it('a field block in pieces, and input in pieces of one byte', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect('raw');
      const fields = block([...POST, ['x-a', 'b']]);
      const bytes = Buffer.concat([
        h2.PREFACE,
        settings(),
        frame(
          h2.HEADERS,
          h2.PADDED,
          1,
          Buffer.concat([Buffer.from([2]), fields.subarray(0, 10), Buffer.alloc(2)]),
        ),
        frame(h2.CONTINUATION, 0, 1, fields.subarray(10, 20)),
        frame(h2.CONTINUATION, h2.END_HEADERS, 1, fields.subarray(20)),
        frame(h2.DATA, h2.PADDED, 1, '\x02abc\0\0'),
        frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, '\x01\0'),
      ]);
      for (const byte of bytes) {
        client.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const { wire, head } = await request();
      assert.match(head, /\r\nx-a: b\r\n/);
      await wire.until(() => wire.rest.endsWith('0\r\n\r\n'), 'the end of the body');
      assert.equal(wire.rest.replace(/\r\n|[0-9]/g, ''), 'abc');
    }));

  it('GOAWAY of a client: it still gets what it asked for, and then the end', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, GET);
      const { wire } = await request();
      client.write(frame(h2.GOAWAY, 0, 0, Buffer.alloc(8)));
      wire.write(OK);
      assert.equal((await client.answer(1)).body, 'ok');
      await client.end();
    }));

  it('answers with more fields than a frame holds', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, GET);
      const { wire } = await request();
      wire.write(`HTTP/1.1 200 OK\r\nX-A: ${'\x80'.repeat(40_000)}\r\nContent-Length: 0\r\n\r\n`);
      const first = await client.frameOf(h2.HEADERS, 1);
      assert.equal(first.flags & h2.END_HEADERS, 0);
      const second = await client.frameOf(h2.CONTINUATION, 1);
      const third = await client.frameOf(h2.CONTINUATION, 1);
      assert.equal(third.flags, h2.END_HEADERS);
      const payload = Buffer.concat([first.payload, second.payload, third.payload]);
      const fields = client.fields({ ...first, payload });
      assert.equal(fields.get('x-a')?.length, 40_000);
    }));
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import selfsigned from 'selfsigned';
import type { ByteStream } from './byte-stream.ts';
import { loopback, portOf, Recorder, rounds, until } from './stream-conformance.ts';
import { wrapTlsSocket } from './tls-handle.ts';
import { chooseTlsVariant } from './tls-variant.ts';

const ALERT = 21;
const APPLICATION_DATA = 23;

let server: tls.Server;
let onSocket: (socket: tls.TLSSocket) => void = () => {};
before(async () => {
  const pems = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], {
    algorithm: 'sha256',
  });
  server = tls.createServer({
    key: pems.private,
    cert: pems.cert,
    ALPNProtocols: ['http/1.1'],
    allowHalfOpen: true,
  } as tls.TlsOptions);
  server.on('secureConnection', (socket) => onSocket(socket));
  loopback(server);
  await once(server, 'listening');
});
after(() => server.close());

interface Meeting {
  readonly stream: ByteStream;
  readonly seen: Recorder;
  readonly socket: tls.TLSSocket;
  readonly client: tls.TLSSocket;
  /** Below the client: bytes written here come between its records. */
  readonly wire: net.Socket;
  /** Types of the records that the server sent, in order. */
  readonly records: number[];
}

/** A client of TLS 1.2, whose records say on the outside what they are. */
async function meet(body: (meeting: Meeting) => Promise<void>): Promise<void> {
  const records: number[] = [];
  let pending = Buffer.alloc(0);
  const between = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port: portOf(server), host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [near, far]) socket.on('error', () => {});
    wire = far;
    near.pipe(far);
    far.pipe(near);
    far.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 5 && pending.length >= 5 + pending.readUInt16BE(3)) {
        records.push(pending[0]!);
        pending = pending.subarray(5 + pending.readUInt16BE(3));
      }
    });
  });
  let wire: net.Socket | null = null;
  loopback(between);
  await once(between, 'listening');
  const seen = new Recorder();
  const accepted = new Promise<[tls.TLSSocket, ByteStream]>((resolve) => {
    onSocket = (socket) => {
      const stream = wrapTlsSocket(socket, 'handle');
      stream.handler = seen;
      resolve([socket, stream]);
    };
  });
  const client = tls.connect({
    port: portOf(between),
    host: '127.0.0.1',
    servername: 'shop.test',
    maxVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: false,
    allowHalfOpen: true,
  } as tls.ConnectionOptions);
  client.on('error', () => {});
  const [[socket, stream]] = await Promise.all([accepted, once(client, 'secureConnect')]);
  try {
    assert.ok(wire !== null);
    await body({ stream, seen, socket, client, wire, records });
  } finally {
    client.destroy();
    stream.reset();
    between.close();
    await once(between, 'close');
    await until(() => socket.closed, 'the socket to close');
  }
}

describe('a stream over the handle of a TLS connection', () => {
  it('knows what the handshake settled', () =>
    meet(async ({ stream }) => {
      assert.deepEqual(stream.tls, {
        serverName: 'shop.test',
        alpn: 'http/1.1',
        version: 'TLSv1.2',
        client: null,
      });
      assert.equal(stream.localPort, portOf(server));
    }));

  it('runs nothing of the socket above it', () =>
    meet(async ({ seen, socket, client, stream }) => {
      socket.on('data', () => assert.fail('the socket read'));
      client.write('hello');
      await until(() => seen.text === 'hello', 'the bytes');
      client.resume();
      stream.write(Buffer.alloc(1_000_000));
      stream.end();
      await once(client, 'end');
      assert.deepEqual(
        [socket.writableFinished, socket.writableLength, socket.readableLength],
        [false, 0, 0],
      );
    }));

  it('says goodbye before it closes, behind what was pending', () =>
    meet(async ({ stream, seen, client, records }) => {
      client.resume();
      records.length = 0;
      stream.write(Buffer.alloc(100_000));
      stream.close(0);
      await until(() => seen.closes.length === 1, 'the close');
      await until(() => client.readableEnded, 'the end at the client');
      assert.equal(records.at(-1), ALERT);
      assert.ok(records.slice(0, -1).every((type) => type === APPLICATION_DATA));
    }));

  it('a reset says no goodbye', () =>
    meet(async ({ stream, seen, client, records }) => {
      client.resume();
      records.length = 0;
      stream.reset();
      await until(() => seen.closes.length === 1, 'the close');
      await until(() => client.readableEnded || client.destroyed, 'the client to notice');
      assert.deepEqual(records, []);
    }));

  it('a record that was tampered with is an error, told once; the peer gets an alert', () =>
    meet(async ({ stream, seen, wire, client, socket, records }) => {
      client.resume();
      records.length = 0;
      wire.write(Buffer.concat([Buffer.from([APPLICATION_DATA, 3, 3, 0, 40]), Buffer.alloc(40)]));
      await until(() => seen.closes.length === 1, 'the close');
      assert.match(String(seen.closes[0]), /cipher operation failed|decryption failed|bad record mac/);
      assert.equal(stream.closed, true);
      await until(() => socket.closed, 'the socket to close');
      await until(() => records.includes(ALERT), 'the alert');
      await rounds();
      assert.equal(seen.closes.length, 1);
    }));

  it('what was read already waits while it is paused, the end behind it', () =>
    meet(async ({ stream, seen, client }) => {
      seen.onBytes = () => stream.pause();
      // Many small records in one segment: one read of the kernel decrypts them all.
      client.setMaxSendFragment(512);
      client.cork();
      for (let i = 0; i < 2_000; i++) client.write(`${i};`);
      client.end('last');
      await until(() => seen.text.length > 0, 'the first bytes');
      await rounds();
      assert.equal(seen.text.length, 512);
      // Piece by piece, as long as it pauses in each.
      await until(() => {
        stream.resume();
        return seen.ended;
      }, 'the end');
      const whole = Array.from({ length: 2_000 }, (_, i) => `${i};`).join('');
      assert.equal(seen.text, `${whole}last`);
    }));

  it('hears of it when the socket is destroyed by others', () =>
    meet(async ({ stream, seen, socket }) => {
      socket.destroy();
      await until(() => seen.closes.length === 1, 'the close');
      assert.ok(seen.closes[0] instanceof Error);
      assert.equal(stream.closed, true);
    }));

  it('answers within the handshake, as HTTP/2 does, and can be closed there', async () => {
    const seen = new Recorder();
    const closed = new Promise<void>((resolve) => {
      onSocket = (socket) => {
        const stream = wrapTlsSocket(socket, 'handle');
        stream.handler = seen;
        stream.write(Buffer.from('first'));
        stream.close(0);
        socket.once('close', resolve);
      };
    });
    const client = tls.connect({ port: portOf(server), host: '127.0.0.1', rejectUnauthorized: false });
    const chunks = (await client.toArray()) as Buffer[];
    assert.equal(Buffer.concat(chunks).toString(), 'first');
    await closed;
    assert.deepEqual(seen.closes, [null]);
  });

  it('a socket that has been used is left to its own stream', async () => {
    const wrapped = new Promise<ByteStream>((resolve) => {
      onSocket = (socket) => {
        socket.cork();
        socket.write('x');
        resolve(wrapTlsSocket(socket, 'handle'));
        socket.uncork();
      };
    });
    const client = tls.connect({ port: portOf(server), host: '127.0.0.1', rejectUnauthorized: false });
    client.on('error', () => {});
    const [data] = (await once(client, 'data')) as [Buffer];
    const stream = await wrapped;
    assert.equal(String(data), 'x');
    assert.equal(stream.constructor.name, 'NetStream');
    client.destroy();
    stream.reset();
  });
});

describe('the choice of streams for TLS', () => {
  it('takes handles where they work, and only beside those of plain sockets', async () => {
    assert.equal(await chooseTlsVariant('handle'), 'handle');
    assert.equal(await chooseTlsVariant('onread'), 'net');
    assert.equal(await chooseTlsVariant('net'), 'net');
  });

  it('falls back to sockets of Node where a trial fails or hangs', async () => {
    const failing = () => {
      throw new Error('not like this');
    };
    assert.equal(await chooseTlsVariant('handle', failing), 'net');
    const mute = (socket: tls.TLSSocket): ByteStream => {
      const stream = wrapTlsSocket(socket, 'handle');
      stream.resume = () => {};
      return stream;
    };
    assert.equal(await chooseTlsVariant('handle', mute, 200), 'net');
  });
});

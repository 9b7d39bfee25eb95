import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, test } from 'node:test';
import tls from 'node:tls';
import { type Log, silentLog } from '../../shared/log.ts';
import { wrapSocket } from '../stream/net-stream.ts';
import { certificateFor } from './testing.ts';
import { TlsFront, type TlsFrontOptions } from './tls-front.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
});

async function listen(front: TlsFront): Promise<number> {
  const server = front.createServer((socket) => {
    const stream = wrapSocket(socket);
    stream.handler = {
      onData: (buffer, start, end) => stream.writeShared(buffer, start, end),
      onEnd: () => stream.close(),
      onDrain() {},
      onClose() {},
    };
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

function front(options: Partial<TlsFrontOptions> = {}): TlsFront {
  return new TlsFront({ log: silentLog, ...options });
}

/** A client whose handshake is done; rejects when it fails. */
async function connect(port: number, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
  const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  cleanups.push(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

async function shown(port: number, servername?: string): Promise<string | undefined> {
  const socket = await connect(port, servername === undefined ? {} : { servername });
  const name = socket.getPeerCertificate().subject?.CN;
  socket.destroy();
  return Array.isArray(name) ? name[0] : name;
}

describe('TLS front', () => {
  test('shows the certificate for the name asked for, else the default, and swaps them while it serves', async () => {
    const it = front();
    it.certificates.setDefault(await certificateFor(['default.test']));
    it.certificates.set('shop', await certificateFor(['shop.test', '*.shop.test']));
    const port = await listen(it);
    assert.equal(await shown(port, 'shop.test'), 'shop.test');
    assert.equal(await shown(port, 'www.shop.test'), 'shop.test');
    assert.equal(await shown(port, 'other.test'), 'default.test');
    assert.equal(await shown(port), 'default.test');

    const open = await connect(port, { servername: 'shop.test' });
    it.certificates.set('shop', await certificateFor(['new.test', 'shop.test']));
    it.certificates.setDefault(await certificateFor(['newdefault.test']));
    assert.equal(await shown(port, 'shop.test'), 'new.test');
    assert.equal(await shown(port), 'newdefault.test');
    open.write('still here');
    assert.equal(String((await once(open, 'data'))[0]), 'still here', 'open connections live on');
  });

  test('without any certificate a handshake fails and the server lives on', async () => {
    const it = front();
    const port = await listen(it);
    await assert.rejects(connect(port));
    it.certificates.setDefault(await certificateFor(['late.test']));
    assert.equal(await shown(port), 'late.test');
  });

  test('speaks TLS 1.2 and 1.3 with ALPN http/1.1, and nothing older', async () => {
    const it = front();
    it.certificates.setDefault(await certificateFor(['a.test']));
    const port = await listen(it);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await connect(port, {
        minVersion: version,
        maxVersion: version,
        ALPNProtocols: ['h2', 'http/1.1'],
      });
      assert.equal(socket.getProtocol(), version);
      assert.equal(socket.alpnProtocol, 'http/1.1');
    }
    await assert.rejects(
      connect(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }),
    );
    await assert.rejects(connect(port, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' }));
  });

  test('a TLS 1.2 client cannot renegotiate, with a default or a named certificate', async () => {
    const it = front();
    it.certificates.setDefault(await certificateFor(['a.test']));
    it.certificates.set('b', await certificateFor(['b.test']));
    const port = await listen(it);
    for (const servername of ['a.test', 'b.test']) {
      const socket = await connect(port, { maxVersion: 'TLSv1.2', servername });
      const error = await new Promise<Error | null>((resolve) => {
        socket.on('error', resolve);
        socket.renegotiate({ rejectUnauthorized: false }, resolve);
      });
      assert.ok(error !== null, 'renegotiation is refused');
    }
  });

  test('sessions of one process are resumed by another that has the same ticket keys', async () => {
    const pair = await certificateFor(['a.test']);
    const keys = Buffer.alloc(48, 7);
    const ports: number[] = [];
    const fronts = [front(), front()];
    for (const it of fronts) {
      it.certificates.setDefault(pair);
      it.setTicketKeys(keys);
      ports.push(await listen(it));
    }
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const options = { servername: 'a.test', minVersion: version, maxVersion: version };
      const first = tls.connect({ host: '127.0.0.1', port: ports[0], rejectUnauthorized: false, ...options });
      const [session] = await once(first, 'session');
      first.destroy();
      const second = await connect(ports[1] as number, { ...options, session });
      assert.equal(second.isSessionReused(), true, version);
      // A new default certificate keeps the keys; new keys void the ticket.
      fronts[1]?.certificates.setDefault(await certificateFor(['a.test']));
      assert.equal((await connect(ports[1] as number, { ...options, session })).isSessionReused(), true);
      fronts[1]?.setTicketKeys(Buffer.alloc(48, 8));
      assert.equal((await connect(ports[1] as number, { ...options, session })).isSessionReused(), false);
      fronts[1]?.setTicketKeys(keys);
    }
    assert.throws(() => front().setTicketKeys(Buffer.alloc(16)), /48 bytes/);
  });

  test('a client that does not finish its handshake in time is cut, and garbage harms nobody', async () => {
    const failed: string[] = [];
    const log: Log = { ...silentLog, debug: (code) => failed.push(code) };
    const it = front({ log, handshakeTimeoutMs: 50 });
    it.certificates.setDefault(await certificateFor(['a.test']));
    const port = await listen(it);
    const silent = net.connect(port, '127.0.0.1');
    silent.on('error', () => {});
    await once(silent, 'close');
    const noisy = net.connect(port, '127.0.0.1');
    noisy.on('error', () => {});
    noisy.resume();
    noisy.write('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n');
    await once(noisy, 'close');
    assert.deepEqual(failed, ['tls_handshake_failed', 'tls_handshake_failed']);
    assert.equal(await shown(port), 'a.test');
  });

  test('a client that speaks plain HTTP is told so, in plain HTTP, and then cut', async () => {
    const it = front();
    it.certificates.setDefault(await certificateFor(['a.test']));
    const port = await listen(it);
    for (const request of ['GET / HTTP/1.1\r\nHost: a.test\r\n\r\n', 'POST /x HTTP/1.0\r\n\r\nbody']) {
      const client = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
      cleanups.push(() => client.destroy());
      let said = '';
      client.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      client.write(request);
      await once(client, 'end');
      assert.match(said, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(said, /\r\nConnection: close\r\n/);
      const [head = '', body = ''] = said.split('\r\n\r\n');
      assert.match(body, /speaks HTTPS/);
      assert.match(head, new RegExp(`\r\nContent-Length: ${body.length}(\r\n|$)`));
    }
  });

  test('takes sockets that were accepted elsewhere', async () => {
    const it = front();
    it.certificates.setDefault(await certificateFor(['a.test']));
    const secure = it.createServer((socket) => socket.end('hello'));
    const server = net.createServer({ allowHalfOpen: true }, (socket) => secure.emit('connection', socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const socket = await connect((server.address() as net.AddressInfo).port);
    assert.equal(String((await once(socket, 'data'))[0]), 'hello');
  });
});

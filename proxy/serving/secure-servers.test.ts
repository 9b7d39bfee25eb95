import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { type TestContext, test } from 'node:test';
import tls from 'node:tls';
import { silentLog } from '../../shared/log.ts';
import { setFailureReport } from '../stream/deadlines.ts';
import { certificateFor } from '../tls/testing.ts';
import { TlsFront } from '../tls/tls-front.ts';
import { SecureServers } from './secure-servers.ts';

const spec = {
  key: 'https :443',
  type: 'https',
  address: '',
  port: 443,
  proxyProtocol: false,
  listener: null,
} as const;

test('a TLS server that cannot be made ends the connection, and the next one is served', async (t) => {
  const failures: unknown[] = [];
  setFailureReport((failure) => failures.push(failure));
  const front = new TlsFront({ log: silentLog });
  const create = front.createServer.bind(front);
  front.createServer = () => {
    throw new Error('on purpose');
  };
  const servers = new SecureServers(front, () => {});
  const listening = net.createServer((socket) => servers.handshake(socket, spec, null, null));
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  t.after(() => {
    servers.close();
    listening.close();
  });
  const visit = () => {
    const socket = net.connect((listening.address() as net.AddressInfo).port, '127.0.0.1');
    socket.on('error', () => {});
    t.after(() => socket.destroy());
    return socket;
  };
  await once(visit().resume(), 'close');
  assert.match(String(failures), /on purpose/);
  front.createServer = create;
  const socket = visit();
  // Nonsense, which a TLS server answers with an alert.
  socket.write('GET / HTTP/1.1\r\n\r\n');
  const [answer] = await once(socket, 'data');
  assert.ok((answer as Buffer).length > 0);
});

/** Listens with a handshake that nobody has to wait for; `below` are the connections without TLS. */
async function served(
  t: TestContext,
  onSocket: (socket: tls.TLSSocket) => void,
): Promise<{ port: number; below: net.Socket[] }> {
  const front = new TlsFront({ log: silentLog, handshakeTimeoutMs: 600_000 });
  front.certificates.setDefault(await certificateFor(['localhost']));
  const servers = new SecureServers(front, onSocket);
  const below: net.Socket[] = [];
  const listening = net.createServer({ allowHalfOpen: true }, (socket) => {
    below.push(socket);
    servers.handshake(socket, spec, null, null);
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  t.after(() => {
    for (const socket of below) socket.destroy();
    servers.close();
    listening.close();
  });
  return { port: (listening.address() as net.AddressInfo).port, below };
}

for (const first of ['', '\x16\x03\x01\x02\x00\x01\x00']) {
  test(`a client that ends before its handshake is gone at once, after ${first.length} bytes`, async (t) => {
    const { port, below } = await served(t, () => {});
    const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    t.after(() => client.destroy());
    client.end(first, 'latin1');
    await once(client.resume(), 'end');
    assert.equal(below.length, 1);
    const [socket] = below;
    if (socket?.destroyed === false) await once(socket, 'close');
  });
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a client that ends its side with its request still gets its answer, ${version}`, async (t) => {
    const { port } = await served(t, (socket) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('end', () => setImmediate(() => socket.end(`got ${text}`)));
    });
    const client = tls.connect({
      port,
      host: '127.0.0.1',
      allowHalfOpen: true,
      rejectUnauthorized: false,
      maxVersion: version,
    } as tls.ConnectionOptions);
    t.after(() => client.destroy());
    client.end('a request');
    let answer = '';
    for await (const chunk of client) answer += chunk;
    assert.equal(answer, 'got a request');
  });
}

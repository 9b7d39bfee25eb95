import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import { setFailureReport } from '../stream/deadlines.ts';
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

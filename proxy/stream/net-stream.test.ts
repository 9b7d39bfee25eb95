import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import tls from 'node:tls';
import selfsigned from 'selfsigned';
import { acceptStreams } from './accept.ts';
import type { ByteStream } from './byte-stream.ts';
import { STREAM_OPTIONS, wrapSocket } from './net-stream.ts';
import { accepting, conformance, connecting, dial, loopback, portOf } from './stream-conformance.ts';
import { wrapTlsSocket } from './tls-handle.ts';

let pems: { private: string; cert: string };
let folder: string;
let sockets = 0;
before(async () => {
  pems = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], { algorithm: 'sha256' });
  folder = mkdtempSync(join(tmpdir(), 'stream-'));
});
after(() => rmSync(folder, { recursive: true }));

function connected(socket: net.Socket, onread: boolean): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(wrapSocket(socket, { onread }));
    });
  });
}

conformance(
  'net.Socket, accepted, memory of ours',
  accepting(loopback, (server, on) => acceptStreams(server, on, 'onread'), dial),
  { lastWords: true },
);
conformance(
  'net.Socket, accepted',
  accepting(loopback, (server, on) => acceptStreams(server, on, 'net'), dial),
);
for (const [name, node] of [
  ['TLS, accepted', 'net'],
  ['TLS handle, accepted', 'handle'],
] as const)
  conformance(
    name,
    accepting(
      loopback,
      (server, on) =>
        server.on('secureConnection', (socket: tls.TLSSocket) => on(wrapTlsSocket(socket, node))),
      (server) =>
        tls.connect({
          port: portOf(server),
          host: '127.0.0.1',
          rejectUnauthorized: false,
          allowHalfOpen: true,
        } as tls.ConnectionOptions),
      () => tls.createServer({ key: pems.private, cert: pems.cert, allowHalfOpen: true } as tls.TlsOptions),
    ),
    { tls: true },
  );
conformance(
  'net.Socket, connected, memory of ours',
  connecting((server) =>
    connected(net.connect({ ...STREAM_OPTIONS, port: portOf(server), host: '127.0.0.1' }), true),
  ),
  { lastWords: true },
);
conformance(
  'net.Socket, connected',
  connecting((server) => connected(dial(server), false)),
);
conformance(
  'net.Socket, accepted on a Unix socket',
  accepting(
    (server) => server.listen(join(folder, `socket${sockets++}`)),
    (server, on) => acceptStreams(server, on, 'onread'),
    (server) => net.connect({ path: String(server.address()), allowHalfOpen: true }),
  ),
  { pipe: true },
);

/** What is known of a TLS connection once its handshake is done, whatever its stream is made of. */
import type net from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ByteStream, TlsClient } from './byte-stream.ts';

const clients = new WeakMap<net.Socket, TlsClient>();

/** Says what the visitor on an accepted TLS connection has proved; `tls.client` of its stream from then on. */
export function noteTlsClient(socket: TLSSocket, client: TlsClient): void {
  clients.set(socket, client);
}

/** Null on plain connections. */
export function tlsFacts(socket: net.Socket): ByteStream['tls'] {
  if (!(socket instanceof TLSSocket)) return null;
  // On the server side `servername` is a string or false; on the client side it is what was asked for.
  const name = (socket as { servername?: string | false }).servername;
  return {
    serverName: name || null,
    alpn: socket.alpnProtocol || null,
    version: socket.getProtocol() ?? '',
    client: clients.get(socket) ?? null,
  };
}

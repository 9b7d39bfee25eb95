/**
 * The TLS servers behind https sockets: one for each socket, and one more for each authority whose certificates are
 * asked for on it, because whether to ask is a server's own setting, and no session may go from one to another.
 */
import type net from 'node:net';
import type tls from 'node:tls';
import type { ClientAuthority } from '../../shared/routing/client-authority.ts';
import type { ListenerSpec } from '../link/messages.ts';
import type { TlsClient } from '../stream/byte-stream.ts';
import { noteTlsClient } from '../stream/net-stream.ts';
import type { TlsFront } from '../tls/tls-front.ts';
import type { ProxyHeader } from '../tunnel/proxy-header.ts';

/** What was read of a connection before its handshake. */
export interface Arrival {
  readonly header: ProxyHeader | null;
  /** The name in its ClientHello, where that was read. */
  readonly serverName: string | null;
}

/** Authorities in use at a time (25 KB each); the server of one that was not asked for long is made again. */
const MAX_ASKING = 1_000;

export class SecureServers {
  readonly #tls: TlsFront;
  readonly #onSocket: (socket: tls.TLSSocket, spec: ListenerSpec, arrival: Arrival | null) => void;
  /** By key of the listener. */
  readonly #plain = new Map<string, tls.Server>();
  /** By key of the listener and authority, in order of last use. */
  readonly #asking = new Map<string, tls.Server>();
  /** Of connections whose handshake is under way or done. */
  readonly #arrivals = new WeakMap<net.Socket, Arrival>();

  /** `arrival` is what `handshake` was given. */
  constructor(
    front: TlsFront,
    onSocket: (socket: tls.TLSSocket, spec: ListenerSpec, arrival: Arrival | null) => void,
  ) {
    this.#tls = front;
    this.#onSocket = onSocket;
  }

  /** Begins the handshake on a socket; with an authority, certificates of it are asked for. */
  handshake(
    socket: net.Socket,
    spec: ListenerSpec,
    authority: ClientAuthority | null,
    arrival: Arrival | null,
  ): void {
    if (arrival !== null) this.#arrivals.set(socket, arrival);
    const server = authority === null ? this.#plainFor(spec) : this.#askingFor(spec, authority);
    server.emit('connection', socket);
  }

  /** Handshakes under way go on. Idempotent. */
  close(): void {
    for (const server of [...this.#plain.values(), ...this.#asking.values()]) server.close();
    this.#plain.clear();
    this.#asking.clear();
  }

  #plainFor(spec: ListenerSpec): tls.Server {
    let server = this.#plain.get(spec.key);
    if (server === undefined) {
      server = this.#create(spec, null);
      this.#plain.set(spec.key, server);
    }
    return server;
  }

  #askingFor(spec: ListenerSpec, authority: ClientAuthority): tls.Server {
    const key = `${spec.key} ${authority.id}`;
    const server = this.#asking.get(key) ?? this.#create(spec, authority);
    this.#asking.delete(key);
    this.#asking.set(key, server);
    for (const [oldest, unused] of this.#asking) {
      if (this.#asking.size <= MAX_ASKING) break;
      this.#asking.delete(oldest);
      unused.close();
    }
    return server;
  }

  #create(spec: ListenerSpec, authority: ClientAuthority | null): tls.Server {
    return this.#tls.createServer((socket) => this.#done(socket, spec, authority), authority);
  }

  #done(socket: tls.TLSSocket, spec: ListenerSpec, authority: ClientAuthority | null): void {
    // By the connection below (a field of Node's own). Where Node has none, what was read is unknown, and whoever
    // needs it lets nobody in.
    const below = (socket as { readonly _parent?: net.Socket })._parent;
    const arrival = (below === undefined ? undefined : this.#arrivals.get(below)) ?? null;
    const serverName = arrival?.serverName ?? null;
    if (authority !== null && serverName !== null)
      noteTlsClient(socket, clientOf(socket, authority, serverName));
    this.#onSocket(socket, spec, arrival);
  }
}

/** What a client has proved. A resumed session can count as authorised without any certificate: see RFC 8446 §4.6.1. */
function clientOf(socket: tls.TLSSocket, authority: ClientAuthority, serverName: string): TlsClient {
  const certificate = socket.getPeerX509Certificate() ?? null;
  const inForce = certificate !== null && Date.parse(certificate.validTo) > Date.now();
  return {
    authority: authority.id,
    serverName,
    verified: socket.authorized && inForce,
    certificate: certificate?.raw ?? null,
  };
}

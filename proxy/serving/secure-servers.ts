/**
 * The TLS servers behind https sockets: one for each socket, and more for what is a server's own setting: whether to
 * ask for certificates (and no session may go from one authority to another), and the keys of tickets.
 */
import type net from 'node:net';
import type tls from 'node:tls';
import type { ClientAuthority } from '../../shared/routing/client-authority.ts';
import type { ListenerSpec } from '../link/messages.ts';
import type { TlsClient } from '../stream/byte-stream.ts';
import { reportFailure } from '../stream/deadlines.ts';
import { noteTlsClient } from '../stream/tls-facts.ts';
import type { ServerRole, TlsFront } from '../tls/tls-front.ts';
import type { ProxyHeader } from '../tunnel/proxy-header.ts';

/** What was read of a connection before its handshake. */
export interface Arrival {
  readonly header: ProxyHeader | null;
  /** The name in its ClientHello, where that was read. */
  readonly serverName: string | null;
}

/** Further servers at a time (25 KB each); one that was not needed for long is made again. */
const MAX_SPECIAL = 1_000;

export class SecureServers {
  readonly #tls: TlsFront;
  readonly #onSocket: (socket: tls.TLSSocket, spec: ListenerSpec, arrival: Arrival | null) => void;
  /** By key of the listener. */
  readonly #plain = new Map<string, tls.Server>();
  /** By key of the listener and role, in order of last use. */
  readonly #special = new Map<string, tls.Server>();
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

  /** Begins the handshake on a socket, in a plain role when `role` is null. */
  handshake(socket: net.Socket, spec: ListenerSpec, role: ServerRole | null, arrival: Arrival | null): void {
    if (arrival !== null) this.#arrivals.set(socket, arrival);
    const special = role !== null && (role.authority !== null || role.former);
    try {
      const server = special ? this.#specialFor(spec, role) : this.#plainFor(spec);
      // Who leaves before the handshake is done is gone, and keeps no descriptor until its time is over.
      socket.allowHalfOpen = false;
      server.emit('connection', socket);
    } catch (failure) {
      // A server that cannot be made ends this connection, which nobody else would.
      reportFailure(failure);
      socket.destroy();
    }
  }

  /** Handshakes under way go on. Idempotent. */
  close(): void {
    for (const server of [...this.#plain.values(), ...this.#special.values()]) server.close();
    this.#plain.clear();
    this.#special.clear();
  }

  #plainFor(spec: ListenerSpec): tls.Server {
    let server = this.#plain.get(spec.key);
    if (server === undefined) {
      server = this.#create(spec, { authority: null, former: false });
      this.#plain.set(spec.key, server);
    }
    return server;
  }

  #specialFor(spec: ListenerSpec, role: ServerRole): tls.Server {
    const key = `${spec.key} ${role.authority?.id ?? ''} ${role.former}`;
    const server = this.#special.get(key) ?? this.#create(spec, role);
    this.#special.delete(key);
    this.#special.set(key, server);
    for (const [oldest, unused] of this.#special) {
      if (this.#special.size <= MAX_SPECIAL) break;
      this.#special.delete(oldest);
      unused.close();
    }
    return server;
  }

  #create(spec: ListenerSpec, role: ServerRole): tls.Server {
    return this.#tls.createServer((socket) => this.#done(socket, spec, role.authority), role);
  }

  #done(socket: tls.TLSSocket, spec: ListenerSpec, authority: ClientAuthority | null): void {
    // From here on a client may end its side and still get its answer.
    socket.allowHalfOpen = true;
    // By the connection below (a field of Node's own). Where Node has none, what was read is unknown, and whoever
    // needs it lets nobody in.
    const below = (socket as { readonly _parent?: net.Socket })._parent;
    const arrival = (below === undefined ? undefined : this.#arrivals.get(below)) ?? null;
    if (authority !== null && arrival !== null)
      noteTlsClient(socket, clientOf(socket, authority, arrival.serverName ?? ''));
    try {
      this.#onSocket(socket, spec, arrival);
    } catch (failure) {
      reportFailure(failure);
      socket.destroy();
    }
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

/**
 * The TLS servers behind https sockets: one for each socket, and one more for each authority whose certificates are
 * asked for on it, because whether to ask is a server's own setting, and no session may go from one to another.
 */
import type tls from 'node:tls';
import type { ClientAuthority } from '../../shared/routing/client-authority.ts';
import type { ListenerSpec } from '../link/messages.ts';
import type { TlsClient } from '../stream/byte-stream.ts';
import { noteTlsClient } from '../stream/net-stream.ts';
import type { TlsFront } from '../tls/tls-front.ts';

/** Authorities in use at a time (25 KB each); the server of one that was not asked for long is made again. */
const MAX_ASKING = 1_000;

export class SecureServers {
  readonly #tls: TlsFront;
  readonly #onSocket: (socket: tls.TLSSocket, spec: ListenerSpec) => void;
  /** By key of the listener. */
  readonly #plain = new Map<string, tls.Server>();
  /** By key of the listener and authority, in order of last use. */
  readonly #asking = new Map<string, tls.Server>();

  constructor(front: TlsFront, onSocket: (socket: tls.TLSSocket, spec: ListenerSpec) => void) {
    this.#tls = front;
    this.#onSocket = onSocket;
  }

  /** The server that asks for certificates of `authority`; null: for none. */
  of(spec: ListenerSpec, authority: ClientAuthority | null): tls.Server {
    if (authority !== null) return this.#askingFor(spec, authority);
    let server = this.#plain.get(spec.key);
    if (server === undefined) {
      server = this.#create(spec, null);
      this.#plain.set(spec.key, server);
    }
    return server;
  }

  /** Handshakes under way go on. Idempotent. */
  close(): void {
    for (const server of [...this.#plain.values(), ...this.#asking.values()]) server.close();
    this.#plain.clear();
    this.#asking.clear();
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
    return this.#tls.createServer((socket) => {
      if (authority !== null) noteTlsClient(socket, clientOf(socket, authority));
      this.#onSocket(socket, spec);
    }, authority);
  }
}

/** What a client has proved. A resumed session can count as authorised without any certificate: see RFC 8446 §4.6.1. */
function clientOf(socket: tls.TLSSocket, authority: ClientAuthority): TlsClient {
  const certificate = socket.getPeerX509Certificate() ?? null;
  const inForce = certificate !== null && Date.parse(certificate.validTo) > Date.now();
  return {
    authority: authority.id,
    verified: socket.authorized && inForce,
    certificate: certificate?.raw ?? null,
  };
}

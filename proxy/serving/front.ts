/** Gives each accepted connection to the engine of its listener, and counts it until it ends. */
import { STATUS_CODES } from 'node:http';
import type net from 'node:net';
import type tls from 'node:tls';
import { canonicalAddress } from '../../shared/address.ts';
import { ClientConnection } from '../http1/client-connection.ts';
import type { ListenerSpec } from '../link/messages.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { IGNORE, wrapSocket } from '../stream/net-stream.ts';
import type { TlsFront } from '../tls/tls-front.ts';
import { TcpConnection } from '../tunnel/tcp-tunnel.ts';
import { AddressLimit } from './address-limit.ts';
import type { Admission } from './admission.ts';
import type { AppliedTable } from './apply.ts';
import type { Connections, ServedConnection } from './connections.ts';
import type { Environment } from './environment.ts';

export interface FrontOptions {
  readonly environment: Environment;
  readonly table: AppliedTable;
  readonly connections: Connections;
  readonly admission: Admission;
  readonly tls: TlsFront;
}

export class Front {
  readonly #options: FrontOptions;
  readonly #addresses = new AddressLimit();
  /** Does the handshakes of an https socket; never listens itself. By key of the listener. */
  readonly #secureServers = new Map<string, tls.Server>();

  constructor(options: FrontOptions) {
    this.#options = options;
  }

  /** A connection on a socket of type http or tcp. */
  accept(stream: ByteStream, spec: ListenerSpec): void {
    const { admission } = this.#options;
    if (spec.proxyProtocol) {
      // The header is not read in this version; without it nobody may enter.
      stream.handler = IGNORE;
      stream.reset();
      return;
    }
    const place = this.#takePlace(() => stream.remoteAddress);
    if (place === null) {
      if (spec.type === 'http') this.#refuse(stream);
      else {
        stream.handler = IGNORE;
        stream.reset();
      }
      return;
    }
    admission.opened();
    this.#serve(stream, spec, () => {
      admission.closed();
      this.#givePlace(place);
    });
  }

  /** A connection whose handshake is still to come. */
  acceptSecure(socket: net.Socket, spec: ListenerSpec): void {
    const { admission, connections } = this.#options;
    const place = spec.proxyProtocol ? null : this.#takePlace(() => socket.remoteAddress ?? '');
    if (place === null) {
      socket.destroy();
      return;
    }
    // Keeps the process until the connection is gone; who ends it is the engine that it goes to, or the exit.
    const handshake: ServedConnection = { drain() {}, closeNow() {} };
    connections.add(handshake);
    socket.once('close', () => {
      admission.closed();
      this.#givePlace(place);
      connections.delete(handshake);
    });
    admission.opened();
    this.#secureServer(spec).emit('connection', socket);
  }

  /** Nothing is accepted any more. Idempotent. */
  close(): void {
    for (const server of this.#secureServers.values()) server.close();
    this.#secureServers.clear();
  }

  #secureServer(spec: ListenerSpec): tls.Server {
    let server = this.#secureServers.get(spec.key);
    if (server === undefined) {
      server = this.#options.tls.createServer((socket) => this.#serve(wrapSocket(socket), spec, () => {}));
      this.#secureServers.set(spec.key, server);
    }
    return server;
  }

  #serve(stream: ByteStream, spec: ListenerSpec, onClosed: () => void): void {
    const { connections, environment } = this.#options;
    if (spec.type === 'tcp') {
      this.#tunnel(stream, spec, onClosed);
      return;
    }
    const secure = spec.type === 'https';
    const listener = { secure, port: secure ? environment.publicHttpsPort : spec.port };
    connections.add(
      new ClientConnection(stream, environment, listener, (connection) => {
        onClosed();
        connections.delete(connection);
      }),
    );
  }

  #tunnel(stream: ByteStream, spec: ListenerSpec, onClosed: () => void): void {
    const { connections, environment, table } = this.#options;
    const listener = spec.listener ?? '';
    const address = canonicalAddress(stream.remoteAddress);
    const request = { listener, port: spec.port, address };
    const decision = table.decideTcp(listener, address, null);
    // A refused connection has ended before it could be added.
    let open = true;
    const connection = new TcpConnection(stream, environment, request, decision, (ended) => {
      open = false;
      onClosed();
      connections.delete(ended);
    });
    if (open) connections.add(connection);
  }

  /** A place under `limits.connectionsPerAddress`: null when none is left, empty when nothing limits it. */
  #takePlace(address: () => string): string | null {
    const { environment } = this.#options;
    const limit = environment.limits().connectionsPerAddress;
    if (limit === 0) return '';
    const remote = address();
    // A proxy in front of us brings the connections of many.
    return environment.trusts(canonicalAddress(remote)) ? '' : this.#addresses.take(remote, limit);
  }

  #givePlace(place: string): void {
    if (place !== '') this.#addresses.give(place);
  }

  /** Says why before anything was read; the visitor sees it instead of an answer to its first request. */
  #refuse(stream: ByteStream): void {
    const { status, fields, body } = this.#options.environment.pages.render({
      cause: 'overloaded',
      host: '',
      requestId: '',
      accept: undefined,
      retryAfter: 1,
      brand: null,
    });
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
    stream.handler = IGNORE;
    stream.writeAll([Buffer.from(head, 'latin1'), body]);
    stream.close();
  }
}

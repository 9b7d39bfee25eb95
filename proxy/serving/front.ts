/**
 * Gives each accepted connection to the engine of its listener, and counts it until it ends. What has to be read
 * before (a PROXY header, the name in a ClientHello) is read here, within bounds, and only where it is asked for.
 */
import { STATUS_CODES } from 'node:http';
import type net from 'node:net';
import type tls from 'node:tls';
import { canonicalAddress } from '../../shared/address.ts';
import { ClientConnection } from '../http1/client-connection.ts';
import { Http2Connection } from '../http2/connection.ts';
import type { ListenerSpec } from '../link/messages.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { IGNORE } from '../stream/net-stream.ts';
import { type TlsVariant, wrapTlsSocket } from '../stream/tls-handle.ts';
import type { TlsFront } from '../tls/tls-front.ts';
import { type ClientHello, parseClientHello, UNRECOGNIZED_NAME } from '../tunnel/client-hello.ts';
import { type PrefaceFailure, type PrefaceReading, SocketPreface, StreamPreface } from '../tunnel/preface.ts';
import { ProxiedStream } from '../tunnel/proxied-stream.ts';
import { type ProxyHeader, parseProxyHeader } from '../tunnel/proxy-header.ts';
import { TcpConnection, type TcpDecision } from '../tunnel/tcp-tunnel.ts';
import { AddressLimit } from './address-limit.ts';
import type { Admission } from './admission.ts';
import type { AppliedTable } from './apply.ts';
import type { Connections, ServedConnection } from './connections.ts';
import type { Environment } from './environment.ts';
import { RefusedPeers } from './refused-peers.ts';
import { type Arrival, SecureServers } from './secure-servers.ts';

export interface FrontOptions {
  readonly environment: Environment;
  readonly table: AppliedTable;
  readonly connections: Connections;
  readonly admission: Admission;
  readonly tls: TlsFront;
  /** How streams of https sockets are made; asked for each. */
  tlsVariant(): TlsVariant;
}

/** How long a trusted proxy may take for its PROXY header, in milliseconds. */
const HEADER_MS = 5_000;
/** The same of a client for its ClientHello; a whole handshake gets as long. */
const HELLO_MS = 10_000;
const CAUSE_OF_FAILURE = { bad: 'bad_request', timeout: 'head_timeout', gone: 'client_gone' } as const;

export class Front {
  readonly #options: FrontOptions;
  readonly #addresses = new AddressLimit();
  readonly #refusedPeers: RefusedPeers;
  /** Do the handshakes of https sockets; never listen themselves. */
  readonly #secureServers: SecureServers;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#refusedPeers = new RefusedPeers(options.environment);
    this.#secureServers = new SecureServers(options.tls, (...done) => this.#handshakeDone(...done));
  }

  /** A connection on a socket of type http or tcp. */
  accept(stream: ByteStream, spec: ListenerSpec): void {
    if (!spec.proxyProtocol) {
      const place = this.#takePlace(() => stream.remoteAddress);
      if (place === null) this.#refuse(stream, spec);
      else {
        this.#options.admission.opened();
        this.#serve(stream, spec, null, () => this.#closed(place));
      }
      return;
    }
    if (!this.#mayProxy(stream.remoteAddress, spec)) {
      drop(stream);
      return;
    }
    this.#options.admission.opened();
    const preface: StreamPreface<ProxyHeader> = new StreamPreface<ProxyHeader>(
      stream,
      this.#options.environment.timers,
      HEADER_MS,
      this.#counted(() => preface, {
        parse: parseProxyHeader,
        onDone: (header, bytes) => this.#acceptProxied(stream, spec, header, bytes.subarray(header.length)),
        onFailed: (why) => {
          this.#options.admission.closed();
          this.#refusedPeers.sent(why, stream.remoteAddress, spec);
          drop(stream);
        },
      }),
    );
    this.#options.connections.add(preface);
  }

  /** A connection whose handshake is still to come. */
  acceptSecure(socket: net.Socket, spec: ListenerSpec): void {
    if (!spec.proxyProtocol) {
      const place = this.#takePlace(() => socket.remoteAddress ?? '');
      if (place === null) socket.destroy();
      else {
        this.#options.admission.opened();
        this.#secure(socket, spec, place, null);
      }
      return;
    }
    const peer = socket.remoteAddress ?? '';
    if (!this.#mayProxy(peer, spec)) {
      cut(socket);
      return;
    }
    this.#options.admission.opened();
    const preface: SocketPreface<ProxyHeader> = new SocketPreface<ProxyHeader>(
      socket,
      this.#options.environment.timers,
      HEADER_MS,
      this.#counted(() => preface, {
        parse: parseProxyHeader,
        onDone: (header, bytes) => {
          if (bytes.length > header.length) socket.unshift(bytes.subarray(header.length));
          const place = this.#takePlace(() => header.ends?.source.address ?? peer);
          if (place === null) {
            this.#options.admission.closed();
            socket.destroy();
            return;
          }
          this.#secure(socket, spec, place, header);
        },
        onFailed: (why) => {
          this.#options.admission.closed();
          this.#refusedPeers.sent(why, peer, spec);
          cut(socket);
        },
      }),
    );
    this.#options.connections.add(preface);
  }

  /** Nothing is accepted any more. Idempotent. */
  close(): void {
    this.#secureServers.close();
  }

  #acceptProxied(stream: ByteStream, spec: ListenerSpec, header: ProxyHeader, rest: Buffer): void {
    const { admission } = this.#options;
    const proxied = header.ends === null ? stream : new ProxiedStream(stream, header.ends);
    const place = this.#takePlace(() => proxied.remoteAddress);
    if (place === null) {
      admission.closed();
      this.#refuse(proxied, spec);
      return;
    }
    this.#serve(proxied, spec, header, () => this.#closed(place));
    giveOn(proxied, rest);
  }

  /** Hands a socket to whoever does its handshake. */
  #secure(socket: net.Socket, spec: ListenerSpec, place: string, header: ProxyHeader | null): void {
    const { connections, environment, table, tls } = this.#options;
    // Keeps the process until the connection is gone; who ends it is the engine that it goes to, or the exit.
    const handshake: ServedConnection = { drain() {}, closeNow() {} };
    connections.add(handshake);
    socket.once('close', () => {
      this.#closed(place);
      connections.delete(handshake);
    });
    if (!table.verifiesClients && !tls.takesFormerTickets) {
      const arrival = header === null ? null : { header, serverName: null };
      this.#secureServers.handshake(socket, spec, null, arrival);
      return;
    }
    // Whom to ask for a certificate hangs on the name, and under which keys to resume on the ticket; both have to be
    // known before the handshake begins.
    const begin = ({ serverName, ticketKeyName }: ClientHello, bytes: Buffer) => {
      if (bytes.length > 0) socket.unshift(bytes);
      const authority = table.clientAuthority(serverName ?? '');
      const role = { authority, former: tls.isFormer(ticketKeyName) };
      this.#secureServers.handshake(socket, spec, role, { header, serverName });
    };
    const preface: SocketPreface<ClientHello> = new SocketPreface<ClientHello>(
      socket,
      environment.timers,
      HELLO_MS,
      this.#counted(() => preface, {
        parse: parseClientHello,
        onDone: begin,
        onFailed: (why, bytes) => {
          // What is no ClientHello gets the answer that it always gets.
          if (why === 'bad') begin({ serverName: null, ticketKeyName: null }, bytes);
          else socket.destroy();
        },
      }),
    );
    connections.add(preface);
  }

  #handshakeDone(socket: tls.TLSSocket, spec: ListenerSpec, arrival: Arrival | null): void {
    const header = arrival?.header ?? null;
    if (spec.proxyProtocol && header === null) {
      socket.destroy();
      return;
    }
    const stream = wrapTlsSocket(socket, this.#options.tlsVariant());
    this.#serve(header?.ends ? new ProxiedStream(stream, header.ends) : stream, spec, header, () => {});
  }

  #serve(stream: ByteStream, spec: ListenerSpec, header: ProxyHeader | null, onClosed: () => void): void {
    const { connections, environment, table } = this.#options;
    // It was reset before it was accepted, or over TLS as soon as it had done its part of the handshake, and nobody can
    // say by whom. What it sent can be read all the same, and would pass every rule that keeps addresses out.
    if (stream.remoteAddress === '') {
      drop(stream);
      onClosed();
      return;
    }
    if (spec.type === 'tcp') {
      if (table.readsNames(spec.listener ?? '')) this.#passThrough(stream, spec, onClosed);
      else {
        const { listener, address } = this.#whoseTcp(stream, spec);
        const decision = table.refuseTcp(listener, address) ?? table.routeTcp(listener, stream, null);
        this.#tunnel(stream, spec, decision, null, onClosed);
      }
      return;
    }
    const secure = spec.type === 'https';
    const port = header?.ends?.destination.port || (secure ? environment.publicHttpsPort : spec.port);
    // A proxy that hides its client vouches for nothing that the client says about itself.
    const hidden = header !== null && header.ends === null && !header.local;
    const listener = { secure, port, hidden };
    const Engine = stream.tls?.alpn === 'h2' ? Http2Connection : ClientConnection;
    connections.add(
      new Engine(stream, environment, listener, (connection: ServedConnection) => {
        onClosed();
        connections.delete(connection);
      }),
    );
  }

  /** TLS that is passed through goes where its ClientHello says; who may not enter is not listened to. */
  #passThrough(stream: ByteStream, spec: ListenerSpec, onClosed: () => void): void {
    const { connections, environment, table } = this.#options;
    const { listener, address } = this.#whoseTcp(stream, spec);
    const refusal = table.refuseTcp(listener, address);
    if (refusal !== null) {
      this.#tunnel(stream, spec, refusal, null, onClosed);
      return;
    }
    const failed = (why: PrefaceFailure) => {
      const cause = CAUSE_OF_FAILURE[why];
      this.#tunnel(stream, spec, { type: 'refuse', cause, rule: null }, null, onClosed);
    };
    const preface: StreamPreface<ClientHello> = new StreamPreface<ClientHello>(
      stream,
      environment.timers,
      HELLO_MS,
      this.#counted(() => preface, {
        parse: parseClientHello,
        onDone: ({ serverName }, bytes) => {
          const decision = table.routeTcp(listener, stream, serverName);
          const unknown = decision.type === 'refuse' && decision.cause === 'host_unknown';
          const answered = unknown ? { ...decision, lastWords: UNRECOGNIZED_NAME } : decision;
          this.#tunnel(stream, spec, answered, serverName, onClosed);
          giveOn(stream, bytes);
        },
        onFailed: failed,
      }),
    );
    connections.add(preface);
  }

  #tunnel(
    stream: ByteStream,
    spec: ListenerSpec,
    decision: TcpDecision,
    serverName: string | null,
    onClosed: () => void,
  ): void {
    const { connections, environment } = this.#options;
    const request = { ...this.#whoseTcp(stream, spec), port: spec.port, serverName };
    // A refused connection has ended before it could be added.
    let open = true;
    const connection = new TcpConnection(stream, environment, request, decision, (ended) => {
      open = false;
      onClosed();
      connections.delete(ended);
    });
    if (open) connections.add(connection);
  }

  #whoseTcp(stream: ByteStream, spec: ListenerSpec) {
    return { listener: spec.listener ?? '', address: canonicalAddress(stream.remoteAddress) };
  }

  /** The same reading, whose preface is among the connections until it is over. */
  #counted<T>(preface: () => ServedConnection, reading: PrefaceReading<T>): PrefaceReading<T> {
    const { connections } = this.#options;
    // The next owner is there before the preface goes: a process that drains must not find itself empty in between.
    return {
      parse: reading.parse,
      onDone: (value, bytes) => {
        reading.onDone(value, bytes);
        connections.delete(preface());
      },
      onFailed: (why, bytes) => {
        reading.onFailed(why, bytes);
        connections.delete(preface());
      },
    };
  }

  /** Only a trusted proxy may say who its client is. */
  #mayProxy(remoteAddress: string, spec: ListenerSpec): boolean {
    const peer = canonicalAddress(remoteAddress);
    if (this.#options.environment.trusts(peer)) return true;
    this.#refusedPeers.untrusted(peer, spec);
    return false;
  }

  /** A place under `limits.connectionsPerAddress`: null when none is left, empty when nothing limits it. */
  #takePlace(address: () => string): string | null {
    const { environment } = this.#options;
    const limit = environment.limits().connectionsPerAddress;
    if (limit === 0) return '';
    const remote = address();
    // A proxy in front of us brings the connections of many; without an address it is not served at all.
    return remote === '' || environment.trusts(canonicalAddress(remote))
      ? ''
      : this.#addresses.take(remote, limit);
  }

  #closed(place: string): void {
    this.#options.admission.closed();
    if (place !== '') this.#addresses.give(place);
  }

  /** Over HTTP says why before anything was read; the visitor sees it instead of an answer to its first request. */
  #refuse(stream: ByteStream, spec: ListenerSpec): void {
    if (spec.type !== 'http') {
      drop(stream);
      return;
    }
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

function drop(stream: ByteStream): void {
  stream.handler = IGNORE;
  stream.reset();
}

function cut(socket: net.Socket): void {
  // One that is gone already may say so.
  socket.on('error', () => {});
  socket.resetAndDestroy();
}

/** Bytes that came before the engine was there. */
function giveOn(stream: ByteStream, bytes: Buffer): void {
  if (bytes.length > 0 && !stream.closed) stream.handler.onData(bytes, 0, bytes.length);
}

/** Gives each accepted connection to the engine of its listener, and counts it until it ends. */
import type net from 'node:net';
import type tls from 'node:tls';
import type { ListenerSpec } from '../link/messages.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { wrapSocket } from '../stream/net-stream.ts';
import type { TlsFront } from '../tls/tls-front.ts';
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
  /** Does the handshakes of an https socket; never listens itself. By key of the listener. */
  readonly #secureServers = new Map<string, tls.Server>();

  constructor(options: FrontOptions) {
    this.#options = options;
  }

  accept(stream: ByteStream, spec: ListenerSpec): void {
    this.#options.admission.opened();
    this.#serve(stream, spec, () => this.#options.admission.closed());
  }

  /** A connection whose handshake is still to come. */
  acceptSecure(socket: net.Socket, spec: ListenerSpec): void {
    const { admission, connections } = this.#options;
    const handshake: ServedConnection = {
      drain: () => socket.destroy(),
      closeNow: () => socket.destroy(),
    };
    connections.add(handshake);
    socket.once('close', () => {
      admission.closed();
      connections.delete(handshake);
    });
    admission.opened();
    let server = this.#secureServers.get(spec.key);
    if (server === undefined) {
      server = this.#options.tls.createServer((secure) => this.#serve(wrapSocket(secure), spec, () => {}));
      this.#secureServers.set(spec.key, server);
    }
    server.emit('connection', socket);
  }

  /** The listener is gone for good. */
  forget(key: string): void {
    this.#secureServers.get(key)?.close();
    this.#secureServers.delete(key);
  }

  #serve(stream: ByteStream, _spec: ListenerSpec, onClosed: () => void): void {
    const { connections, environment } = this.#options;
    const connection = { drain: () => stream.close(), closeNow: () => stream.reset() };
    connections.add(connection);
    stream.handler = {
      onData: () => {
        const answer = environment.pages.render({
          cause: 'no_table',
          host: '',
          requestId: '',
          accept: undefined,
          retryAfter: 5,
          brand: null,
        });
        stream.write(
          Buffer.from(
            `HTTP/1.1 ${answer.status} Service Unavailable\r\nConnection: close\r\nX-Pid: ${process.pid}\r\nContent-Length: ${answer.body.length}\r\n\r\n`,
          ),
        );
        stream.write(answer.body);
        stream.close();
      },
      onEnd: () => stream.close(),
      onDrain: () => {},
      onClose: () => {
        onClosed();
        connections.delete(connection);
      },
    };
    stream.resume();
  }
}

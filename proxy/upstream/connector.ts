/**
 * How a connection to a backend comes into being. Nothing here resolves names: a target is an IP address or the path
 * of a Unix socket, so no look-up can ever stall the request path.
 */
import net from 'node:net';
import type { SocketVariant } from '../stream/accept.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { KEEP_ALIVE_S } from '../stream/deadlines.ts';
import { connectHandle } from '../stream/handle-connect.ts';
import { socketInternals } from '../stream/internals.ts';
import { STREAM_OPTIONS, wrapSocket } from '../stream/net-stream.ts';
import type { TlsIdentity } from './tls-identity.ts';

/** Where to connect to; `text` is its canonical form (`ip:port`, `[v6]:port`, `unix:/path`). */
export type Target =
  | { readonly type: 'tcp'; readonly host: string; readonly port: number; readonly text: string }
  | { readonly type: 'unix'; readonly path: string; readonly text: string };

/** Exactly one of the two is called, later than `connect` returned, and neither after `abort`. */
export interface ConnectOutcome {
  onConnected(stream: ByteStream): void;
  onConnectFailed(error: Error): void;
}

export interface PendingConnect {
  /** Gives up at once and frees the socket. */
  abort(): void;
}

/** Makes connections, with TLS when there is an identity. Has no time-out of its own: whoever asks calls `abort`. */
export interface Connector {
  connect(target: Target, identity: TlsIdentity | null, outcome: ConnectOutcome): PendingConnect;
}

/** Connects with node:net and node:tls. */
export const netConnector: Connector = {
  connect: (target, identity, outcome) => new NetConnect(target, identity, outcome),
};

/** Connects in the variant of sockets that `variant` says when asked; TLS is node:tls in all of them. */
export function socketConnector(variant: () => SocketVariant): Connector {
  return {
    connect(target, identity, outcome) {
      const node = identity === null && variant() === 'handle' ? socketInternals() : null;
      if (node === null) return netConnector.connect(target, identity, outcome);
      return connectHandle(node, target, outcome);
    },
  };
}

class NetConnect implements PendingConnect {
  readonly #socket: net.Socket;
  #outcome: ConnectOutcome | null;

  constructor(target: Target, identity: TlsIdentity | null, outcome: ConnectOutcome) {
    this.#outcome = outcome;
    const options =
      target.type === 'unix'
        ? { ...STREAM_OPTIONS, path: target.path }
        : { ...STREAM_OPTIONS, host: target.host, port: target.port };
    this.#socket = identity === null ? net.connect(options) : identity.connect(target.text, options);
    this.#socket.once(identity === null ? 'connect' : 'secureConnect', this.#onConnect);
    this.#socket.on('error', this.#onError);
    // A peer may also just close during the handshake.
    this.#socket.on('close', this.#onClose);
    this.#socket.on('end', this.#onClose);
  }

  abort(): void {
    this.#settle();
    // An error on the way out has nobody left to hear it.
    this.#socket.on('error', ignore);
    this.#socket.destroy();
  }

  readonly #onConnect = (): void => {
    const outcome = this.#settle();
    if (outcome === null) return;
    this.#socket.setKeepAlive(true, KEEP_ALIVE_S * 1_000);
    outcome.onConnected(wrapSocket(this.#socket, { onread: true }));
  };

  readonly #onError = (error: Error): void => {
    const outcome = this.#settle();
    this.#socket.on('error', ignore);
    this.#socket.destroy();
    outcome?.onConnectFailed(error);
  };

  readonly #onClose = (): void => this.#onError(new Error('the backend closed the connection at once'));

  #settle(): ConnectOutcome | null {
    const outcome = this.#outcome;
    this.#outcome = null;
    this.#socket.off('connect', this.#onConnect);
    this.#socket.off('secureConnect', this.#onConnect);
    this.#socket.off('error', this.#onError);
    this.#socket.off('close', this.#onClose);
    this.#socket.off('end', this.#onClose);
    return outcome;
  }
}

function ignore(): void {}

/** Connects to an address or a Unix socket without `net.Socket`; see `handle-stream.ts`. */
import type { ByteStream } from './byte-stream.ts';
import { KEEP_ALIVE_S, reportFailure } from './deadlines.ts';
import { wrapHandle } from './handle-stream.ts';
import { type ConnectRequest, type NativeHandle, type SocketInternals, socketError } from './internals.ts';

/** An IP address (never a name) and a port, or the path of a Unix socket. */
export type SocketTarget =
  | { readonly type: 'tcp'; readonly host: string; readonly port: number }
  | { readonly type: 'unix'; readonly path: string };

/** Exactly one of the two is called, later than `connectHandle` returned, and neither after `abort`. */
export interface HandleConnectOutcome {
  onConnected(stream: ByteStream): void;
  onConnectFailed(error: Error): void;
}

export function connectHandle(
  node: SocketInternals,
  target: SocketTarget,
  outcome: HandleConnectOutcome,
): HandleConnect {
  return new HandleConnect(node, target, outcome);
}

export class HandleConnect {
  readonly #node: SocketInternals;
  readonly #handle: NativeHandle;
  readonly #target: SocketTarget;
  #outcome: HandleConnectOutcome | null;

  constructor(node: SocketInternals, target: SocketTarget, outcome: HandleConnectOutcome) {
    this.#node = node;
    this.#target = target;
    this.#outcome = outcome;
    const request = target.type === 'tcp' ? new node.TcpConnectRequest() : new node.PipeConnectRequest();
    request.oncomplete = onConnected;
    request.owner = this;
    let status: number | undefined;
    if (target.type === 'unix') {
      const pipe = node.makePipe();
      this.#handle = pipe;
      status = pipe.connect(request, target.path);
    } else {
      const tcp = node.makeTcp();
      this.#handle = tcp;
      tcp.setNoDelay?.(true);
      tcp.setKeepAlive?.(true, KEEP_ALIVE_S);
      status = target.host.includes(':')
        ? tcp.connect6(request, target.host, target.port)
        : tcp.connect(request, target.host, target.port);
    }
    if (status !== undefined && status !== 0) setImmediate(onRefused, this, status);
  }

  /** Gives up at once and frees the socket. Idempotent, and without effect once the outcome is known. */
  abort(): void {
    if (this.#outcome === null) return;
    this.#outcome = null;
    this.#handle.close();
  }

  completed(status: number): void {
    const outcome = this.#outcome;
    if (outcome === null) return;
    this.#outcome = null;
    if (status === 0) {
      const stream = wrapHandle(this.#node, this.#handle);
      try {
        outcome.onConnected(stream);
      } catch (error) {
        reportFailure(error);
        stream.reset();
      }
      return;
    }
    this.#handle.close();
    try {
      outcome.onConnectFailed(socketError(status, 'connect', ` ${this.#where}`));
    } catch (error) {
      reportFailure(error);
    }
  }

  get #where(): string {
    const target = this.#target;
    return target.type === 'unix' ? target.path : `${target.host}:${target.port}`;
  }
}

function onConnected(this: ConnectRequest, status: number): void {
  const connect = this.owner as HandleConnect;
  this.owner = null;
  connect.completed(status);
}

function onRefused(connect: HandleConnect, status: number): void {
  connect.completed(status);
}

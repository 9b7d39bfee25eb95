/** Streams of what a listening server accepts, in the chosen variant of sockets. */
import net from 'node:net';
import { type ByteStream, IGNORE } from './byte-stream.ts';
import { KEEP_ALIVE_S, reportFailure } from './deadlines.ts';
import { wrapHandle } from './handle-stream.ts';
import { type NativeHandle, socketInternals } from './internals.ts';
import { STREAM_OPTIONS, wrapSocket } from './net-stream.ts';

/**
 * How sockets are made: of Node's handles directly; as `net.Socket` around an accepted handle, so that it receives
 * into memory of ours (`onread`); or by public API alone (`net`). They differ in cost and in what they lean on.
 */
export type SocketVariant = 'handle' | 'onread' | 'net';

interface ListeningHandle {
  onconnection: (error: number, handle: NativeHandle | undefined) => void;
  setNoDelay?(on: boolean): void;
  setKeepAlive?(on: boolean, seconds: number): void;
}

/** Linux gives these options of a listening socket to what it accepts. */
const INHERITS_OPTIONS = process.platform === 'linux';

/**
 * Gives each connection that `server` (listening, `allowHalfOpen`) accepts to `onStream`. Errors of accepting are
 * emitted on the server. Connections do not count in `server.getConnections`, except in variant `net`.
 */
export function acceptStreams(
  server: net.Server,
  onStream: (stream: ByteStream) => void,
  variant: SocketVariant,
): void {
  const give = (stream: ByteStream) => {
    try {
      onStream(stream);
    } catch (failure) {
      reportFailure(failure);
      stream.handler = IGNORE;
      stream.reset();
    }
  };
  const listening = variant === 'net' ? null : listeningHandle(server);
  if (listening === null) {
    server.on('connection', (socket) => {
      socket.setKeepAlive(true, KEEP_ALIVE_S * 1_000);
      give(wrapSocket(socket));
    });
    return;
  }
  const inherits = INHERITS_OPTIONS && listening.setNoDelay !== undefined;
  if (inherits) setOptions(listening);
  const node = variant === 'handle' ? socketInternals() : null;
  listening.onconnection = (error, accepted) => {
    if (error !== 0 || accepted === undefined) {
      server.emit('error', new Error(`cannot accept a connection (libuv error ${error})`));
      return;
    }
    if (!inherits) setOptions(accepted);
    give(node === null ? socketOf(accepted) : wrapHandle(node, accepted));
  };
}

function setOptions(handle: Pick<ListeningHandle, 'setNoDelay' | 'setKeepAlive'>): void {
  // Not on Unix sockets.
  handle.setNoDelay?.(true);
  handle.setKeepAlive?.(true, KEEP_ALIVE_S);
}

function socketOf(handle: NativeHandle): ByteStream {
  const options = { ...STREAM_OPTIONS, handle };
  return wrapSocket(new net.Socket(options as net.SocketConstructorOpts), { onread: true });
}

function listeningHandle(server: net.Server): ListeningHandle | null {
  const handle = (server as { _handle?: Partial<ListeningHandle> | null })._handle;
  return typeof handle?.onconnection === 'function' ? (handle as ListeningHandle) : null;
}

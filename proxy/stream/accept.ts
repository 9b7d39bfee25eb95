/**
 * Streams of what a listening server accepts. The fast way makes the socket itself, so that it receives into memory
 * of ours; it leans on two internals of Node, is checked once at start, and the public way stands behind it.
 */
import net from 'node:net';
import type { ByteStream } from './byte-stream.ts';
import { STREAM_OPTIONS, wrapSocket } from './net-stream.ts';

/** What is used of the handle behind a server or an accepted connection. */
interface AcceptedHandle {
  /** Not on Unix sockets. */
  setNoDelay?(on: boolean): void;
  setKeepAlive?(on: boolean, seconds: number): void;
  close(): void;
}
interface ListeningHandle {
  onconnection: (error: number, handle: AcceptedHandle | undefined) => void;
}

export type AcceptMode = 'handle' | 'public';

/** Seconds of silence after which the kernel asks whether the peer is still there. */
const KEEP_ALIVE_S = 60;

/**
 * Gives each connection that `server` (listening, `allowHalfOpen`) accepts to `onStream`. Errors of accepting are
 * emitted on the server as before. Connections accepted by mode `handle` do not count in `server.getConnections`.
 */
export function acceptStreams(
  server: net.Server,
  onStream: (stream: ByteStream) => void,
  mode: AcceptMode,
): void {
  const handle = mode === 'handle' ? listeningHandle(server) : null;
  if (handle === null) {
    server.on('connection', (socket) => {
      socket.setKeepAlive(true, KEEP_ALIVE_S * 1_000);
      onStream(wrapSocket(socket));
    });
    return;
  }
  handle.onconnection = (error, accepted) => {
    if (error !== 0 || accepted === undefined) {
      server.emit('error', new Error(`cannot accept a connection (libuv error ${error})`));
      return;
    }
    accepted.setNoDelay?.(true);
    accepted.setKeepAlive?.(true, KEEP_ALIVE_S);
    const options = { ...STREAM_OPTIONS, handle: accepted };
    onStream(wrapSocket(new net.Socket(options as net.SocketConstructorOpts), { onread: true }));
  };
}

function listeningHandle(server: net.Server): ListeningHandle | null {
  const handle = (server as { _handle?: Partial<ListeningHandle> | null })._handle;
  return typeof handle?.onconnection === 'function' ? (handle as ListeningHandle) : null;
}

/** Finds out which mode works in this Node: one connection over loopback, a byte each way. Never rejects. */
export function chooseAcceptMode(timeoutMs = 2_000): Promise<AcceptMode> {
  return new Promise((resolve) => {
    const server = net.createServer({ allowHalfOpen: true });
    let client: net.Socket | null = null;
    const finish = (mode: AcceptMode) => {
      clearTimeout(timer);
      client?.destroy();
      server.close();
      resolve(mode);
    };
    const timer = setTimeout(() => finish('public'), timeoutMs);
    server.on('error', () => finish('public'));
    server.listen(0, '127.0.0.1', () => {
      try {
        acceptStreams(server, echoOnce, 'handle');
        client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
        client.on('error', () => finish('public'));
        client.on('close', () => finish('public'));
        client.once('data', (data) => finish(data.toString() === '?' ? 'handle' : 'public'));
        client.write('?');
      } catch {
        finish('public');
      }
    });
  });
}

function echoOnce(stream: ByteStream): void {
  stream.handler = {
    onData(buffer, start, end) {
      stream.write(Buffer.from(buffer.subarray(start, end)));
      stream.close();
    },
    onEnd() {},
    onDrain() {},
    onClose() {},
  };
}

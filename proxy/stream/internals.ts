/**
 * What Node's own sockets are made of, as far as `handle-stream.ts` uses it. The only file that knows where it is
 * found. Answers null where anything of it is missing, and then sockets are made by the public API.
 */
import net from 'node:net';
import type { TLSSocket } from 'node:tls';
import { getSystemErrorName } from 'node:util';

/** libuv's number for the end of a stream, the same everywhere. */
export const EOF = -4095;

/** Who hears what happens on a handle. */
export interface HandleOwner {
  /** `count` bytes were read; answers what to receive into next, undefined for the same. */
  received(count: number): Buffer | undefined;
  /** The peer has ended its side, or the connection broke. */
  readEnded(status: number): void;
  /** It broke above the socket. */
  broken(error: Error): void;
}

/** What a connection is driven by. Methods answer 0 or a negative error of libuv. */
export interface SocketHandle {
  /**
   * Whose it is; set by us. Null again in the end, here and in requests: V8's young generation takes objects of
   * native code for live until the next full collection, and whatever they lead to survives with them.
   */
  owner: object | null;
  /** Bytes that wait in libuv. */
  readonly writeQueueSize: number;
  /** What is written has been copied when the call returns, though the write goes on. */
  readonly copies?: true;
  readStart(): number;
  readStop(): number;
  /** Tries at once; `LAST_WRITE_WAS_ASYNC` of the state says whether the request is needed for the rest. */
  writeBuffer(request: WriteRequest, buffer: Buffer): number;
  writev(request: WriteRequest, chunks: readonly Buffer[], allBuffers: true): number;
  shutdown(request: ShutdownRequest): number;
  close(): void;
  // From here on only over TCP.
  setNoDelay?(on: boolean): number;
  setKeepAlive?(on: boolean, seconds: number): number;
  getpeername?(out: SocketName): number;
  getsockname?(out: SocketName): number;
  /** Closes with a reset. Refused while a FIN is under way, and then the handle could never be closed again. */
  reset?(): number;
}

/** A connection as Node's native code has it. */
export interface NativeHandle extends SocketHandle {
  /** Only ever a function: anything else ends the process at the next read. Answers what to receive into next. */
  onread: (this: NativeHandle) => Buffer | undefined;
  useUserBuffer(buffer: Buffer): void;
}

/** What a `TLSSocket` is made of. It copies what it is given to write, and never takes a second write before the first is over. */
export interface TlsWrap extends SocketHandle {
  onread: (this: TlsWrap) => Buffer | undefined;
  useUserBuffer(buffer: Buffer): void;
  onerror: (this: TlsWrap, error: Error) => void;
  onhandshakestart: () => void;
  onhandshakedone: () => void;
  getpeername(out: SocketName): number;
  getsockname(out: SocketName): number;
  readonly _parentWrap: net.Socket;
}

export interface SocketName {
  address?: string;
  port?: number;
}

/** Lives in libuv from an asynchronous write until `oncomplete`, and holds what is being written. */
export interface WriteRequest {
  oncomplete: ((this: WriteRequest, status: number) => void) | null;
  owner: object | null;
  held: unknown;
}

export interface ShutdownRequest {
  oncomplete: (this: ShutdownRequest, status: number) => void;
  owner: object | null;
}

export interface ConnectRequest {
  oncomplete: (this: ConnectRequest, status: number) => void;
  owner: object | null;
}

export interface ConnectingHandle extends NativeHandle {
  connect(request: ConnectRequest, host: string, port: number): number;
  connect6(request: ConnectRequest, host: string, port: number): number;
}

export interface ConnectingPipe extends NativeHandle {
  connect(request: ConnectRequest, path: string): number | undefined;
}

export interface SocketInternals {
  makeTcp(): ConnectingHandle;
  makePipe(): ConnectingPipe;
  readonly WriteRequest: new () => WriteRequest;
  readonly ShutdownRequest: new () => ShutdownRequest;
  readonly TcpConnectRequest: new () => ConnectRequest;
  readonly PipeConnectRequest: new () => ConnectRequest;
  /** Results of the call or event at hand, at the indexes below. */
  readonly state: { readonly [index: number]: number };
  /** Bytes read, or the error. */
  readonly readBytes: number;
  readonly lastWriteWasAsync: number;
}

/** What Node would say of this failure of libuv. */
export function socketError(status: number, syscall: string, where = ''): NodeJS.ErrnoException {
  const code = getSystemErrorName(status);
  return Object.assign(new Error(`${syscall} ${code}${where}`), { code, errno: status, syscall });
}

/** Releases of Node under which the tests of this folder have run; others begin with `onread`. */
const KNOWN_MAJORS: readonly number[] = [20, 22, 24, 26];

const STREAM_METHODS = [
  'useUserBuffer',
  'readStart',
  'readStop',
  'writeBuffer',
  'writev',
  'shutdown',
] as const;
const METHODS = [...STREAM_METHODS, 'close', 'connect'] as const;
const TCP_METHODS = [
  ...METHODS,
  'connect6',
  'setNoDelay',
  'setKeepAlive',
  'getpeername',
  'getsockname',
  'reset',
] as const;

let known: SocketInternals | null | undefined;

/** Null when this Node has not all that is needed. Found out once; opens nothing. */
export function socketInternals(): SocketInternals | null {
  if (known === undefined) {
    try {
      known = KNOWN_MAJORS.includes(Number.parseInt(process.versions.node, 10)) ? find() : null;
    } catch {
      known = null;
    }
  }
  return known;
}

function find(): SocketInternals | null {
  // Deprecated on paper (DEP0111) and silent unless Node runs with --pending-deprecation.
  const { binding } = process as unknown as { binding?: (name: string) => Record<string, unknown> };
  if (typeof binding !== 'function') return null;
  const { TCP, TCPConnectWrap, constants: tcp } = binding('tcp_wrap');
  const { Pipe, PipeConnectWrap, constants: pipe } = binding('pipe_wrap');
  const { WriteWrap, ShutdownWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync } =
    binding('stream_wrap');
  const made = [TCP, TCPConnectWrap, Pipe, PipeConnectWrap, WriteWrap, ShutdownWrap];
  if (!made.every((wanted) => typeof wanted === 'function')) return null;
  const tcpType = (tcp as { SOCKET?: unknown } | undefined)?.SOCKET;
  const pipeType = (pipe as { SOCKET?: unknown } | undefined)?.SOCKET;
  const numbers = [tcpType, pipeType, kReadBytesOrError, kLastWriteWasAsync];
  if (!numbers.every((number) => Number.isInteger(number))) return null;
  if (!ArrayBuffer.isView(streamBaseState)) return null;
  const makeTcp = () => new (TCP as new (type: unknown) => ConnectingHandle)(tcpType);
  const makePipe = () => new (Pipe as new (type: unknown) => ConnectingPipe)(pipeType);
  if (!hasAll(makeTcp(), TCP_METHODS) || !hasAll(makePipe(), METHODS)) return null;
  return {
    makeTcp,
    makePipe,
    WriteRequest: WriteWrap as SocketInternals['WriteRequest'],
    ShutdownRequest: ShutdownWrap as SocketInternals['ShutdownRequest'],
    TcpConnectRequest: TCPConnectWrap as SocketInternals['TcpConnectRequest'],
    PipeConnectRequest: PipeConnectWrap as SocketInternals['PipeConnectRequest'],
    state: streamBaseState as unknown as SocketInternals['state'],
    readBytes: kReadBytesOrError as number,
    lastWriteWasAsync: kLastWriteWasAsync as number,
  };
}

function hasAll(handle: SocketHandle, methods: readonly string[]): boolean {
  const complete =
    methods.every((name) => typeof (handle as unknown as Record<string, unknown>)[name] === 'function') &&
    handle.writeQueueSize === 0;
  handle.close();
  return complete;
}

const TLS_METHODS = [...STREAM_METHODS, 'getpeername', 'getsockname'] as const;
const TLS_CALLBACKS = ['onerror', 'onhandshakestart', 'onhandshakedone'] as const;

/** The native side of a connection; null where it is not as it is known, or anything has been read or written. */
export function tlsWrapOf(socket: TLSSocket): TlsWrap | null {
  const wrap = (socket as { _handle?: Partial<TlsWrap> | null })._handle;
  if (wrap === null || wrap === undefined || !(wrap._parentWrap instanceof net.Socket)) return null;
  for (const name of TLS_METHODS) if (typeof wrap[name] !== 'function') return null;
  for (const name of TLS_CALLBACKS) if (typeof wrap[name] !== 'function') return null;
  if (socket.readableLength !== 0 || socket.writableLength !== 0 || socket.destroyed) return null;
  return wrap as TlsWrap;
}

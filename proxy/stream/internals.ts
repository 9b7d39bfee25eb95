/**
 * What Node's own sockets are made of, as far as `handle-stream.ts` uses it. The only file that knows where it is
 * found. Answers null where anything of it is missing, and then sockets are made by the public API.
 */
import { getSystemErrorName } from 'node:util';

/** A connection as libuv has it: the handle below a `net.Socket`. Methods answer 0 or a negative error of libuv. */
export interface SocketHandle {
  /**
   * Whose it is; set by us. Null again in the end, here and in requests: V8's young generation takes objects of
   * native code for live until the next full collection, and whatever they lead to survives with them.
   */
  owner: object | null;
  /** Only ever a function: anything else ends the process at the next read. Answers what to receive into next. */
  onread: (this: SocketHandle) => Buffer | undefined;
  /** Bytes that wait in libuv. */
  readonly writeQueueSize: number;
  useUserBuffer(buffer: Buffer): void;
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

export interface ConnectingHandle extends SocketHandle {
  connect(request: ConnectRequest, host: string, port: number): number;
  connect6(request: ConnectRequest, host: string, port: number): number;
}

export interface ConnectingPipe extends SocketHandle {
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

const METHODS = [
  'useUserBuffer',
  'readStart',
  'readStop',
  'writeBuffer',
  'writev',
  'shutdown',
  'close',
  'connect',
] as const;
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

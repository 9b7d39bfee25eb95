/**
 * Passes listening sockets between processes that are not parent and child, over a Unix socket (SCM_RIGHTS): lines
 * of text both ways, each with a socket if wanted. The only file that uses Node's internal pipes, which the public
 * API gives to forked children alone. Where they are missing or refuse, every function here answers null.
 *
 * One line at a time: whoever asks waits for the answer, so a socket always belongs to the line it came with.
 */
import type net from 'node:net';

/** Longer lines are nonsense. */
const MAX_LINE = 4_096;
/**
 * Connections that one process turns into channels in its life. Their descriptors stay open until it ends: two of
 * Node's handles know each, and closing either would leave the other with a number that means something else soon.
 */
const MAX_ADOPTED = 4;

/** A listening socket as Node's internals see it. */
export interface PassedHandle {
  getsockname(out: { address?: string; port?: number }): number;
  close(): void;
}

export interface ChannelEvents {
  /** A complete line without its end. Who takes the handle owns it. */
  onLine(line: string, handle: PassedHandle | null): void;
  /** The other side is gone, or talks nonsense. At most once, and never after `close()`. */
  onEnd(): void;
}

export interface HandleChannel {
  /** False when it cannot be sent. The handle stays open here; the other side gets a copy. */
  send(line: string, handle?: PassedHandle): boolean;
  /** Idempotent. */
  close(): void;
}

interface InternalPipe {
  onread: (chunk: ArrayBuffer | undefined) => void;
  pendingHandle?: PassedHandle | null | undefined;
  open(fd: number): number | undefined;
  connect(request: object, path: string): number;
  readStart(): number;
  readStop(): number;
  writeUtf8String(request: object, text: string, handle?: PassedHandle): number;
  shutdown(request: object): number;
  close(): void;
  unref(): void;
}

interface Internals {
  /** What child_process makes for the channel of a forked process. */
  makePipe(): InternalPipe;
  readonly ConnectRequest: new () => { oncomplete?: (status: number) => void };
  readonly WriteRequest: new () => { oncomplete?: (status: number) => void };
  readonly ShutdownRequest: new () => { oncomplete?: (status: number) => void };
  /** Bytes read or the error, and where they begin: of the read that is being reported. */
  readonly state: { readonly [index: number]: number };
  readonly readBytes: number;
  readonly offset: number;
}

/** Whether this Node has all that is needed. Found out once; opens nothing. */
export function canPassHandles(): boolean {
  return internals() !== null;
}

/** Connects to a process that passes sockets on. Null when this Node cannot; a refusal is told by `onEnd`. */
export function connectChannel(path: string, events: ChannelEvents): HandleChannel | null {
  const node = internals();
  if (node === null) return null;
  try {
    const pipe = node.makePipe();
    const channel = new Channel(node, pipe, events, () => pipe.close());
    const request = new node.ConnectRequest();
    request.oncomplete = (status) => channel.connected(status === 0);
    if (pipe.connect(request, path) === 0) return channel;
    channel.close();
    return null;
  } catch {
    return null;
  }
}

/**
 * Goes on with a connection that a `net.Server` accepted, from which nothing more is read by then. Null when this
 * Node cannot; the socket is as it was then. Else it belongs to the channel and must not be touched any more.
 */
export function adoptChannel(socket: net.Socket, events: ChannelEvents): HandleChannel | null {
  const node = internals();
  const raw = (socket as unknown as { _handle?: { fd?: number; readStop?: () => number } | null })._handle;
  if (node === null || adopted.length >= MAX_ADOPTED) return null;
  if (typeof raw?.fd !== 'number' || raw.fd < 0 || typeof raw.readStop !== 'function') return null;
  try {
    const pipe = node.makePipe();
    socket.pause();
    // A descriptor can be opened a second time only while nobody waits for its events.
    raw.readStop();
    const error = pipe.open(raw.fd);
    if (error !== undefined && error !== 0) {
      pipe.close();
      socket.resume();
      return null;
    }
    socket.removeAllListeners();
    socket.setTimeout(0);
    socket.on('error', () => {});
    adopted.push({ socket, pipe });
    pipe.unref();
    const channel = new Channel(node, pipe, events, () => {
      pipe.readStop();
      pipe.shutdown(new node.ShutdownRequest());
    });
    channel.connected(true);
    return channel;
  } catch {
    return null;
  }
}
/** Kept from the garbage collector, see MAX_ADOPTED. */
const adopted: { readonly socket: net.Socket; readonly pipe: InternalPipe }[] = [];

class Channel implements HandleChannel {
  readonly #node: Internals;
  readonly #pipe: InternalPipe;
  readonly #events: ChannelEvents;
  readonly #release: () => void;
  /** Said before the connection was there. */
  #early: [string, PassedHandle | undefined][] | null = [];
  #text = '';
  #handle: PassedHandle | null = null;
  #closed = false;

  constructor(node: Internals, pipe: InternalPipe, events: ChannelEvents, release: () => void) {
    this.#node = node;
    this.#pipe = pipe;
    this.#events = events;
    this.#release = release;
    pipe.onread = (chunk) => this.#read(chunk);
  }

  connected(success: boolean): void {
    if (this.#closed) return;
    if (!success) {
      this.#end();
      return;
    }
    this.#pipe.readStart();
    const early = this.#early ?? [];
    this.#early = null;
    for (const [line, handle] of early) this.send(line, handle);
  }

  send(line: string, handle?: PassedHandle): boolean {
    if (this.#closed) return false;
    if (this.#early !== null) {
      this.#early.push([line, handle]);
      return true;
    }
    try {
      const request = new this.#node.WriteRequest();
      request.oncomplete = () => {};
      const text = `${line}\n`;
      const error =
        handle === undefined
          ? this.#pipe.writeUtf8String(request, text)
          : this.#pipe.writeUtf8String(request, text, handle);
      return error === 0;
    } catch {
      return false;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle?.close();
    this.#handle = null;
    try {
      this.#release();
    } catch {
      // Not connected any more.
    }
  }

  #end(): void {
    if (this.#closed) return;
    this.close();
    this.#events.onEnd();
  }

  #read(chunk: ArrayBuffer | undefined): void {
    const handle = this.#pipe.pendingHandle ?? null;
    this.#pipe.pendingHandle = null;
    if (this.#closed) {
      handle?.close();
      return;
    }
    if (handle !== null) {
      this.#handle?.close();
      this.#handle = handle;
    }
    if (chunk === undefined) {
      this.#end();
      return;
    }
    const { state, readBytes, offset } = this.#node;
    this.#text += Buffer.from(chunk, state[offset], state[readBytes]).toString('latin1');
    const end = this.#text.indexOf('\n');
    if (end < 0 && this.#text.length <= MAX_LINE) return;
    // More than the one line that may be under way: not our protocol.
    if (end !== this.#text.length - 1 || end > MAX_LINE) {
      this.#end();
      return;
    }
    const line = this.#text.slice(0, end);
    const taken = this.#handle;
    this.#text = '';
    this.#handle = null;
    this.#events.onLine(line, taken);
  }
}

let known: Internals | null | undefined;
function internals(): Internals | null {
  if (known === undefined) {
    try {
      known = findInternals();
    } catch {
      known = null;
    }
  }
  return known;
}

/** The self-test: everything named here has to be what it was when this was written. */
function findInternals(): Internals | null {
  // Deprecated on paper (DEP0111) and silent unless Node runs with --pending-deprecation.
  const { binding } = process as unknown as { binding?: (name: string) => Record<string, unknown> };
  if (typeof binding !== 'function') return null;
  const { Pipe, PipeConnectWrap, constants } = binding('pipe_wrap');
  const { WriteWrap, ShutdownWrap, streamBaseState, kReadBytesOrError, kArrayBufferOffset } =
    binding('stream_wrap');
  const type = (constants as { IPC?: unknown } | undefined)?.IPC;
  if (![Pipe, PipeConnectWrap, WriteWrap, ShutdownWrap].every((made) => typeof made === 'function'))
    return null;
  if (![type, kReadBytesOrError, kArrayBufferOffset].every((index) => Number.isInteger(index))) return null;
  if (!ArrayBuffer.isView(streamBaseState)) return null;
  const makePipe = () => new (Pipe as new (type: unknown) => InternalPipe)(type);
  const probe = makePipe();
  const complete = METHODS.every((name) => typeof probe[name] === 'function');
  probe.close();
  if (!complete) return null;
  return {
    makePipe,
    ConnectRequest: PipeConnectWrap as Internals['ConnectRequest'],
    WriteRequest: WriteWrap as Internals['WriteRequest'],
    ShutdownRequest: ShutdownWrap as Internals['ShutdownRequest'],
    state: streamBaseState as unknown as Internals['state'],
    readBytes: kReadBytesOrError as number,
    offset: kArrayBufferOffset as number,
  };
}
const METHODS = [
  'open',
  'connect',
  'readStart',
  'readStop',
  'writeUtf8String',
  'shutdown',
  'close',
  'unref',
] as const;

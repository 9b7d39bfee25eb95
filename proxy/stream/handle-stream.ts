/**
 * `ByteStream` over Node's socket handles, without `net.Socket` in between: half the cost of a new connection. Same
 * promises as the other variants, held to by the same conformance suite. Leans on `internals.ts`; only sockets that
 * `socket-variant.ts` has tried out in this process are made of it.
 */
import { constants } from 'node:os';
import { BLOCK_SIZE, isOwnedBlock, returnBlock, sharedBlock, takeBlock } from './blocks.ts';
import { type ByteStream, type ByteStreamHandler, IGNORE } from './byte-stream.ts';
import {
  HIGH_WATER,
  LAST_WORDS_ROUNDS,
  LINGER_MS,
  PROBE_MS,
  reportFailure,
  STALL_MS,
  timers,
} from './deadlines.ts';
import { HandleWriter, type WriterOwner } from './handle-writer.ts';
import {
  EOF,
  type HandleOwner,
  type NativeHandle,
  type ShutdownRequest,
  type SocketHandle,
  type SocketInternals,
  type SocketName,
  socketError,
} from './internals.ts';
import type { Timed } from './timer-wheel.ts';

const NOT_CONNECTED = -constants.errno.ENOTCONN;
/**
 * A read that fills the block means that more is waiting: from then on the stream receives into a block of its own,
 * until it has read all there was. An idle connection holds none.
 */
const BULK = BLOCK_SIZE;
const EMPTY = Buffer.alloc(0);
/** Closed inside a call of their owner, which hears of it after that. */
let closings: HandleStream[] = [];
const name: SocketName = {};

/** Makes a stream of a connected handle that nobody else uses. Its handler is `IGNORE` at first; it reads at once. */
export function wrapHandle(node: SocketInternals, handle: NativeHandle): ByteStream {
  handle.onread = onRead;
  handle.useUserBuffer(sharedBlock);
  return new HandleStream(node, handle, null);
}

/** The same over one that hears of reads itself and tells its owner. */
export function wrapTls(node: SocketInternals, handle: SocketHandle, tls: ByteStream['tls']): ByteStream {
  return new HandleStream(node, handle, tls);
}

class HandleStream implements ByteStream, Timed, HandleOwner, WriterOwner {
  handler: ByteStreamHandler = IGNORE;
  timerDue = 0;
  timerQueued = false;
  timerSlot = 0;
  timerPlace = 0;
  closed = false;
  readonly tls: ByteStream['tls'];
  readonly node: SocketInternals;
  readonly #handle: SocketHandle;
  /** Where bulk data is received; null for the shared block. */
  #block: Buffer | null = null;
  #remoteAddress: string | null = null;
  #remotePort = 0;
  readonly #writer: HandleWriter;
  /** Our side takes no more: it is ended, or a write failed. */
  #finished = false;
  #shutting = false;
  #shut = false;
  #paused = false;
  /** The peer has ended its side. */
  #ended = false;
  /** The owner is done: nothing but `onClose` is reported any more. */
  #closing = false;
  #closeWhenSent = false;
  #waiting = false;
  #error: Error | null = null;
  /** Why a write failed, while the end is put off until the peer's last words are read. */
  #writeError: Error | null = null;
  #roundsLeft = 0;
  #lingerMs = 0;
  #stalledMs = 0;
  #lastPending = -1;

  constructor(node: SocketInternals, handle: SocketHandle, tls: ByteStream['tls']) {
    this.node = node;
    this.tls = tls;
    this.#handle = handle;
    this.#writer = new HandleWriter(node, handle, this);
    handle.owner = this;
    this.#startReading();
  }

  get remoteAddress(): string {
    if (this.#remoteAddress === null) this.#lookUpPeer();
    return this.#remoteAddress ?? '';
  }

  get remotePort(): number {
    if (this.#remoteAddress === null) this.#lookUpPeer();
    return this.#remotePort;
  }

  get localAddress(): string {
    return this.#knowsOwnName() ? (name.address ?? '') : '';
  }

  get localPort(): number {
    return this.#knowsOwnName() ? (name.port ?? 0) : 0;
  }

  get pendingBytes(): number {
    return this.closed ? 0 : this.#writer.pendingBytes;
  }

  write(chunk: Buffer): boolean {
    if (this.#finished) return true;
    this.#writer.write(chunk);
    return this.#belowMark();
  }

  writeShared(buffer: Buffer, start: number, end: number): boolean {
    if (this.#finished || start === end) return true;
    this.#writer.writeShared(buffer, start, end);
    return this.#belowMark();
  }

  writeAll(chunks: readonly Buffer[]): boolean {
    if (this.#finished || chunks.length === 0) return true;
    this.#writer.writeAll(chunks);
    return this.#belowMark();
  }

  pause(): void {
    if (this.#paused || this.#closing || this.closed || this.#writeError !== null) return;
    this.#paused = true;
    if (!this.#ended) this.#handle.readStop();
    this.#startTimer(PROBE_MS);
  }

  resume(): void {
    if (!this.#paused || this.#closing || this.closed) return;
    this.#paused = false;
    if (this.#ended) return;
    timers.clear(this);
    this.#startReading();
  }

  end(): void {
    if (this.#finished || this.closed) return;
    this.#finished = true;
    if (!this.#writer.busy) this.#shutDown();
  }

  close(lingerMs: number = LINGER_MS): void {
    if (this.#closing || this.closed) return;
    this.#closing = true;
    this.#lingerMs = LINGER_MS;
    if (lingerMs <= 0 || this.#ended || this.#writeError !== null) {
      this.#finished = true;
      if (!this.#writer.busy) {
        // The kernel sends the FIN.
        this.#closeSoon(this.#writeError);
        return;
      }
      this.#closeWhenSent = true;
    } else {
      this.#lingerMs = lingerMs;
      if (!this.#finished) {
        this.#finished = true;
        if (!this.#writer.busy) this.#shutDown();
      }
    }
    // What still comes is read and dropped: the FIN of the peer stands behind it.
    if (this.#paused && !this.#ended) this.#startReading();
    this.#paused = false;
    this.#startTimer(this.#lingerMs);
  }

  reset(): void {
    if (this.closed) return;
    this.#closing = true;
    const handle = this.#handle;
    // Pipes have no reset, and with a FIN under way libuv refuses it.
    const resettable = handle.reset !== undefined && !this.#shutting;
    this.#closeSoon(null, resettable);
  }

  // From libuv.

  received(count: number): Buffer | undefined {
    if (this.#writeError !== null) this.#roundsLeft = LAST_WORDS_ROUNDS;
    const block = this.#block;
    if (!this.#closing) {
      try {
        this.handler.onData(block ?? sharedBlock, 0, count);
      } catch (error) {
        this.#crashed(error);
      }
    }
    if (block === null && count < BULK) return undefined;
    if (block !== null && (count < BULK || !isOwnedBlock(block))) {
      returnBlock(block);
      this.#block = null;
    }
    if (count >= BULK && !this.closed) this.#block ??= takeBlock();
    return this.#block === block ? undefined : (this.#block ?? sharedBlock);
  }

  readEnded(status: number): void {
    if (this.closed) return;
    if (status !== EOF) {
      this.#closeNow(this.#writeError ?? socketError(status, 'read'));
      return;
    }
    this.#ended = true;
    if (!this.#closing) {
      this.#startTimer(PROBE_MS);
      try {
        this.handler.onEnd();
      } catch (error) {
        this.#crashed(error);
      }
    }
    if (this.#shut) this.#closeNow(null);
  }

  broken(error: Error): void {
    if (!this.closed) this.#closeNow(this.#writeError ?? error);
  }

  allWritten(): void {
    if (this.closed || this.#writeError !== null) return;
    if (this.#closeWhenSent) {
      this.#closeNow(null);
      return;
    }
    if (this.#finished) this.#shutDown();
    if (!this.#waiting || this.#closing) return;
    this.#waiting = false;
    try {
      this.handler.onDrain();
    } catch (error) {
      this.#crashed(error);
    }
  }

  /**
   * A peer that refuses the rest and closes has often said why, and its words stand in the kernel's buffer: they are
   * read before the connection is given up.
   */
  writeFailed(status: number): void {
    const error = socketError(status, 'write');
    this.#finished = true;
    this.#writer.discard();
    if (this.#writeError !== null || this.#closing || this.#ended) {
      this.#closeSoon(this.#writeError ?? error);
      return;
    }
    this.#writeError = error;
    this.#roundsLeft = LAST_WORDS_ROUNDS;
    this.resume();
    setImmediate(endAfterReading, this);
  }

  /** Our FIN has left, or could not. */
  shutDone(): void {
    this.#shutting = false;
    this.#shut = true;
    if (this.#ended) this.#closeNow(null);
  }

  onTimeout(): void {
    try {
      this.#deadlinePassed();
    } catch (error) {
      this.#crashed(error);
    }
  }

  #deadlinePassed(): void {
    if (this.closed) return;
    if (!this.#closing) {
      if (!this.#paused && !this.#ended) return;
      if (!this.#writer.busy && !this.#finished) this.#writer.write(EMPTY);
      if (!this.closed) timers.set(this, PROBE_MS);
      return;
    }
    const pending = this.pendingBytes;
    this.#stalledMs = pending === this.#lastPending ? this.#stalledMs + this.#lingerMs : 0;
    this.#lastPending = pending;
    // Pending bytes get their time as long as they move; after them, the peer gets `lingerMs` to end its side.
    if (this.#stalledMs >= (pending === 0 ? this.#lingerMs : STALL_MS)) this.#closeNow(null);
    else timers.set(this, this.#lingerMs);
  }

  /** Once per round of the event loop after a write failed; what had arrived before was read in between. */
  roundPassed(): void {
    if (this.closed) return;
    if (this.#roundsLeft-- > 0) setImmediate(endAfterReading, this);
    else this.#closeNow(this.#writeError);
  }

  /** Everything is closed; the owner hears of it. */
  announce(): void {
    timers.remove(this);
    if (this.#block !== null) returnBlock(this.#block);
    this.#block = null;
    this.#writer.discard();
    const { handler } = this;
    this.handler = IGNORE;
    try {
      handler.onClose(this.#error);
    } catch (error) {
      reportFailure(error);
    }
  }

  #belowMark(): boolean {
    if (!this.#writer.busy || this.pendingBytes <= HIGH_WATER) return true;
    this.#waiting = true;
    return false;
  }

  #shutDown(): void {
    if (this.#shutting || this.#shut) return;
    const request = new this.node.ShutdownRequest();
    request.oncomplete = onShutDown;
    request.owner = this;
    this.#shutting = true;
    const status = this.#handle.shutdown(request);
    if (status === 0) return;
    // Not connected any more, or done at once.
    this.#shutting = false;
    this.#shut = true;
    if (this.#ended || (status < 0 && status !== NOT_CONNECTED)) {
      this.#closeSoon(status < 0 && status !== NOT_CONNECTED ? socketError(status, 'shutdown') : null);
    }
  }

  // Reading and ending.

  #startReading(): void {
    const status = this.#handle.readStart();
    if (status < 0) this.#closeSoon(socketError(status, 'read'));
  }

  #lookUpPeer(): void {
    this.#remoteAddress = '';
    if (this.closed || this.#handle.getpeername?.(name) !== 0) return;
    this.#remoteAddress = name.address ?? '';
    this.#remotePort = name.port ?? 0;
  }

  /** Asks anew each time; nobody asks twice. The answer stands in `name`. */
  #knowsOwnName(): boolean {
    return !this.closed && this.#handle.getsockname?.(name) === 0;
  }

  #startTimer(ms: number): void {
    timers.start();
    timers.set(this, ms);
  }

  /** An exception of the owner ends this stream and nothing else. */
  #crashed(error: unknown): void {
    reportFailure(error);
    this.reset();
  }

  /** From inside a method of the stream. */
  #closeSoon(error: Error | null, reset = false): void {
    if (!this.#shutHandle(error, reset)) return;
    if (closings.push(this) === 1) setImmediate(announceAll);
  }

  /** From an event. */
  #closeNow(error: Error | null): void {
    if (this.#shutHandle(error, false)) this.announce();
  }

  #shutHandle(error: Error | null, reset: boolean): boolean {
    if (this.closed) return false;
    this.closed = true;
    this.#finished = true;
    this.#error = error;
    if (reset) this.#handle.reset?.();
    else this.#handle.close();
    this.#handle.owner = null;
    return true;
  }
}

function onRead(this: NativeHandle): Buffer | undefined {
  const stream = this.owner as HandleStream | null;
  if (stream === null) return undefined;
  const { node } = stream;
  const count = node.state[node.readBytes] as number;
  if (count > 0) return stream.received(count);
  if (count < 0) stream.readEnded(count);
  return undefined;
}

function onShutDown(this: ShutdownRequest): void {
  const stream = this.owner as HandleStream;
  this.owner = null;
  if (!stream.closed) stream.shutDone();
}

function endAfterReading(stream: HandleStream): void {
  stream.roundPassed();
}

function announceAll(): void {
  const ended = closings;
  closings = [];
  for (const stream of ended) stream.announce();
}

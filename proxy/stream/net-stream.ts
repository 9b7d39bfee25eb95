/**
 * `ByteStream` over Node's sockets, by public API: net.Socket and tls.TLSSocket. A socket made with `STREAM_OPTIONS`
 * reads into memory of ours, without an allocation per read; any other one works too, through its `data` events.
 */
import net from 'node:net';
import { TLSSocket } from 'node:tls';
import { BLOCK_SIZE, isOwnedBlock, keepBlock, returnBlock, takeBlock } from './blocks.ts';
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
import type { Timed } from './timer-wheel.ts';
import { tlsFacts } from './tls-facts.ts';

export { IGNORE } from './byte-stream.ts';
export { HIGH_WATER } from './deadlines.ts';

/**
 * A read that fills the block means that more is waiting: from then on the stream receives into a block of its own,
 * until it has read all there was. An idle connection holds none.
 */
const BULK = BLOCK_SIZE;

const EMPTY = Buffer.alloc(0);
const STREAM = Symbol('stream');

interface StreamSocket extends net.Socket {
  [STREAM]?: NetStream;
}

/** Received into by every stream that is not in the middle of bulk data: what is read is used up within the call. */
const sharedBlock: Buffer = Buffer.allocUnsafeSlow(BLOCK_SIZE);
/** What Node receives into next; asked for at the creation of a socket and after each read, never in between. */
let nextBlock = sharedBlock;

/**
 * Options for `net.connect`, `new net.Socket({ handle })` and (client side) `tls.connect`; say `{ onread: true }` to
 * `wrapSocket` for a socket made with them.
 */
export const STREAM_OPTIONS = {
  allowHalfOpen: true,
  noDelay: true,
  highWaterMark: HIGH_WATER,
  onread: {
    buffer(): Buffer {
      const block = nextBlock;
      nextBlock = sharedBlock;
      return block;
    },
    callback(this: StreamSocket, count: number, buffer: Uint8Array): boolean {
      nextBlock = this[STREAM]?.received(buffer as Buffer, count) ?? sharedBlock;
      return true;
    },
  },
};

/**
 * Makes a stream of a socket, connected or not (writes wait for the connection). The socket must allow half-open
 * connections (`allowHalfOpen`), or an end of the peer would also end our side. Its handler is `IGNORE` at first.
 */
export function wrapSocket(socket: net.Socket, options?: { readonly onread: boolean }): ByteStream {
  return new NetStream(socket, options?.onread ?? false);
}

class NetStream implements ByteStream, Timed {
  handler: ByteStreamHandler = IGNORE;
  timerDue = 0;
  timerQueued = false;
  timerSlot = 0;
  timerPlace = 0;
  readonly #socket: net.Socket;
  /** TLS keeps a write pending until its records are out, though it has copied the bytes: nothing to gain there. */
  readonly #keepsBlocks: boolean;
  /** Where bulk data is received; null for the shared block. */
  #block: Buffer | null = null;
  #remoteAddress: string | undefined;
  #tls: ByteStream['tls'] | undefined;
  #paused = false;
  #ended = false;
  /** The owner is done: nothing but `onClose` is reported any more. */
  #closing = false;
  #waiting = false;
  #error: Error | null = null;
  /** Why a write failed, while the end is put off until the peer's last words are read. */
  #writeError: Error | null = null;
  #roundsLeft = 0;
  #lingerMs = 0;
  #stalledMs = 0;
  #lastPending = -1;

  constructor(socket: net.Socket, onread: boolean) {
    this.#socket = socket;
    this.#keepsBlocks = !(socket instanceof TLSSocket);
    (socket as StreamSocket)[STREAM] = this;
    if (!onread) socket.on('data', onData);
    if (onread && this.#keepsBlocks) socket.destroy = destroyAfterReading;
    socket.on('end', onEnd);
    socket.on('drain', onDrain);
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.setNoDelay(true);
  }

  get remoteAddress(): string {
    this.#remoteAddress ??= this.#socket.remoteAddress;
    return this.#remoteAddress ?? '';
  }

  get remotePort(): number {
    return this.#socket.remotePort ?? 0;
  }

  get localAddress(): string {
    return this.#socket.localAddress ?? '';
  }

  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  get tls(): ByteStream['tls'] {
    if (this.#tls === undefined) this.#tls = tlsFacts(this.#socket);
    return this.#tls;
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  get closed(): boolean {
    return this.#socket.destroyed;
  }

  write(chunk: Buffer): boolean {
    if (!this.#socket.writable) return true;
    this.#socket.write(chunk);
    return this.#belowMark();
  }

  writeShared(buffer: Buffer, start: number, end: number): boolean {
    const socket = this.#socket;
    if (!socket.writable || start === end) return true;
    if (this.#keepsBlocks && socket.writableLength === 0 && isOwnedBlock(buffer)) {
      socket.write(buffer.subarray(start, end));
      // At most one block per stream is kept like this: with something pending, the next bytes are copied.
      if (socket.writableLength !== 0) keepBlock(buffer);
    } else {
      const copy = Buffer.allocUnsafe(end - start);
      buffer.copy(copy, 0, start, end);
      socket.write(copy);
    }
    return this.#belowMark();
  }

  writeAll(chunks: readonly Buffer[]): boolean {
    const socket = this.#socket;
    if (!socket.writable) return true;
    socket.cork();
    for (const chunk of chunks) socket.write(chunk);
    socket.uncork();
    return this.#belowMark();
  }

  pause(): void {
    if (this.#paused || this.#closing || this.#writeError !== null) return;
    this.#paused = true;
    this.#socket.pause();
    this.#startTimer(PROBE_MS);
  }

  resume(): void {
    if (!this.#paused || this.#closing) return;
    this.#paused = false;
    this.#socket.resume();
    if (!this.#ended) timers.clear(this);
  }

  end(): void {
    if (this.#socket.writable) this.#socket.end();
  }

  close(lingerMs: number = LINGER_MS): void {
    if (this.#closing || this.#socket.destroyed) return;
    this.#closing = true;
    if (lingerMs <= 0 || this.#ended) {
      this.#socket.destroySoon();
      this.#lingerMs = LINGER_MS;
    } else {
      this.#socket.end();
      this.#lingerMs = lingerMs;
    }
    // What still comes is read and dropped: the FIN of the peer stands behind it.
    this.#socket.resume();
    this.#startTimer(this.#lingerMs);
  }

  reset(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    this.#closing = true;
    // Elsewhere (TLS, pipes, not connected yet) there is no reset to send; TLS ends without its close_notify. With a
    // FIN under way libuv refuses it, and Node would leave the handle open for ever.
    const ending = socket.writableEnded && !socket.writableFinished;
    const resettable =
      !(socket instanceof TLSSocket) && !socket.connecting && socket.remotePort !== undefined;
    if (ending || !resettable) socket.destroy();
    else socket.resetAndDestroy();
  }

  /** What Node read into `buffer`; answers what it receives into next. */
  received(buffer: Buffer, count: number): Buffer | null {
    if (this.#writeError !== null) this.#roundsLeft = LAST_WORDS_ROUNDS;
    this.receivedBytes(buffer, count);
    const block = this.#block;
    if (block !== null && (count < BULK || !isOwnedBlock(block))) {
      returnBlock(block);
      this.#block = null;
    }
    if (count >= BULK) this.#block ??= takeBlock();
    return this.#block;
  }

  receivedBytes(buffer: Buffer, count: number): void {
    if (this.#closing) return;
    try {
      this.handler.onData(buffer, 0, count);
    } catch (error) {
      this.#crashed(error);
    }
  }

  receivedEnd(): void {
    this.#ended = true;
    if (this.#closing) return;
    this.#startTimer(PROBE_MS);
    try {
      this.handler.onEnd();
    } catch (error) {
      this.#crashed(error);
    }
  }

  drained(): void {
    if (!this.#waiting || this.#closing) return;
    this.#waiting = false;
    try {
      this.handler.onDrain();
    } catch (error) {
      this.#crashed(error);
    }
  }

  /**
   * Whether the socket lives on although a write failed: a peer that refuses the rest and closes has often said why,
   * and its words stand in the kernel's buffer. Node would throw them away.
   */
  outlives(error: Error): boolean {
    if (this.#writeError !== null || this.#closing || this.#ended) return false;
    this.#writeError = error;
    this.#roundsLeft = LAST_WORDS_ROUNDS;
    this.resume();
    setImmediate(endAfterReading, this);
    return true;
  }

  /** Once per round of the event loop after a write failed; what had arrived before was read in between. */
  roundPassed(): void {
    if (this.#socket.destroyed) return;
    if (this.#roundsLeft-- > 0) setImmediate(endAfterReading, this);
    else this.#socket.destroy(this.#writeError ?? undefined);
  }

  failed(error: Error): void {
    this.#error = error;
  }

  gone(): void {
    timers.remove(this);
    if (this.#block !== null) returnBlock(this.#block);
    this.#block = null;
    const handler = this.handler;
    this.handler = IGNORE;
    try {
      handler.onClose(this.#error);
    } catch (error) {
      reportFailure(error);
    }
  }

  onTimeout(): void {
    try {
      this.#deadlinePassed();
    } catch (error) {
      this.#crashed(error);
    }
  }

  #deadlinePassed(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    const pending = socket.writableLength;
    if (!this.#closing) {
      if (!this.#paused && !this.#ended) return;
      if (pending === 0 && socket.writable) socket.write(EMPTY);
      timers.set(this, PROBE_MS);
      return;
    }
    this.#stalledMs = pending === this.#lastPending ? this.#stalledMs + this.#lingerMs : 0;
    this.#lastPending = pending;
    // Pending bytes get their time as long as they move; after them, the peer gets `lingerMs` to end its side.
    if (this.#stalledMs >= (pending === 0 ? this.#lingerMs : STALL_MS)) socket.destroy();
    else timers.set(this, this.#lingerMs);
  }

  /** An exception of the owner, or of the socket at a deadline, ends this stream and nothing else. */
  #crashed(error: unknown): void {
    reportFailure(error);
    this.reset();
  }

  #startTimer(ms: number): void {
    timers.start();
    timers.set(this, ms);
  }

  #belowMark(): boolean {
    // Node announces a drain whenever more than its own mark was pending, and that is not above ours.
    if (this.#socket.writableLength <= HIGH_WATER) return true;
    this.#waiting = true;
    return false;
  }
}

/** Takes the place of a socket's own `destroy`, which Node calls when a write fails. */
function destroyAfterReading(this: StreamSocket, error?: Error): StreamSocket {
  const failedWrite = error !== undefined && (error as NodeJS.ErrnoException).syscall === 'write';
  if (failedWrite && this[STREAM]?.outlives(error) === true) return this;
  return net.Socket.prototype.destroy.call(this, error) as StreamSocket;
}

function endAfterReading(stream: NetStream): void {
  stream.roundPassed();
}

function onData(this: StreamSocket, chunk: Buffer): void {
  this[STREAM]?.receivedBytes(chunk, chunk.length);
}

function onEnd(this: StreamSocket): void {
  this[STREAM]?.receivedEnd();
}

function onDrain(this: StreamSocket): void {
  this[STREAM]?.drained();
}

function onError(this: StreamSocket, error: Error): void {
  this[STREAM]?.failed(error);
}

function onClose(this: StreamSocket): void {
  this[STREAM]?.gone();
}

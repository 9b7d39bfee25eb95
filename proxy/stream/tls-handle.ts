/**
 * The inside of an accepted `TLSSocket` in the shape of a socket handle, so that `handle-stream.ts` drives it like any
 * other: the handshake stays Node's, and nothing of the `TLSSocket` is run from then on until it is destroyed.
 */
import { constants } from 'node:os';
import type { TLSSocket } from 'node:tls';
import { BLOCK_SIZE, sharedBlock } from './blocks.ts';
import type { ByteStream } from './byte-stream.ts';
import { wrapTls } from './handle-stream.ts';
import {
  EOF,
  type HandleOwner,
  type ShutdownRequest,
  type SocketHandle,
  type SocketInternals,
  type SocketName,
  socketInternals,
  type TlsWrap,
  tlsWrapOf,
  type WriteRequest,
} from './internals.ts';
import { wrapSocket } from './net-stream.ts';
import { tlsFacts } from './tls-facts.ts';

/** Pieces are put together here, since TLS would allocate memory to do that; it has copied them when it returns. */
const together: Buffer = Buffer.allocUnsafeSlow(BLOCK_SIZE);
/** Never added to. */
const NOTHING: Buffer[] = [];
const ALREADY = -constants.errno.EALREADY;
const TLS_HANDLE = Symbol('tls handle');

interface OwnedSocket extends TLSSocket {
  [TLS_HANDLE]?: TlsHandle;
}

/** How the streams of accepted TLS connections are made: over the handle inside of them, or by public API. */
export type TlsVariant = 'handle' | 'net';

/**
 * Makes a stream of an accepted connection whose handshake has just been done (within `secureConnection`). What this
 * Node has not as it is known is done by public API.
 */
export function wrapTlsSocket(socket: TLSSocket, variant: TlsVariant): ByteStream {
  const node = variant === 'handle' ? socketInternals() : null;
  const wrap = node === null ? null : tlsWrapOf(socket);
  if (node === null || wrap === null) return wrapSocket(socket);
  return wrapTls(node, new TlsHandle(node, socket, wrap), tlsFacts(socket));
}

class TlsHandle implements SocketHandle {
  owner: HandleOwner | null = null;
  readonly copies = true;
  readonly #node: SocketInternals;
  readonly #socket: TLSSocket;
  readonly #wrap: TlsWrap;
  #stopped = true;
  /** One read of the kernel can be several of TLS, and stopping does not hold back the rest of it: 16 KB at most. */
  #held: Buffer[] = NOTHING;
  #endHeld = false;
  #delivering = false;
  #ended = false;
  #shut = false;
  #closed = false;

  constructor(node: SocketInternals, socket: TLSSocket, wrap: TlsWrap) {
    this.#node = node;
    this.#socket = socket;
    this.#wrap = wrap;
    wrap.owner = this;
    wrap.onread = onRead;
    wrap.useUserBuffer(sharedBlock);
    wrap.onerror = onError;
    // Of a handshake that is done; a second one is refused.
    wrap.onhandshakestart = ignore;
    wrap.onhandshakedone = ignore;
    (socket as OwnedSocket)[TLS_HANDLE] = this;
    socket.on('error', ignore);
    socket.on('close', onClose);
  }

  get writeQueueSize(): number {
    return this.#wrap.writeQueueSize;
  }

  readStart(): number {
    this.#stopped = false;
    if (this.#held === NOTHING && !this.#endHeld) return this.#startBelow();
    if (!this.#delivering) setImmediate(deliverHeld, this);
    this.#delivering = true;
    return 0;
  }

  readStop(): number {
    this.#stopped = true;
    return this.#wrap.readStop();
  }

  writeBuffer(request: WriteRequest, buffer: Buffer): number {
    return this.#wrap.writeBuffer(request, buffer);
  }

  writev(request: WriteRequest, chunks: readonly Buffer[], allBuffers: true): number {
    let length = 0;
    for (const chunk of chunks) length += chunk.length;
    if (length > BLOCK_SIZE) return this.#wrap.writev(request, chunks, allBuffers);
    let at = 0;
    for (const chunk of chunks) {
      chunk.copy(together, at);
      at += chunk.length;
    }
    return this.#wrap.writeBuffer(request, together.subarray(0, length));
  }

  shutdown(request: ShutdownRequest): number {
    this.#shut = true;
    return this.#wrap.shutdown(request);
  }

  getpeername(out: SocketName): number {
    return this.#wrap.getpeername(out);
  }

  getsockname(out: SocketName): number {
    return this.#wrap.getsockname(out);
  }

  /** Says goodbye (close_notify), as far as the kernel takes it at once. */
  close(): void {
    if (this.#closed) return;
    if (!this.#shut) {
      const request = new this.#node.ShutdownRequest();
      request.oncomplete = ignore;
      this.shutdown(request);
    }
    this.#free();
  }

  /**
   * Without a goodbye: what was sent is not to be taken for all there is. It is Node's own way to the end, since a
   * reset below TLS (`resetAndDestroy` of the socket there) ends the process.
   */
  reset(): number {
    if (!this.#closed) this.#free();
    return 0;
  }

  /** From Node: bytes stand in the shared block, or reading ended. */
  read(): Buffer | undefined {
    const { owner } = this;
    const count = this.#node.state[this.#node.readBytes] as number;
    if (owner === null || count === 0) return undefined;
    if (count > 0) {
      if (!this.#stopped && !this.#delivering) return owner.received(count);
      if (this.#held === NOTHING) this.#held = [];
      this.#held.push(Buffer.from(sharedBlock.subarray(0, count)));
      return undefined;
    }
    // The goodbye of the peer, and then the FIN below it.
    if (count === EOF && this.#ended) return undefined;
    if (count === EOF) this.#ended = true;
    if (count === EOF && (this.#stopped || this.#delivering)) this.#endHeld = true;
    else owner.readEnded(count);
    return undefined;
  }

  /** What came while the owner did not read. */
  deliver(): void {
    this.#delivering = false;
    const held = this.#held;
    this.#held = NOTHING;
    for (let i = 0; i < held.length; i++) {
      if (this.owner === null) return;
      if (this.#stopped) {
        this.#held = held.slice(i);
        return;
      }
      const chunk = held[i] as Buffer;
      chunk.copy(sharedBlock);
      this.owner.received(chunk.length);
    }
    if (this.owner === null || this.#stopped) return;
    if (this.#endHeld) {
      this.#endHeld = false;
      this.owner.readEnded(EOF);
      return;
    }
    const status = this.#startBelow();
    if (status < 0) this.owner.readEnded(status);
  }

  failed(error: Error): void {
    this.owner?.broken(error);
  }

  /** Destroyed by somebody else. */
  gone(): void {
    this.#closed = true;
    this.owner?.broken(new Error('the connection was closed below its stream'));
  }

  #startBelow(): number {
    const status = this.#wrap.readStart();
    // Node reads since the handshake.
    return status === ALREADY ? 0 : status;
  }

  #free(): void {
    this.#closed = true;
    this.#held = NOTHING;
    this.#wrap.owner = null;
    this.#socket.destroy();
  }
}

function onRead(this: TlsWrap): Buffer | undefined {
  return (this.owner as TlsHandle | null)?.read();
}

function onError(this: TlsWrap, error: Error): void {
  (this.owner as TlsHandle | null)?.failed(error);
}

function onClose(this: OwnedSocket): void {
  this[TLS_HANDLE]?.gone();
}

function deliverHeld(handle: TlsHandle): void {
  handle.deliver();
}

function ignore(): void {}

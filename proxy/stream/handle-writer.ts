/**
 * The sending half of `handle-stream.ts`: at most one write is with Node, and what comes meanwhile follows in one
 * call. Keeps no more than references; when to stop is for its owner, by `pendingBytes`.
 */
import { BLOCK_SIZE, isOwnedBlock, keepBlock, takeBlock, viewOf } from './blocks.ts';
import type { SocketHandle, SocketInternals, WriteRequest } from './internals.ts';

/** Who hears how writes end. Both can come from inside a call of the writer. */
export interface WriterOwner {
  readonly closed: boolean;
  /** Whatever waits is for nothing. */
  writeFailed(status: number): void;
  /** After an asynchronous write: nothing is left. */
  allWritten(): void;
}

/** Never added to. */
const NOTHING: Buffer[] = [];
/** Where bytes are copied to that their owner will write over; another one once a write has kept it. */
let scratch: Buffer = takeBlock();
/** A write that is done at once does not touch its request, so one serves all of those. */
let spareRequest: WriteRequest | null = null;

export class HandleWriter {
  readonly #node: SocketInternals;
  readonly #handle: SocketHandle;
  readonly #owner: WriterOwner;
  /** The one write that is not finished. */
  #writing: WriteRequest | null = null;
  #queue: Buffer[] = NOTHING;
  #queuedBytes = 0;

  constructor(node: SocketInternals, handle: SocketHandle, owner: WriterOwner) {
    this.#node = node;
    this.#handle = handle;
    this.#owner = owner;
  }

  /** A write is under way. */
  get busy(): boolean {
    return this.#writing !== null;
  }

  /** Bytes that the kernel has not taken; not to be asked once the handle is closed. */
  get pendingBytes(): number {
    return this.#writing === null ? 0 : this.#handle.writeQueueSize + this.#queuedBytes;
  }

  write(chunk: Buffer): void {
    if (this.#writing === null) this.#send(chunk);
    else this.#enqueue(chunk);
  }

  writeShared(buffer: Buffer, start: number, end: number): void {
    if (this.#writing !== null || (end - start > BLOCK_SIZE && !isOwnedBlock(buffer))) {
      const copy = Buffer.allocUnsafe(end - start);
      buffer.copy(copy, 0, start, end);
      this.write(copy);
    } else if (isOwnedBlock(buffer) || this.#handle.copies === true) {
      this.#sendBlock(buffer, start, end);
    } else {
      if (!isOwnedBlock(scratch)) scratch = takeBlock();
      buffer.copy(scratch, 0, start, end);
      this.#sendBlock(scratch, 0, end - start);
    }
  }

  writeAll(chunks: readonly Buffer[]): void {
    if (this.#writing === null) this.#sendAll([...chunks]);
    else for (const chunk of chunks) this.#enqueue(chunk);
  }

  /** Forgets what waits; the write under way goes on. */
  discard(): void {
    this.#queue = NOTHING;
    this.#queuedBytes = 0;
  }

  /** From Node: the asynchronous write is over. */
  written(status: number): void {
    this.#writing = null;
    if (this.#owner.closed) return;
    if (status < 0) {
      this.#owner.writeFailed(status);
      return;
    }
    if (this.#queuedBytes > 0) {
      const queue = this.#queue;
      this.discard();
      this.#sendAll(queue);
    }
    if (this.#writing === null) this.#owner.allWritten();
  }

  #send(chunk: Buffer): void {
    const request = this.#begin();
    this.#sent(request, this.#handle.writeBuffer(request, chunk), chunk);
  }

  #sendAll(chunks: Buffer[]): void {
    const request = this.#begin();
    this.#sent(request, this.#handle.writev(request, chunks, true), chunks);
  }

  /** From a block that its owner loses when the write cannot be done at once. */
  #sendBlock(block: Buffer, start: number, end: number): void {
    this.#send(viewOf(block, start, end));
    if (this.#writing !== null && this.#handle.copies !== true) keepBlock(block);
  }

  #begin(): WriteRequest {
    let request = spareRequest;
    spareRequest = null;
    if (request === null) {
      request = new this.#node.WriteRequest();
      request.oncomplete = onWritten;
    }
    request.owner = this;
    this.#writing = request;
    return request;
  }

  /** After a write that held `held`, with its outcome. One of TLS that fails can be over by now. */
  #sent(request: WriteRequest, status: number, held: Buffer | Buffer[]): void {
    if (status === 0 && this.#node.state[this.#node.lastWriteWasAsync] !== 0) {
      if (this.#writing === request && this.#handle.copies !== true) request.held = held;
      return;
    }
    this.#writing = null;
    request.owner = null;
    if (status === 0) spareRequest = request;
    else this.#owner.writeFailed(status);
  }

  #enqueue(chunk: Buffer): void {
    if (this.#queue === NOTHING) this.#queue = [chunk];
    else this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
  }
}

function onWritten(this: WriteRequest, status: number): void {
  const writer = this.owner as HandleWriter;
  this.owner = null;
  this.held = null;
  writer.written(status);
}

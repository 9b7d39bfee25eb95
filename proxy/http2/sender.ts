/**
 * Everything that a connection sends. Frames are composed in one block and leave in one write per turn of the event
 * loop; bodies wait for the peer's windows and for the socket, and then go round by frames, so that no stream starves.
 */
import { BLOCK_SIZE, isOwnedBlock, returnBlock, takeBlock } from '../stream/blocks.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import type { HpackEncoder } from './hpack-encoder.ts';
import { PendingBody } from './pending-body.ts';
import * as h2 from './protocol.ts';

/** The sending half of a stream. The fields belong to the sender. */
export class SendState {
  /** 0: not in use. */
  id = 0;
  /** What the peer still takes of the body; negative after it took back some (RFC 9113 §6.9.2). */
  window = 0;
  /** Of the body, what has not been framed. */
  readonly pending = new PendingBody();
  /** The body is complete: what is pending is the rest of it. */
  ending = false;
  /** Fields behind the body, when there are any: name and value in one buffer. */
  trailers: readonly Trailer[] | null = null;
  /** Where the head of its last frame stands in the block, as long as `frameEpoch` is the sender's. */
  frameAt = 0;
  frameEpoch = -1;
  readonly #owner: SendOwner;

  constructor(owner: SendOwner) {
    this.#owner = owner;
  }

  begin(id: number, window: number): void {
    this.id = id;
    this.window = window;
    this.ending = false;
    this.trailers = null;
    this.frameEpoch = -1;
  }

  get owner(): SendOwner {
    return this.#owner;
  }
}

export interface Trailer {
  readonly bytes: Buffer;
  readonly nameLength: number;
}

export interface SendOwner {
  /** Some of what was pending has been framed. */
  onTaken(): void;
  /** The end of the stream has been framed. */
  onEnded(): void;
}

export interface SenderOwner {
  /** The end of a turn of the event loop in which something was composed, or `wake` was called. */
  onTurn(): void;
  /** The peer makes us answer and reads nothing. */
  onFlooded(): void;
  onException(error: unknown): void;
}

/** Above this many bytes that the peer does not take although they obey its windows, it is given up. */
const MAX_UNREAD = 1_048_576;

/** Up to this many bytes a loop is cheaper than a call into native code. */
const SHORT = 24;

/** What is composed after the end goes here, and from here nowhere. */
const nowhere: Buffer = Buffer.allocUnsafeSlow(BLOCK_SIZE);

/** Senders that composed something in this turn. */
let dirty: Sender[] = [];

function flushAll(): void {
  const senders = dirty;
  dirty = [];
  for (const sender of senders) sender.flushTurn();
}

export class Sender {
  /** Bytes of bodies that wait, of all streams. */
  queued = 0;
  /** What the peer takes of all bodies together. */
  #window = h2.DEFAULT_WINDOW;
  readonly #stream: ByteStream;
  readonly #encoder: HpackEncoder;
  readonly #owner: SenderOwner;
  #block: Buffer | null = null;
  #length = 0;
  /** Changes with every write: what was composed before cannot be changed any more. */
  #epoch = 0;
  #framesSent = 0;
  #scheduled = false;
  #closed = false;
  /** The socket takes no more for now. */
  #blocked = false;
  /** Streams with pending bytes and an open window, in the order of their turns. */
  readonly #waiting = new Set<SendState>();

  constructor(stream: ByteStream, encoder: HpackEncoder, owner: SenderOwner) {
    this.#stream = stream;
    this.#encoder = encoder;
    this.#owner = owner;
  }

  // Frames of the connection.

  settings(pairs: readonly (readonly [id: number, value: number])[]): void {
    let at = this.#frame(h2.SETTINGS, 0, 0, 6 * pairs.length);
    const block = this.#block as Buffer;
    for (const [id, value] of pairs) {
      block.writeUInt16BE(id, at);
      block.writeUInt32BE(value, at + 2);
      at += 6;
    }
  }

  settingsAck(): void {
    this.#frame(h2.SETTINGS, h2.ACK, 0, 0);
  }

  /** `data` of the peer's PING, or eight bytes of ours. */
  ping(ack: boolean, data: Buffer, start: number): void {
    const at = this.#frame(h2.PING, ack ? h2.ACK : 0, 0, 8);
    data.copy(this.#block as Buffer, at, start, start + 8);
  }

  goAway(lastStream: number, code: number): void {
    const at = this.#frame(h2.GOAWAY, 0, 0, 8);
    (this.#block as Buffer).writeUInt32BE(lastStream, at);
    (this.#block as Buffer).writeUInt32BE(code, at + 4);
  }

  windowUpdate(id: number, increment: number): void {
    const at = this.#frame(h2.WINDOW_UPDATE, 0, id, 4);
    (this.#block as Buffer).writeUInt32BE(increment, at);
  }

  // Frames of a stream.

  reset(id: number, code: number): void {
    const at = this.#frame(h2.RST_STREAM, 0, id, 4);
    (this.#block as Buffer).writeUInt32BE(code, at);
  }

  /** The block that the encoder composed. */
  headers(state: SendState, endStream: boolean): void {
    const { buffer, length } = this.#encoder;
    for (let from = 0; from === 0 || from < length; from += h2.FRAME_SIZE) {
      const size = Math.min(h2.FRAME_SIZE, length - from);
      const last = from + size === length ? h2.END_HEADERS : 0;
      const first = from === 0;
      const flags = last | (first && endStream ? h2.END_STREAM : 0);
      const at = this.#frame(first ? h2.HEADERS : h2.CONTINUATION, flags, state.id, size);
      const block = this.#block as Buffer;
      // Most blocks are a few bytes; in range, the room was made with the frame.
      if (size <= SHORT) for (let i = 0; i < size; i++) block[at + i] = buffer[from + i] as number;
      else buffer.copy(block, at, from, from + size);
      if (first) this.#mark(state, at);
    }
  }

  /** Bytes of a body: framed now as far as all windows allow, else kept. */
  data(state: SendState, buffer: Buffer, start: number, end: number): void {
    let at = start;
    if (state.pending.length === 0 && this.#waiting.size === 0) {
      while (at < end && !this.#blocked) {
        const size = Math.min(end - at, state.window, this.#window, h2.FRAME_SIZE);
        if (size <= 0) break;
        this.#dataFrame(state, buffer, at, at + size, 0);
        at += size;
      }
      if (at === end) return;
    }
    state.pending.append(buffer, at, end);
    this.queued += end - at;
    if (state.window > 0) this.#waiting.add(state);
  }

  /** Nothing comes behind what was given. */
  end(state: SendState): void {
    state.ending = true;
    if (state.pending.length === 0) this.#end(state);
  }

  /** Forgets what waits of a stream. */
  drop(state: SendState): void {
    this.queued -= state.pending.length;
    state.pending.clear();
    state.trailers = null;
    this.#waiting.delete(state);
  }

  // The peer's windows, and the socket.

  /** The peer takes more of all bodies; false when the window would be too large. */
  widen(increment: number): boolean {
    this.#window += increment;
    return this.#window <= h2.MAX_WINDOW;
  }

  /** The same for one stream; `increment` may be negative. */
  widenStream(state: SendState, increment: number): boolean {
    state.window += increment;
    if (state.window > h2.MAX_WINDOW) return false;
    if (state.window <= 0) this.#waiting.delete(state);
    else if (state.pending.length > 0) this.#waiting.add(state);
    return true;
  }

  drained(): void {
    this.#blocked = false;
    this.pump();
  }

  /** How many frames of bodies were sent since this was last asked. */
  takeFramesSent(): number {
    const sent = this.#framesSent;
    this.#framesSent = 0;
    return sent;
  }

  /** Frames what waits, as far as it may go: one frame of each stream in turn. */
  pump(): void {
    for (const state of this.#waiting) {
      if (this.#blocked || this.#window <= 0) return;
      // Those that have more come again at the end of the set, which this loop reaches, too.
      this.#waiting.delete(state);
      const { pending } = state;
      const { buffer, start, end } = pending;
      const size = Math.min(end - start, state.window, this.#window);
      this.queued -= size;
      const last = state.ending && size === pending.length && state.trailers === null;
      this.#dataFrame(state, buffer, start, start + size, last ? h2.END_STREAM : 0);
      pending.consume(size);
      if (pending.length > 0) {
        if (state.window > 0) this.#waiting.add(state);
        state.owner.onTaken();
      } else if (last) state.owner.onEnded();
      else if (state.ending) this.#end(state);
      else state.owner.onTaken();
    }
  }

  // Sending.

  /** The owner wants the end of this turn, whether something is composed or not. */
  wake(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    if (dirty.length === 0) setImmediate(flushAll);
    dirty.push(this);
  }

  /** Sends what was composed, at once. */
  flush(): void {
    const block = this.#block;
    if (block === null || this.#closed) return;
    this.#write(block);
    this.#block = null;
    returnBlock(block);
  }

  /** From the loop over all senders. */
  flushTurn(): void {
    this.#scheduled = false;
    if (this.#closed) return;
    try {
      this.#owner.onTurn();
      this.flush();
      if (this.#stream.pendingBytes > MAX_UNREAD) this.#owner.onFlooded();
    } catch (error) {
      this.#owner.onException(error);
    }
  }

  /** Sends what was composed; from now on nothing is. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    this.#waiting.clear();
  }

  #end(state: SendState): void {
    const { trailers } = state;
    if (trailers !== null) {
      state.trailers = null;
      this.#encoder.begin();
      for (const { bytes, nameLength } of trailers) {
        this.#encoder.field(bytes, 0, nameLength, nameLength, bytes.length);
      }
      this.headers(state, true);
    } else if (state.frameEpoch === this.#epoch && this.#block !== null) {
      const flags = state.frameAt + 4;
      this.#block[flags] = (this.#block[flags] as number) | h2.END_STREAM;
    } else this.#frame(h2.DATA, h2.END_STREAM, state.id, 0);
    state.owner.onEnded();
  }

  #dataFrame(state: SendState, buffer: Buffer, start: number, end: number, flags: number): void {
    const size = end - start;
    this.#framesSent++;
    state.window -= size;
    this.#window -= size;
    const at = this.#frame(h2.DATA, flags, state.id, size);
    buffer.copy(this.#block as Buffer, at, start, end);
    this.#mark(state, at);
  }

  #mark(state: SendState, payload: number): void {
    state.frameAt = payload - h2.FRAME_HEAD;
    state.frameEpoch = this.#epoch;
  }

  /** Writes the head of a frame and makes room for its payload; answers where that begins. */
  #frame(type: number, flags: number, id: number, size: number): number {
    if (this.#closed) {
      this.#block = nowhere;
      return h2.FRAME_HEAD;
    }
    let block = this.#block;
    if (block !== null && this.#length + h2.FRAME_HEAD + size > BLOCK_SIZE) {
      this.#write(block);
      if (!isOwnedBlock(block)) block = null;
    }
    block ??= takeBlock();
    this.#block = block;
    if (!this.#scheduled) this.wake();
    const at = this.#length;
    this.#length = at + h2.FRAME_HEAD + size;
    // In range: the room was made above.
    block[at] = size >>> 16;
    block[at + 1] = size >>> 8;
    block[at + 2] = size;
    block[at + 3] = type;
    block[at + 4] = flags;
    block[at + 5] = id >>> 24;
    block[at + 6] = id >>> 16;
    block[at + 7] = id >>> 8;
    block[at + 8] = id;
    return at + h2.FRAME_HEAD;
  }

  #write(block: Buffer): void {
    const length = this.#length;
    this.#length = 0;
    this.#epoch++;
    if (length > 0 && !this.#stream.writeShared(block, 0, length)) this.#blocked = true;
  }
}

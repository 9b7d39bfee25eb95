/**
 * The field block of one HEADERS frame and its CONTINUATIONs (RFC 9113 §4.3, §6.2, §6.10), bounded in bytes and in
 * frames: it has to be decoded whole, or the connection is lost, so this is what a client can make us keep.
 */
import { ByteStore } from '../http1/byte-store.ts';
import * as h2 from './protocol.ts';

/** A block that takes more frames than this is an attack: the first one holds 16 KB. */
const MAX_CONTINUATIONS = 8;
const PRIORITY_BYTES = 5;
const EMPTY = Buffer.alloc(0);

export class FieldBlock {
  /** Stream of the block that is not complete; 0 when none is. */
  id = 0;
  endStream = false;
  /** The stream depends on itself (RFC 7540 §5.3.1): an error of the stream. */
  selfDependent = false;
  readonly #store = new ByteStore();
  #continuations = 0;
  /** Where a complete block stands. */
  buffer: Buffer = EMPTY;
  start = 0;
  end = 0;

  /** Takes a HEADERS frame; answers an error code of the connection, else `NO_ERROR`. See `complete`. */
  headers(flags: number, id: number, buffer: Buffer, payload: number, payloadEnd: number): number {
    let start = payload;
    let end = payloadEnd;
    if ((flags & h2.PADDED) !== 0) {
      if (start === end) return h2.FRAME_SIZE_ERROR;
      end -= buffer[start++] as number;
      if (end < start) return h2.PROTOCOL_ERROR;
    }
    this.selfDependent = false;
    if ((flags & h2.HAS_PRIORITY) !== 0) {
      if (end - start < PRIORITY_BYTES) return h2.FRAME_SIZE_ERROR;
      this.selfDependent = dependency(buffer, start) === id;
      start += PRIORITY_BYTES;
    }
    this.endStream = (flags & h2.END_STREAM) !== 0;
    this.id = id;
    this.#continuations = 0;
    if ((flags & h2.END_HEADERS) !== 0) this.#complete(buffer, start, end);
    else this.#store.append(buffer, start, end);
    return h2.NO_ERROR;
  }

  /** Takes a CONTINUATION of the block; the same. */
  continuation(flags: number, buffer: Buffer, start: number, end: number, limit: number): number {
    const store = this.#store;
    if (++this.#continuations > MAX_CONTINUATIONS || store.length + end - start > limit)
      return h2.ENHANCE_YOUR_CALM;
    store.append(buffer, start, end);
    if ((flags & h2.END_HEADERS) === 0) return h2.NO_ERROR;
    this.#complete(store.buffer, store.start, store.end);
    store.clear();
    return h2.NO_ERROR;
  }

  clear(): void {
    this.id = 0;
    this.#store.clear();
  }

  /** Lets go of the bytes of a complete block. */
  done(): void {
    this.buffer = EMPTY;
  }

  #complete(buffer: Buffer, start: number, end: number): void {
    this.id = 0;
    this.buffer = buffer;
    this.start = start;
    this.end = end;
  }
}

/** The stream that the priority fields at `at` name. */
export function dependency(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at) & h2.MAX_STREAM_ID;
}

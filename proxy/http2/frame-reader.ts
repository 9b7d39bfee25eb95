/**
 * Splits what a client sends into frames (RFC 9113 §3.4, §4.1), across any split of the input. Frames are handed on
 * whole, up to the size that was agreed on; the bytes of DATA are handed on as they come, without their padding.
 */
import { ByteStore } from '../http1/byte-store.ts';
import * as h2 from './protocol.ts';

/** Told by method calls; any of them may call `stop`. The bytes are lent for the call. */
export interface FrameHandler {
  /** A whole frame that is not DATA. */
  onFrame(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): void;
  /** A DATA frame begins; `length` is what it takes of the windows, with its padding. */
  onDataHead(flags: number, id: number, length: number): void;
  /** Bytes of it; `complete` with the last ones, and then they may be none. */
  onDataBytes(buffer: Buffer, start: number, end: number, complete: boolean): void;
  /** The connection cannot go on. */
  onViolation(code: number): void;
}

const PREFACE_STATE = 0;
const HEAD = 1;
const PAYLOAD = 2;
const PAD_LENGTH = 3;
const BODY = 4;
const PADDING = 5;
const STOPPED = 6;

export class FrameReader {
  readonly #handler: FrameHandler;
  #state = PREFACE_STATE;
  #prefaceAt = 0;
  readonly #head = Buffer.allocUnsafe(h2.FRAME_HEAD);
  #headLength = 0;
  /** Of the frame under way. */
  #type = 0;
  #flags = 0;
  #id = 0;
  /** Bytes that are missing of a payload, or of the data and padding of DATA. */
  #left = 0;
  #padding = 0;
  readonly #partial = new ByteStore();

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** Whether a part of a field block stands here unfinished. */
  get insideFields(): boolean {
    return this.#state === PAYLOAD && (this.#type === h2.HEADERS || this.#type === h2.CONTINUATION);
  }

  /** Nothing more is read. */
  stop(): void {
    this.#state = STOPPED;
    this.#partial.clear();
  }

  receive(buffer: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end || (this.#state === BODY && this.#left === 0)) {
      switch (this.#state) {
        case PREFACE_STATE:
          at = this.#preface(buffer, at, end);
          break;
        case HEAD:
          at = this.#frameHead(buffer, at, end);
          break;
        case PAYLOAD:
          at = this.#payload(buffer, at, end);
          break;
        case PAD_LENGTH:
          this.#padLength(buffer[at++] as number);
          break;
        case BODY: {
          const take = Math.min(this.#left, end - at);
          this.#left -= take;
          const complete = this.#left === 0;
          if (complete) this.#state = this.#padding > 0 ? PADDING : HEAD;
          this.#handler.onDataBytes(buffer, at, at + take, complete);
          at += take;
          break;
        }
        case PADDING: {
          const take = Math.min(this.#padding, end - at);
          this.#padding -= take;
          at += take;
          if (this.#padding === 0) this.#state = HEAD;
          break;
        }
        default:
          return;
      }
    }
  }

  #preface(buffer: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && this.#prefaceAt < h2.PREFACE.length) {
      if (buffer[at++] !== h2.PREFACE[this.#prefaceAt++]) {
        this.#refuse(h2.PROTOCOL_ERROR);
        return end;
      }
    }
    if (this.#prefaceAt === h2.PREFACE.length) this.#state = HEAD;
    return at;
  }

  #frameHead(buffer: Buffer, start: number, end: number): number {
    if (this.#headLength === 0 && end - start >= h2.FRAME_HEAD) {
      this.#begin(buffer, start);
      return start + h2.FRAME_HEAD;
    }
    const take = Math.min(h2.FRAME_HEAD - this.#headLength, end - start);
    buffer.copy(this.#head, this.#headLength, start, start + take);
    this.#headLength += take;
    if (this.#headLength === h2.FRAME_HEAD) {
      this.#headLength = 0;
      this.#begin(this.#head, 0);
    }
    return start + take;
  }

  #begin(head: Buffer, at: number): void {
    const length = head.readUIntBE(at, 3);
    this.#type = head[at + 3] as number;
    this.#flags = head[at + 4] as number;
    // The reserved bit is ignored (§4.1).
    this.#id = head.readUInt32BE(at + 5) & h2.MAX_STREAM_ID;
    if (length > h2.FRAME_SIZE) {
      this.#refuse(h2.FRAME_SIZE_ERROR);
      return;
    }
    this.#left = length;
    if (this.#type !== h2.DATA) {
      this.#state = PAYLOAD;
      if (length === 0) this.#deliver(head, at, at);
      return;
    }
    this.#padding = 0;
    const padded = (this.#flags & h2.PADDED) !== 0;
    this.#state = padded ? PAD_LENGTH : BODY;
    if (padded && length === 0) this.#refuse(h2.FRAME_SIZE_ERROR);
    else this.#handler.onDataHead(this.#flags, this.#id, length);
  }

  #payload(buffer: Buffer, start: number, end: number): number {
    const partial = this.#partial;
    const missing = this.#left - partial.length;
    if (end - start < missing) {
      partial.append(buffer, start, end);
      return end;
    }
    if (partial.length === 0) this.#deliver(buffer, start, start + missing);
    else {
      partial.append(buffer, start, start + missing);
      const { buffer: whole, start: from, end: to } = partial;
      partial.clear();
      this.#deliver(whole, from, to);
    }
    return start + missing;
  }

  #deliver(buffer: Buffer, start: number, end: number): void {
    this.#state = HEAD;
    this.#handler.onFrame(this.#type, this.#flags, this.#id, buffer, start, end);
  }

  #padLength(padding: number): void {
    if (padding >= this.#left) {
      this.#refuse(h2.PROTOCOL_ERROR);
      return;
    }
    this.#padding = padding;
    this.#left -= padding + 1;
    this.#state = BODY;
  }

  #refuse(code: number): void {
    this.stop();
    this.#handler.onViolation(code);
  }
}

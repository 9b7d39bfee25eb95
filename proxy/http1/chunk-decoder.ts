/**
 * Takes a chunked body apart (RFC 9112 §7.1), strictly and across any split of the input. It hands on either the data
 * alone, or the body as it stands, still chunked, without extensions and without what a trailer may not carry.
 */
import { BYTE_CLASS, CR, FIELD_VALUE, HEX_VALUE, LF } from './bytes.ts';
import { DROP_FROM_TRAILERS } from './field-kinds.ts';
import { COMPLETE, FieldLines, NEED_MORE, NO_NAMES } from './field-lines.ts';

/** Receives what a body decoder found. The bytes are lent for the call. */
export interface BodySink {
  onBody(buffer: Buffer, start: number, end: number): void;
  /** The fields behind a body that is handed on as data; whoever has no use for them leaves this out. */
  onTrailers?(fields: FieldLines): void;
}

/** Extensions, per chunk line and per body. */
const MAX_LINE_EXTENSION = 1_024;
const MAX_BODY_EXTENSIONS = 16_384;
const MAX_SIZE_DIGITS = 16;
const MAX_TRAILERS = 16_384;
const MAX_TRAILER_FIELDS = 100;
const SEMICOLON = 59;
const ZERO = 48;

const FIRST_DIGIT = 0;
const SIZE = 1;
const EXTENSION = 2;
const SIZE_LF = 3;
const DATA = 4;
const DATA_CR = 5;
const DATA_LF = 6;
const TRAILER_START = 7;
const END_LF = 8;
const TRAILERS = 9;
const DONE = 10;
const BROKEN = 11;

export class ChunkDecoder {
  /** Bytes of data so far, without framing. */
  dataBytes = 0;
  #state = FIRST_DIGIT;
  #raw = false;
  #size = 0;
  #digits = 0;
  #lineExtension = 0;
  #bodyExtensions = 0;
  #trailers: Buffer | null = null;
  #trailerBytes = 0;
  #trailerLines: FieldLines | null = null;
  #named: readonly Uint8Array[] = NO_NAMES;

  get done(): boolean {
    return this.#state === DONE;
  }
  get broken(): boolean {
    return this.#state === BROKEN;
  }

  /**
   * Begins a body; `raw` hands it on still chunked, without the trailer fields `named` by `Connection` (RFC 9110
   * §7.6.1).
   */
  start(raw: boolean, named: readonly Uint8Array[] = NO_NAMES): void {
    this.#raw = raw;
    this.#named = named;
    this.#state = FIRST_DIGIT;
    this.dataBytes = 0;
    this.#size = 0;
    this.#digits = 0;
    this.#lineExtension = 0;
    this.#bodyExtensions = 0;
    this.#trailers = null;
    this.#trailerBytes = 0;
    this.#trailerLines = null;
  }

  /** Uses up bytes from `start` on; answers the first one it did not use. See `done` and `broken` after each call. */
  decode(buffer: Buffer, start: number, end: number, sink: BodySink): number {
    let at = start;
    /** Beginning of what is to be handed on and has not been. */
    let from = start;
    const raw = this.#raw;
    while (at < end) {
      switch (this.#state) {
        case DATA: {
          const take = Math.min(this.#size, end - at);
          if (!raw) sink.onBody(buffer, at, at + take);
          at += take;
          this.dataBytes += take;
          this.#size -= take;
          if (this.#size === 0) this.#state = DATA_CR;
          break;
        }
        case EXTENSION:
          // Everything up to the CR is left out.
          if (buffer[at] === CR) {
            from = at;
            this.#state = SIZE_LF;
          } else if (!this.#extensionByte(buffer[at] as number)) this.#state = BROKEN;
          at++;
          break;
        case TRAILER_START:
          if (buffer[at] === CR) {
            this.#state = END_LF;
            at++;
            break;
          }
          if (raw && at > from) sink.onBody(buffer, from, at);
          this.#state = TRAILERS;
          this.#trailers = Buffer.allocUnsafe(0);
          break;
        case TRAILERS:
          at = this.#collectTrailers(buffer, at, end, sink);
          from = at;
          break;
        default:
          if (this.#state === SIZE && raw && buffer[at] === SEMICOLON && at > from) {
            sink.onBody(buffer, from, at);
          }
          this.#framingByte(buffer[at] as number);
          at++;
      }
      if (this.#state === DONE || this.#state === BROKEN) break;
    }
    if (raw && this.#state !== BROKEN && this.#state !== EXTENSION && at > from)
      sink.onBody(buffer, from, at);
    return at;
  }

  #framingByte(byte: number): void {
    switch (this.#state) {
      case FIRST_DIGIT:
        this.#size = 0;
        this.#digits = 0;
        this.#state = SIZE;
        this.#digit(byte);
        break;
      case SIZE:
        if (byte === CR) this.#state = SIZE_LF;
        else if (byte === SEMICOLON) {
          this.#lineExtension = 0;
          this.#state = EXTENSION;
        } else this.#digit(byte);
        break;
      case SIZE_LF:
        this.#state = byte !== LF ? BROKEN : this.#size === 0 ? TRAILER_START : DATA;
        break;
      case DATA_CR:
        this.#state = byte === CR ? DATA_LF : BROKEN;
        break;
      case DATA_LF:
        this.#state = byte === LF ? FIRST_DIGIT : BROKEN;
        break;
      case END_LF:
        this.#state = byte === LF ? DONE : BROKEN;
        break;
      default:
        this.#state = BROKEN;
    }
  }

  #digit(byte: number): void {
    const value = HEX_VALUE[byte] as number;
    this.#size = this.#size * 16 + value;
    if (value > 15 || ++this.#digits > MAX_SIZE_DIGITS || this.#size > Number.MAX_SAFE_INTEGER) {
      this.#state = BROKEN;
    }
  }

  #extensionByte(byte: number): boolean {
    this.#bodyExtensions++;
    return (
      ((BYTE_CLASS[byte] as number) & FIELD_VALUE) !== 0 &&
      ++this.#lineExtension <= MAX_LINE_EXTENSION &&
      this.#bodyExtensions <= MAX_BODY_EXTENSIONS
    );
  }

  /** Trailers are rare: they are collected, parsed like a head, and written anew without what they may not carry. */
  #collectTrailers(buffer: Buffer, start: number, end: number, sink: BodySink): number {
    const before = this.#trailerBytes;
    const take = Math.min(end - start, MAX_TRAILERS - before);
    let store = this.#trailers ?? Buffer.allocUnsafe(0);
    if (store.length < before + take) {
      const larger = Buffer.allocUnsafe(Math.min(MAX_TRAILERS, Math.max(1_024, 2 * (before + take))));
      store.copy(larger, 0, 0, before);
      store = larger;
      this.#trailers = larger;
    }
    buffer.copy(store, before, start, start + take);
    this.#trailerBytes += take;
    this.#trailerLines ??= new FieldLines();
    const lines = this.#trailerLines;
    lines.buffer = store;
    const outcome = lines.parse(this.#trailerBytes, MAX_TRAILER_FIELDS, false);
    if (outcome === NEED_MORE && this.#trailerBytes < MAX_TRAILERS) return start + take;
    if (outcome !== COMPLETE) {
      this.#state = BROKEN;
      return start + take;
    }
    this.#state = DONE;
    if (this.#raw) this.#writeTrailers(lines, sink);
    else sink.onTrailers?.(lines);
    return start + lines.cursor - before;
  }

  #writeTrailers(lines: FieldLines, sink: BodySink): void {
    const kept: Buffer[] = [];
    for (let i = 0; i < lines.count; i++) {
      if (DROP_FROM_TRAILERS[lines.kinds[i] as number] === 1) continue;
      if (this.#named.some((name) => lines.nameIs(i, name))) continue;
      kept.push(lines.buffer.subarray(lines.nameStart(i), lines.lineEnd(i)));
    }
    const section = Buffer.concat([...kept, Buffer.from('\r\n')]);
    sink.onBody(section, 0, section.length);
  }
}

const HEX_DIGITS = Buffer.from('0123456789abcdef');

export const MAX_CHUNK_LINE = 10;

/** Writes the line that opens a chunk of `size` bytes (greater than 0); answers its length. */
export function writeChunkLine(target: Buffer, at: number, size: number): number {
  let digits = 1;
  while (digits < 8 && size >= 16 ** digits) digits++;
  for (let i = digits - 1, rest = size; i >= 0; i--, rest = Math.floor(rest / 16)) {
    target[at + i] = HEX_DIGITS[rest % 16] ?? ZERO;
  }
  target[at + digits] = CR;
  target[at + digits + 1] = LF;
  return digits + 2;
}

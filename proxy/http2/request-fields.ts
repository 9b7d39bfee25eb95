/**
 * Makes one HTTP/1.1 head of the fields of a request, for the strict parser that every request goes through; or says
 * that they are malformed (RFC 9113 §8.1.1, §8.3) or more than is taken. Fields are put together as they are decoded.
 */
import { asciiBytes, BYTE_CLASS, equalBytes, equalsIgnoringCase, TARGET, TOKEN } from '../http1/bytes.ts';
import { AUTHORITY, COOKIE, HOST, MALFORMED, METHOD, PATH, REGULAR, SCHEME } from './field-rules.ts';
import { type FieldSink, LINE_FRAME } from './hpack-decoder.ts';

const SLASH = 47;
const STAR = 42;
const SEPARATOR = 2;
/** Up to this many bytes a loop is cheaper than a call into native code. */
const SHORT = 24;

const SPACE = Buffer.from(' ');
const VERSION = Buffer.from(' HTTP/1.1\r\n');
const HOST_NAME = Buffer.from('host: ');
const LINE_END = Buffer.from('\r\n');
const COOKIE_NAME = Buffer.from('cookie: ');
const COOKIE_GLUE = Buffer.from('; ');
const CHUNKED = Buffer.from('transfer-encoding: chunked\r\n');
const CONTENT_LENGTH = asciiBytes('content-length');
const HTTPS = asciiBytes('https');
const HTTP = asciiBytes('http');
const CONNECT = Buffer.from('CONNECT');
const OPTIONS = Buffer.from('OPTIONS');

interface Slice {
  readonly start: number;
  readonly end: number;
}
const NONE: Slice = { start: 0, end: 0 };

/** Bytes in a buffer of its own that is used again; grows up to what its owner lets in. */
class Piece {
  bytes: Buffer;
  length = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }

  add(source: Buffer, start: number, end: number): void {
    const size = end - start;
    if (this.length + size > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(2 * (this.length + size));
      this.bytes.copy(larger, 0, 0, this.length);
      this.bytes = larger;
    }
    const at = this.length;
    this.length = at + size;
    if (size > SHORT) {
      source.copy(this.bytes, at, start, end);
      return;
    }
    const { bytes } = this;
    // In range: the room was made above, and the caller's bytes lie in its buffer.
    for (let i = 0; i < size; i++) bytes[at + i] = source[start + i] as number;
  }

  addAll(source: Buffer): void {
    this.add(source, 0, source.length);
  }
}

/** One per process: a field block is decoded and its request begun within one call. */
export class RequestFields implements FieldSink {
  malformed = false;
  tooLarge = false;
  readonly #head = new Piece(4_096);
  readonly #cookies = new Piece(1_024);
  /** Values of pseudo-fields, one behind the other. */
  readonly #pseudo = new Piece(1_024);
  #method = NONE;
  #scheme = NONE;
  #path = NONE;
  #authority = NONE;
  #host = NONE;
  #regular = false;
  #connect = false;
  #hasLength = false;
  #trustedPeer = false;
  #limit = 0;
  #size = 0;

  /** Begins a request; more than `limit` bytes of fields are only counted. */
  begin(limit: number, trustedPeer: boolean): void {
    this.malformed = false;
    this.tooLarge = false;
    this.#head.length = 0;
    this.#cookies.length = 0;
    this.#pseudo.length = 0;
    this.#method = NONE;
    this.#scheme = NONE;
    this.#path = NONE;
    this.#authority = NONE;
    this.#host = NONE;
    this.#regular = false;
    this.#connect = false;
    this.#hasLength = false;
    this.#trustedPeer = trustedPeer;
    this.#limit = limit;
    this.#size = 0;
  }

  field(line: Buffer, start: number, nameLength: number, valueLength: number, kind: number): void {
    this.#size += nameLength + valueLength + LINE_FRAME;
    if (this.#size > this.#limit) this.tooLarge = true;
    if (kind === MALFORMED) this.malformed = true;
    if (this.malformed || this.tooLarge) return;
    const valueStart = start + nameLength + SEPARATOR;
    const valueEnd = valueStart + valueLength;
    if (kind >= METHOD && kind <= AUTHORITY) {
      this.#pseudoField(kind, line, valueStart, valueEnd);
      return;
    }
    if (!this.#regular) this.#endPseudo();
    if (kind === REGULAR) {
      if (nameLength === CONTENT_LENGTH.length && !this.#hasLength) {
        this.#hasLength = equalsIgnoringCase(line, start, start + nameLength, CONTENT_LENGTH);
      }
      this.#head.add(line, start, valueEnd + LINE_END.length);
    } else if (kind === COOKIE) {
      // §8.2.3: crumbs are joined before anyone sees them who does not speak HTTP/2.
      if (this.#cookies.length > 0) this.#cookies.addAll(COOKIE_GLUE);
      this.#cookies.add(line, valueStart, valueEnd);
    } else if (kind === HOST) this.#hostField(line, valueStart, valueEnd);
  }

  /** All fields are there; `endStream`: no body follows. Then `malformed` counts, and `buffer` holds the head. */
  end(endStream: boolean): void {
    if (this.malformed || this.tooLarge) return;
    if (!this.#regular) this.#endPseudo();
    if (this.malformed) return;
    const head = this.#head;
    if (this.#cookies.length > 0) {
      head.addAll(COOKIE_NAME);
      head.add(this.#cookies.bytes, 0, this.#cookies.length);
      head.addAll(LINE_END);
    }
    if (!endStream && !this.#hasLength) head.addAll(CHUNKED);
    head.addAll(LINE_END);
  }

  get buffer(): Buffer {
    return this.#head.bytes;
  }

  get length(): number {
    return this.#head.length;
  }

  /** Method and path for the log, as far as they came; empty when there are none. */
  get method(): string {
    return this.#text(this.#method);
  }
  get path(): string {
    return this.#text(this.#path);
  }

  #text(slice: Slice): string {
    return this.#pseudo.bytes.toString('latin1', slice.start, slice.end);
  }

  #pseudoField(kind: number, line: Buffer, start: number, end: number): void {
    // §8.3: before all others, each once, none of them empty.
    const twice = this.#pseudoValue(kind) !== NONE;
    if (this.#regular || twice || start === end) {
      this.malformed = true;
      return;
    }
    const slice = { start: this.#pseudo.length, end: this.#pseudo.length + end - start };
    this.#pseudo.add(line, start, end);
    if (kind === METHOD) this.#method = slice;
    else if (kind === SCHEME) this.#scheme = slice;
    else if (kind === PATH) this.#path = slice;
    else this.#authority = slice;
  }

  #pseudoValue(kind: number): Slice {
    if (kind === METHOD) return this.#method;
    if (kind === SCHEME) return this.#scheme;
    return kind === PATH ? this.#path : this.#authority;
  }

  /** The pseudo-fields are complete: they become the request line and, if an authority is among them, Host. */
  #endPseudo(): void {
    this.#regular = true;
    const method = this.#method;
    const authority = this.#authority;
    this.#connect = this.#methodIs(CONNECT);
    if (!this.#validPseudo()) {
      this.malformed = true;
      return;
    }
    const head = this.#head;
    const pseudo = this.#pseudo.bytes;
    const target = this.#connect ? authority : this.#path;
    head.add(pseudo, method.start, method.end);
    head.addAll(SPACE);
    head.add(pseudo, target.start, target.end);
    head.addAll(VERSION);
    if (authority === NONE) return;
    head.addAll(HOST_NAME);
    head.add(pseudo, authority.start, authority.end);
    head.addAll(LINE_END);
  }

  #validPseudo(): boolean {
    if (this.#method === NONE || !this.#allOf(this.#method, TOKEN)) return false;
    // §8.5: CONNECT has an authority and nothing else. It is refused later on, with a status.
    if (this.#connect)
      return (
        this.#authority !== NONE &&
        this.#path === NONE &&
        this.#scheme === NONE &&
        this.#allOf(this.#authority, TARGET)
      );
    if (this.#scheme === NONE || this.#path === NONE || !this.#allOf(this.#path, TARGET)) return false;
    // A proxy in front of us may name the scheme that its client used; from others it is that of the connection.
    const scheme =
      this.#pseudoIs(this.#scheme, HTTPS) || (this.#trustedPeer && this.#pseudoIs(this.#scheme, HTTP));
    const first = this.#pseudo.bytes[this.#path.start];
    const asterisk = first === STAR && this.#path.end - this.#path.start === 1;
    // An absolute form would name a second authority.
    return scheme && (first === SLASH || (asterisk && this.#methodIs(OPTIONS)));
  }

  #allOf(slice: Slice, flag: number): boolean {
    for (let i = slice.start; i < slice.end; i++) {
      if (((BYTE_CLASS[this.#pseudo.bytes[i] as number] as number) & flag) === 0) return false;
    }
    return true;
  }

  #methodIs(name: Buffer): boolean {
    const { start, end } = this.#method;
    return equalBytes(this.#pseudo.bytes, start, end, name, 0, name.length);
  }

  #pseudoIs(slice: Slice, lower: Uint8Array): boolean {
    return equalsIgnoringCase(this.#pseudo.bytes, slice.start, slice.end, lower);
  }

  /** §8.3.1: a Host beside `:authority` must say the same; without it, it counts. */
  #hostField(line: Buffer, start: number, end: number): void {
    if (this.malformed || this.#connect || this.#host !== NONE) {
      this.malformed = true;
      return;
    }
    const authority = this.#authority;
    this.#host = { start, end };
    if (authority === NONE) {
      this.#head.addAll(HOST_NAME);
      this.#head.add(line, start, end);
      this.#head.addAll(LINE_END);
      return;
    }
    const said = asciiBytes(this.#text(authority).toLowerCase());
    if (!equalsIgnoringCase(line, start, end, said)) this.malformed = true;
  }
}

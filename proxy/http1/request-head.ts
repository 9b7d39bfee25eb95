/**
 * The head of a request, parsed in place and strictly (engine.md, Rules on the wire; RFC 9112 §2–6). What is complete
 * is also valid: framing, host, target and connection options have one meaning, and every other reading was refused.
 */
import type { CauseCode } from '../../shared/causes.ts';
import { isWebSocketKey } from '../tunnel/websocket-handshake.ts';
import { hostEnd } from './authority.ts';
import {
  asciiBytes,
  BYTE_CLASS,
  CR,
  eachListElement,
  equalBytes,
  equalsIgnoringCase,
  LF,
  latin1,
  parseDecimal,
  SPACE,
  TARGET,
  TOKEN,
} from './bytes.ts';
import * as kind from './field-kinds.ts';
import {
  COMPLETE,
  FieldLines,
  INVALID,
  NEED_MORE,
  OPTION_CLOSE,
  OPTION_KEEP_ALIVE,
  OPTION_TOO_MANY,
  OPTION_UPGRADE,
  TOO_MANY_FIELDS,
} from './field-lines.ts';
import { passesIn } from './via.ts';

export interface HeadLimits {
  /** Bytes of the whole head. */
  readonly headSize: number;
  /** Number of field lines. */
  readonly fields: number;
}

const MAX_METHOD = 32;
const MAX_LEADING_CRLF = 8;
const HTTP_11 = Buffer.from('HTTP/1.1\r\n');
const VERSION_LENGTH = 8;
const SLASH = 47;
const STAR = 42;
const QUESTION = 63;
const MIN_STORE = 512;
/** A store larger than this is not kept between requests. */
const MAX_KEPT_STORE = 4_096;
const METHODS = ['GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'].map((name) => ({
  name,
  bytes: Buffer.from(name),
}));
const CHUNKED = asciiBytes('chunked');
const CONTINUE = asciiBytes('100-continue');
const TRAILERS = asciiBytes('trailers');
const WEBSOCKET = asciiBytes('websocket');
const SCHEMES = [asciiBytes('http'), asciiBytes('https')];
const NO_BUFFER = Buffer.alloc(0);

export class RequestHead {
  readonly fields = new FieldLines();
  /** Why the head was refused, after `INVALID`. */
  cause: CauseCode = 'bad_request';
  method = '';
  /** 1 for HTTP/1.1, 0 for HTTP/1.0. */
  minor = 1;
  /** The request target as received. */
  targetStart = 0;
  targetEnd = 0;
  /** What of the target goes on in origin form; empty when it is `*` or an absolute form without path. */
  pathStart = 0;
  pathEnd = 0;
  queryEnd = 0;
  /** The authority (host and port) that counts: of the target if it has one, else of Host. Empty in 1.0 without. */
  authorityStart = 0;
  authorityEnd = 0;
  hostEnd = 0;
  /** Whether the target is `*`, or an absolute form that means it. */
  asterisk = false;
  absolute = false;
  /** -1 when there is none. */
  contentLength = -1;
  chunked = false;
  /** Whether the client wants (and may have) another request on this connection. */
  keepAlive = true;
  expectContinue = false;
  /** A valid WebSocket handshake of a client. */
  websocket = false;
  /** It takes trailers (`TE: trailers`). */
  takesTrailers = false;
  /** Value of Max-Forwards on OPTIONS, -1 when there is none. */
  maxForwards = -1;
  /** Proxies of our name that it has been through, as `Via` has them. */
  passes = 0;

  #began = false;
  #lineDone = false;
  #store = NO_BUFFER;

  /** Whether any byte of a head has been seen; the empty lines before it are none. */
  get began(): boolean {
    return this.#began;
  }

  /** Length of the complete head, including empty lines before it. */
  get length(): number {
    return this.fields.cursor;
  }

  /** Whether the request line is complete, so that method and target can be logged. */
  get lineDone(): boolean {
    return this.#lineDone;
  }

  get hasBody(): boolean {
    return this.chunked || this.contentLength > 0;
  }

  reset(): void {
    this.#began = false;
    this.#lineDone = false;
    this.method = '';
    this.targetStart = 0;
    this.targetEnd = 0;
    this.authorityStart = 0;
    this.authorityEnd = 0;
    this.hostEnd = 0;
    this.fields.start(0);
    if (this.#store.length > MAX_KEPT_STORE) this.#store = NO_BUFFER;
  }

  /**
   * Parses the head that begins at `start`. After `NEED_MORE` it is called again with at least the same bytes, at the
   * same or another place; after `INVALID`, `cause` says why.
   */
  parse(buffer: Buffer, start: number, end: number, limits: HeadLimits): number {
    const fields = this.fields;
    fields.buffer = buffer;
    fields.base = start;
    const available = Math.min(end - start, limits.headSize);
    if (!this.#lineDone) {
      const outcome = this.#parseLine(available);
      if (outcome === INVALID) return INVALID;
      if (outcome === NEED_MORE) {
        return end - start >= limits.headSize ? this.#refuse('target_too_long') : NEED_MORE;
      }
      this.#lineDone = true;
    }
    const outcome = fields.parse(available, limits.fields, false);
    if (outcome === COMPLETE) return this.#interpret();
    if (outcome === TOO_MANY_FIELDS) return this.#refuse('head_too_large');
    if (outcome === INVALID) return this.#refuse('bad_request');
    return end - start >= limits.headSize ? this.#refuse('head_too_large') : NEED_MORE;
  }

  /** Copies the head into memory of its own, so that the bytes it was parsed from may go. */
  own(): void {
    const fields = this.fields;
    const length = fields.cursor;
    if (this.#store.length < length) {
      this.#store = Buffer.allocUnsafe(Math.max(MIN_STORE, 2 ** Math.ceil(Math.log2(length))));
    }
    fields.buffer.copy(this.#store, 0, fields.base, fields.base + length);
    fields.buffer = this.#store;
    fields.base = 0;
  }

  text(start: number, end: number): string {
    return this.fields.text(start, end);
  }

  #refuse(cause: CauseCode): typeof INVALID {
    this.cause = cause;
    return INVALID;
  }

  #parseLine(available: number): number {
    const { buffer, base } = this.fields;
    const stop = base + available;
    let at = base;
    while (at < stop && buffer[at] === CR && at - base < 2 * MAX_LEADING_CRLF) {
      if (at + 1 === stop) return NEED_MORE;
      if (buffer[at + 1] !== LF) return this.#refuse('bad_request');
      at += 2;
    }
    this.#began = this.#began || at < stop;
    const methodStart = at;
    while (at < stop && ((BYTE_CLASS[buffer[at] as number] as number) & TOKEN) !== 0) at++;
    if (at - methodStart > MAX_METHOD) return this.#refuse('bad_request');
    if (at === stop) return NEED_MORE;
    if (at === methodStart || buffer[at] !== SPACE) return this.#refuse('bad_request');
    const methodEnd = at++;
    const targetStart = at;
    while (at < stop && ((BYTE_CLASS[buffer[at] as number] as number) & TARGET) !== 0) at++;
    if (at === stop) return NEED_MORE;
    if (at === targetStart || buffer[at] !== SPACE) return this.#refuse('bad_request');
    const targetEnd = at++;
    const outcome = this.#parseVersion(at, stop);
    if (outcome !== COMPLETE) return outcome;
    this.method = methodName(buffer, methodStart, methodEnd);
    this.targetStart = targetStart - base;
    this.targetEnd = targetEnd - base;
    this.fields.start(at + HTTP_11.length - base);
    return COMPLETE;
  }

  #parseVersion(at: number, stop: number): number {
    const { buffer } = this.fields;
    let wrongVersion = false;
    this.minor = 1;
    for (let i = 0; i < HTTP_11.length; i++) {
      if (at + i === stop) return NEED_MORE;
      const byte = buffer[at + i] as number;
      if (byte === HTTP_11[i]) continue;
      const digit = byte >= 48 && byte <= 57;
      // Both digits of the version may differ, nothing else.
      if (!digit || (i !== VERSION_LENGTH - 3 && i !== VERSION_LENGTH - 1))
        return this.#refuse('bad_request');
      if (i === VERSION_LENGTH - 1 && byte === 48) this.minor = 0;
      else wrongVersion = true;
    }
    return wrongVersion ? this.#refuse('version_unknown') : COMPLETE;
  }

  /** Gives the complete head its one meaning, or refuses it. */
  #interpret(): number {
    const fields = this.fields;
    this.contentLength = -1;
    this.chunked = false;
    this.expectContinue = false;
    this.takesTrailers = false;
    this.websocket = false;
    this.maxForwards = -1;
    this.passes = 0;
    let host = -1;
    let upgrade = -1;
    let keys = 0;
    for (let i = 0; i < fields.count; i++) {
      switch (fields.kinds[i]) {
        case kind.HOST:
          if (host >= 0) return this.#refuse('bad_request');
          host = i;
          break;
        case kind.CONTENT_LENGTH:
          if (this.contentLength >= 0) return this.#refuse('bad_request');
          this.contentLength = this.#decimal(i);
          if (this.contentLength < 0) return this.#refuse('bad_request');
          break;
        case kind.TRANSFER_ENCODING:
          if (this.chunked || this.minor === 0 || !fields.valueIs(i, CHUNKED)) {
            return this.#refuse('bad_request');
          }
          this.chunked = true;
          break;
        case kind.EXPECT:
          if (!fields.valueIs(i, CONTINUE)) return this.#refuse('expectation_unknown');
          this.expectContinue = this.minor === 1;
          break;
        case kind.TE:
          this.takesTrailers = this.takesTrailers || this.#lists(i, TRAILERS);
          break;
        case kind.UPGRADE:
          upgrade = i;
          break;
        case kind.MAX_FORWARDS:
          if (this.method !== 'OPTIONS') break;
          if (this.maxForwards >= 0) return this.#refuse('bad_request');
          this.maxForwards = this.#decimal(i);
          if (this.maxForwards < 0) return this.#refuse('bad_request');
          break;
        case kind.WEBSOCKET_KEY:
        case kind.WEBSOCKET_VERSION:
          keys++;
          break;
        case kind.VIA:
          this.passes += passesIn(
            fields.buffer,
            fields.base + fields.valueStart(i),
            fields.base + fields.valueEnd(i),
          );
          break;
      }
    }
    if (this.chunked && this.contentLength >= 0) return this.#refuse('bad_request');
    const options = fields.readConnection();
    if ((options & OPTION_TOO_MANY) !== 0) return this.#refuse('head_too_large');
    this.keepAlive =
      (options & OPTION_CLOSE) === 0 && (this.minor === 1 || (options & OPTION_KEEP_ALIVE) !== 0);
    const outcome = this.#interpretTarget(host);
    if (outcome !== COMPLETE) return outcome;
    if (this.method === 'CONNECT' || this.method === 'TRACE') return this.#refuse('method_refused');
    if (upgrade >= 0 && keys === 2 && (options & OPTION_UPGRADE) !== 0) {
      this.websocket = this.#isWebSocket(upgrade);
    }
    return COMPLETE;
  }

  #decimal(index: number): number {
    const { buffer, base } = this.fields;
    return parseDecimal(buffer, base + this.fields.valueStart(index), base + this.fields.valueEnd(index));
  }

  #lists(index: number, lower: Uint8Array): boolean {
    const { buffer, base } = this.fields;
    let found = false;
    const start = base + this.fields.valueStart(index);
    eachListElement(buffer, start, base + this.fields.valueEnd(index), (from, to) => {
      found = found || equalsIgnoringCase(buffer, from, to, lower);
    });
    return found;
  }

  /** RFC 9112 §3.2; the authority of an absolute form wins over Host, which must be valid all the same. */
  #interpretTarget(host: number): number {
    const { buffer, base } = this.fields;
    this.asterisk = false;
    this.absolute = false;
    if (host >= 0) {
      const outcome = this.#takeAuthority(this.fields.valueStart(host), this.fields.valueEnd(host));
      if (outcome !== COMPLETE) return outcome;
    } else if (this.minor === 1) {
      return this.#refuse('bad_request');
    }
    const first = buffer[base + this.targetStart] as number;
    this.pathStart = this.targetStart;
    this.queryEnd = this.targetEnd;
    if (first === SLASH) {
      this.pathEnd = this.#pathEnd(this.targetStart);
      return COMPLETE;
    }
    if (first === STAR && this.targetEnd - this.targetStart === 1) {
      this.asterisk = true;
      this.pathEnd = this.targetEnd;
      return this.method === 'OPTIONS' ? COMPLETE : this.#refuse('bad_request');
    }
    return this.method === 'CONNECT' ? this.#refuse('method_refused') : this.#interpretAbsolute();
  }

  #interpretAbsolute(): number {
    const { buffer, base } = this.fields;
    const end = base + this.targetEnd;
    let at = base + this.targetStart;
    while (at < end && buffer[at] !== 58) at++;
    const scheme = SCHEMES.some((name) => equalsIgnoringCase(buffer, base + this.targetStart, at, name));
    if (!scheme || buffer[at + 1] !== SLASH || buffer[at + 2] !== SLASH || at + 3 > end) {
      return this.#refuse('bad_request');
    }
    const authorityStart = at + 3;
    at = authorityStart;
    while (at < end && buffer[at] !== SLASH && buffer[at] !== QUESTION) at++;
    this.absolute = true;
    this.pathStart = at - base;
    this.pathEnd = this.#pathEnd(this.pathStart);
    this.asterisk = this.method === 'OPTIONS' && at === end;
    return this.#takeAuthority(authorityStart - base, at - base);
  }

  #takeAuthority(start: number, end: number): number {
    const { buffer, base } = this.fields;
    const endOfHost = hostEnd(buffer, base + start, base + end);
    if (endOfHost < 0) return this.#refuse('bad_request');
    this.authorityStart = start;
    this.authorityEnd = end;
    this.hostEnd = endOfHost - base;
    return COMPLETE;
  }

  #pathEnd(from: number): number {
    const { buffer, base } = this.fields;
    let at = from;
    while (at < this.targetEnd && buffer[base + at] !== QUESTION) at++;
    return at;
  }

  /** RFC 6455 §4.2.1. The version is the backend's to judge: it answers 426 with the ones it knows. */
  #isWebSocket(upgrade: number): boolean {
    if (this.method !== 'GET' || this.minor === 0 || this.hasBody || this.asterisk) return false;
    const key = this.fields.find(kind.WEBSOCKET_KEY);
    const version = this.fields.find(kind.WEBSOCKET_VERSION);
    return (
      key >= 0 &&
      version >= 0 &&
      isWebSocketKey(this.fields.value(key)) &&
      /^\d{1,3}$/.test(this.fields.value(version)) &&
      this.#lists(upgrade, WEBSOCKET)
    );
  }
}

function methodName(buffer: Buffer, start: number, end: number): string {
  for (let i = 0; i < METHODS.length; i++) {
    const { bytes, name } = METHODS[i] as (typeof METHODS)[number];
    if (equalBytes(buffer, start, end, bytes, 0, bytes.length)) return name;
  }
  return latin1(buffer, start, end);
}

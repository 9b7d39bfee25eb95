/**
 * The head of a backend's answer, parsed in place and as strictly as a request (engine.md, Response head): whatever
 * could be framed in two ways is refused, because one of them would be another visitor's answer.
 */
import {
  asciiBytes,
  BYTE_CLASS,
  CR,
  eachListElement,
  FIELD_VALUE,
  LF,
  parseDecimal,
  SPACE,
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
} from './field-lines.ts';

/** How the body of an answer ends. */
export type ResponseFraming = 'none' | 'length' | 'chunked' | 'close';

const MAX_HEAD = 65_536;
const MAX_FIELDS = 1_000;
const PREFIX = Buffer.from('HTTP/1.');
const CHUNKED = asciiBytes('chunked');

export class ResponseHead {
  readonly fields = new FieldLines();
  status = 0;
  minor = 1;
  /** From the space after the version through the CRLF: ` 200 OK\r\n`. */
  statusStart = 0;
  reasonEnd = 0;
  /** -1 when there is none. */
  contentLength = -1;
  chunked = false;
  hasDate = false;
  /** Whether the backend keeps its connection open after this answer. */
  keepAlive = false;
  /** It names `Upgrade` in `Connection`, as a 101 must. */
  upgrade = false;
  /**
   * Milliseconds that the backend says it keeps an idle connection, or null. Made with the head: by the end of the
   * answer the bytes it was read from may be others.
   */
  keepAliveMs: number | null = null;
  #lineDone = false;

  get length(): number {
    return this.fields.cursor;
  }

  get informational(): boolean {
    return this.status < 200;
  }

  reset(): void {
    this.#lineDone = false;
    this.fields.start(0);
  }

  /** Like `RequestHead.parse`; there is one reason to refuse: it is not valid. */
  parse(buffer: Buffer, start: number, end: number): number {
    const fields = this.fields;
    fields.buffer = buffer;
    fields.base = start;
    const available = Math.min(end - start, MAX_HEAD);
    if (!this.#lineDone) {
      const outcome = this.#parseLine(start, start + available);
      if (outcome !== COMPLETE) return outcome === NEED_MORE && available === MAX_HEAD ? INVALID : outcome;
      this.#lineDone = true;
    }
    const outcome = fields.parse(available, MAX_FIELDS, true);
    if (outcome === COMPLETE) return this.#interpret();
    return outcome === NEED_MORE && available < MAX_HEAD ? NEED_MORE : INVALID;
  }

  /** How the body after this head ends; a 1xx has none. RFC 9112 §6.3. */
  framing(method: string): ResponseFraming {
    if (method === 'HEAD' || this.status < 200 || this.status === 204 || this.status === 304) return 'none';
    if (this.chunked) return 'chunked';
    if (this.contentLength < 0) return 'close';
    return this.contentLength === 0 ? 'none' : 'length';
  }

  #parseLine(start: number, stop: number): number {
    const buffer = this.fields.buffer;
    for (let i = 0; i < PREFIX.length; i++) {
      if (start + i === stop) return NEED_MORE;
      if (buffer[start + i] !== PREFIX[i]) return INVALID;
    }
    let at = start + PREFIX.length;
    // Minor digit, space, three digits of the status.
    if (at + 5 > stop) return NEED_MORE;
    this.minor = (buffer[at] as number) - 48;
    if ((this.minor !== 0 && this.minor !== 1) || buffer[at + 1] !== SPACE) return INVALID;
    this.statusStart = at + 1 - start;
    this.status = parseDecimal(buffer, at + 2, at + 5);
    if (this.status < 100 || this.status > 599) return INVALID;
    at += 5;
    // A reason phrase may be empty; some servers then leave out the space before it, too.
    if (at < stop && buffer[at] !== SPACE && buffer[at] !== CR) return INVALID;
    while (at < stop && ((BYTE_CLASS[buffer[at] as number] as number) & FIELD_VALUE) !== 0) at++;
    if (at === stop) return NEED_MORE;
    if (buffer[at] !== CR) return INVALID;
    if (at + 1 === stop) return NEED_MORE;
    if (buffer[at + 1] !== LF) return INVALID;
    this.reasonEnd = at - start;
    this.fields.start(at + 2 - start);
    return COMPLETE;
  }

  #interpret(): number {
    const fields = this.fields;
    this.contentLength = -1;
    this.chunked = false;
    this.hasDate = false;
    this.keepAliveMs = null;
    let transferEncodings = 0;
    for (let i = 0; i < fields.count; i++) {
      switch (fields.kinds[i]) {
        case kind.CONTENT_LENGTH:
          if (this.contentLength >= 0) return INVALID;
          this.contentLength = parseDecimal(
            fields.buffer,
            fields.base + fields.valueStart(i),
            fields.base + fields.valueEnd(i),
          );
          if (this.contentLength < 0) return INVALID;
          break;
        case kind.TRANSFER_ENCODING:
          if (transferEncodings++ > 0 || this.minor === 0 || !fields.valueIs(i, CHUNKED)) return INVALID;
          this.chunked = true;
          break;
        case kind.DATE:
          this.hasDate = true;
          break;
        case kind.KEEP_ALIVE:
          this.keepAliveMs ??= timeoutMs(fields.value(i));
          break;
      }
    }
    if (this.chunked && this.contentLength >= 0) return INVALID;
    const options = fields.readConnection();
    if ((options & OPTION_TOO_MANY) !== 0) return INVALID;
    this.upgrade = (options & OPTION_UPGRADE) !== 0;
    // Named by Connection it does not go on, and ours takes its place.
    this.hasDate = this.hasDate && fields.find(kind.DATE) >= 0;
    // A 204 with a body is no HTTP (RFC 9112 §6.3): should the body come, it must not meet the next request.
    const lies = this.status === 204 && (this.chunked || this.contentLength > 0);
    this.keepAlive =
      !lies && (options & OPTION_CLOSE) === 0 && (this.minor === 1 || (options & OPTION_KEEP_ALIVE) !== 0);
    return COMPLETE;
  }

  /** Whether the fields of this kind list `lower` (a token in lower case). */
  lists(fieldKind: number, lower: string): boolean {
    const fields = this.fields;
    let found = false;
    for (let i = fields.find(fieldKind); i >= 0; i = fields.find(fieldKind, i + 1)) {
      const end = fields.base + fields.valueEnd(i);
      eachListElement(fields.buffer, fields.base + fields.valueStart(i), end, (from, to) => {
        found = found || fields.buffer.toString('latin1', from, to).toLowerCase() === lower;
      });
    }
    return found;
  }
}

/** What a value of Keep-Alive says of the time-out (RFC 2068 §19.7.1.1). */
function timeoutMs(value: string): number | null {
  const timeout = /(?:^|[\s,;])timeout\s*=\s*"?(\d{1,6})/i.exec(value);
  return timeout === null ? null : Number(timeout[1]) * 1_000;
}

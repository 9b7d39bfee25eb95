/**
 * Parses the field lines of a head or trailer section in place (RFC 9112 §5) and remembers where each stands; makes
 * no string. Resumes at the line it could not finish when more bytes have come.
 */
import {
  asciiBytes,
  BYTE_CLASS,
  COLON,
  CR,
  eachListElement,
  equalsIgnoringCase,
  FIELD_VALUE,
  LF,
  latin1,
  SPACE,
  TAB,
  TOKEN,
  UNDERSCORE,
} from './bytes.ts';
import {
  CONNECTION,
  classify,
  classifyUnderscored,
  IMMUNE_TO_CONNECTION,
  NAMED_BY_CONNECTION,
} from './field-kinds.ts';

/** Outcome of a parser step. */
export const NEED_MORE = 0;
export const COMPLETE = 1;
export const INVALID = 2;
export const TOO_MANY_FIELDS = 3;

const EMPTY = Buffer.alloc(0);
/** Shared; nobody adds to it. */
export const NO_NAMES: Uint8Array[] = [];
const INITIAL_CAPACITY = 24;
const STRIDE = 4;
/** Memory of sections that are over; most connections carry few requests, and a typed array costs more than those. */
const freePositions: Int32Array[] = [];
const freeKinds: Uint8Array[] = [];
const MAX_FREE = 256;
const NO_POSITIONS = new Int32Array(0);
const NO_KINDS = new Uint8Array(0);

export class FieldLines {
  /** The bytes; every offset here counts from `base`. */
  buffer: Buffer = EMPTY;
  base = 0;
  count = 0;
  /** The line that is parsed next; after the end, the first byte behind the empty line. */
  cursor = 0;
  /** Where the empty line that ends the section begins. */
  end = 0;
  #positions = freePositions.pop() ?? new Int32Array(INITIAL_CAPACITY * STRIDE);
  kinds = freeKinds.pop() ?? new Uint8Array(INITIAL_CAPACITY);
  /** What `Connection` named beside the options that the proxy knows, in lower case; says so for trailers, too. */
  named: Uint8Array[] = NO_NAMES;

  /** Forgets everything; the section begins `offset` bytes after the base. */
  start(offset: number): void {
    this.count = 0;
    this.cursor = offset;
    this.end = offset;
  }

  /** The owner is gone for good: its memory serves another one, and whatever is still asked of it finds nothing. */
  free(): void {
    if (this.kinds.length === INITIAL_CAPACITY && freeKinds.length < MAX_FREE) {
      freePositions.push(this.#positions);
      freeKinds.push(this.kinds);
    }
    this.#positions = NO_POSITIONS;
    this.kinds = NO_KINDS;
    this.buffer = EMPTY;
    this.count = 0;
  }

  nameStart(index: number): number {
    return this.#positions[index * STRIDE] as number;
  }
  nameEnd(index: number): number {
    return this.#positions[index * STRIDE + 1] as number;
  }
  valueStart(index: number): number {
    return this.#positions[index * STRIDE + 2] as number;
  }
  valueEnd(index: number): number {
    return this.#positions[index * STRIDE + 3] as number;
  }
  /** First byte after the line's CRLF. */
  lineEnd(index: number): number {
    return index + 1 < this.count ? this.nameStart(index + 1) : this.end;
  }

  name(index: number): string {
    return this.text(this.nameStart(index), this.nameEnd(index));
  }

  /** The value, each byte as one character. */
  value(index: number): string {
    return this.text(this.valueStart(index), this.valueEnd(index));
  }

  text(start: number, end: number): string {
    return latin1(this.buffer, this.base + start, this.base + end);
  }

  /** Whether the name is `lower`, which is in lower case, in any case. */
  nameIs(index: number, lower: Uint8Array): boolean {
    return equalsIgnoringCase(
      this.buffer,
      this.base + this.nameStart(index),
      this.base + this.nameEnd(index),
      lower,
    );
  }

  valueIs(index: number, lower: Uint8Array): boolean {
    return equalsIgnoringCase(
      this.buffer,
      this.base + this.valueStart(index),
      this.base + this.valueEnd(index),
      lower,
    );
  }

  /** The first field of this kind from `from` on, or -1. */
  find(kind: number, from = 0): number {
    for (let i = from; i < this.count; i++) if (this.kinds[i] === kind) return i;
    return -1;
  }

  /**
   * Parses on from `cursor`; `available` bytes from the base are there. `lenientColon` takes white space before a
   * colon (RFC 9112 §5.1: it is removed from responses and refused in requests).
   */
  parse(available: number, maxFields: number, lenientColon: boolean): number {
    const buffer = this.buffer;
    const base = this.base;
    const stop = base + available;
    for (;;) {
      let at = base + this.cursor;
      const lineStart = at;
      let flags = 0;
      // Every index below is smaller than `stop`, which lies in the buffer.
      while (at < stop) {
        const known = BYTE_CLASS[buffer[at] as number] as number;
        if ((known & TOKEN) === 0) break;
        flags |= known;
        at++;
      }
      if (at === stop) return NEED_MORE;
      if (at === lineStart) return this.#sectionEnd(at, stop);
      const nameEnd = at;
      if (lenientColon) while (at < stop && isBlank(buffer[at] as number)) at++;
      if (at === stop) return NEED_MORE;
      if (buffer[at] !== COLON) return INVALID;
      at++;
      while (at < stop && isBlank(buffer[at] as number)) at++;
      const valueStart = at;
      while (at < stop && ((BYTE_CLASS[buffer[at] as number] as number) & FIELD_VALUE) !== 0) at++;
      if (at === stop) return NEED_MORE;
      if (buffer[at] !== CR) return INVALID;
      if (at + 1 === stop) return NEED_MORE;
      if (buffer[at + 1] !== LF) return INVALID;
      let valueEnd = at;
      while (valueEnd > valueStart && isBlank(buffer[valueEnd - 1] as number)) valueEnd--;
      if (this.count === maxFields) return TOO_MANY_FIELDS;
      const kind =
        (flags & UNDERSCORE) === 0
          ? classify(buffer, lineStart, nameEnd)
          : classifyUnderscored(buffer, lineStart, nameEnd);
      this.#add(lineStart - base, nameEnd - base, valueStart - base, valueEnd - base, kind);
      this.cursor = at + 2 - base;
    }
  }

  #sectionEnd(at: number, stop: number): number {
    if (this.buffer[at] !== CR) return INVALID;
    if (at + 1 === stop) return NEED_MORE;
    if (this.buffer[at + 1] !== LF) return INVALID;
    this.end = at - this.base;
    this.cursor = this.end + 2;
    return COMPLETE;
  }

  #add(nameStart: number, nameEnd: number, valueStart: number, valueEnd: number, kind: number): void {
    const index = this.count++;
    if (index === this.kinds.length) this.#grow();
    const at = index * STRIDE;
    const positions = this.#positions;
    positions[at] = nameStart;
    positions[at + 1] = nameEnd;
    positions[at + 2] = valueStart;
    positions[at + 3] = valueEnd;
    this.kinds[index] = kind;
  }

  #grow(): void {
    const capacity = Math.max(INITIAL_CAPACITY, this.kinds.length * 2);
    const positions = new Int32Array(capacity * STRIDE);
    positions.set(this.#positions);
    this.#positions = positions;
    const kinds = new Uint8Array(capacity);
    kinds.set(this.kinds);
    this.kinds = kinds;
  }

  /**
   * Reads every `Connection` field: answers the options the proxy knows as flags, and marks the fields named by other
   * options as `NAMED_BY_CONNECTION`, except those that it may not remove. At most `MAX_NAMED` of them are read: each is
   * compared with every field, and thousands fit into one head.
   */
  readConnection(): number {
    let options = 0;
    this.named = NO_NAMES;
    for (let i = this.find(CONNECTION); i >= 0; i = this.find(CONNECTION, i + 1)) {
      const start = this.base + this.valueStart(i);
      const end = this.base + this.valueEnd(i);
      const whole = knownOption(this.buffer, start, end);
      if (whole !== 0) options |= whole;
      else
        eachListElement(this.buffer, start, end, (from, to) => {
          const option = knownOption(this.buffer, from, to);
          options |= option;
          if (option !== 0) return;
          if (this.named.length < MAX_NAMED) this.#markNamed(from, to);
          else options |= OPTION_TOO_MANY;
        });
    }
    return options;
  }

  #markNamed(from: number, to: number): void {
    const name = asciiBytes(latin1(this.buffer, from, to).toLowerCase());
    if (this.named.length === 0) this.named = [name];
    else this.named.push(name);
    for (let i = 0; i < this.count; i++) {
      if (IMMUNE_TO_CONNECTION[this.kinds[i] as number] === 0 && this.nameIs(i, name)) {
        this.kinds[i] = NAMED_BY_CONNECTION;
      }
    }
  }
}

/** Flags that `readConnection` answers. */
export const OPTION_CLOSE = 1;
export const OPTION_KEEP_ALIVE = 2;
export const OPTION_UPGRADE = 4;
/** More fields are named than are read; the message is to be refused. */
export const OPTION_TOO_MANY = 8;

/** Options of `Connection` that the proxy does not know, in one section. */
const MAX_NAMED = 100;

const CLOSE = asciiBytes('close');
const KEEP_ALIVE = asciiBytes('keep-alive');
const UPGRADE = asciiBytes('upgrade');

function knownOption(buffer: Buffer, start: number, end: number): number {
  if (equalsIgnoringCase(buffer, start, end, KEEP_ALIVE)) return OPTION_KEEP_ALIVE;
  if (equalsIgnoringCase(buffer, start, end, CLOSE)) return OPTION_CLOSE;
  if (equalsIgnoringCase(buffer, start, end, UPGRADE)) return OPTION_UPGRADE;
  return 0;
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

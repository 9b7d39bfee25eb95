/**
 * Decodes field blocks (RFC 7541), whole and bounded by their owner. Each field is handed on as a line of HTTP/1.1
 * with what kind of field it is; for entries of a table both were found out once.
 */
import { DynamicTable } from './dynamic-table.ts';
import { kindOf } from './field-rules.ts';
import { decodeHuffman } from './huffman.ts';
import { STATIC_TABLE, TABLE_SIZE } from './static-table.ts';

export interface FieldSink {
  /** `name: value` CRLF stands at `start` of `line`, lent for the call; `kind` is of `field-rules.ts`. */
  field(line: Buffer, start: number, nameLength: number, valueLength: number, kind: number): void;
}

/** Bytes of a line beyond its name and value. */
export const LINE_FRAME = 4;
const SEPARATOR = 2;
/** No number in a block of sensible size is greater; more digits are an attack. */
const MAX_INTEGER = 2 ** 24;
const MIN_SCRATCH = 4_096;
/** A larger scratch is not kept. */
const MAX_KEPT_SCRATCH = 131_072;

const staticLines = Buffer.from(
  STATIC_TABLE.map(([name, value]) => `${name}: ${value}\r\n`).join(''),
  'latin1',
);
const staticStarts = new Int32Array(STATIC_TABLE.length + 1);
const staticKinds = new Uint8Array(STATIC_TABLE.length + 1);
let lineStart = 0;
for (const [i, [name, value]] of STATIC_TABLE.entries()) {
  const valueStart = lineStart + name.length + SEPARATOR;
  staticStarts[i + 1] = lineStart;
  staticKinds[i + 1] = kindOf(
    staticLines,
    lineStart,
    lineStart + name.length,
    valueStart,
    valueStart + value.length,
  );
  lineStart += name.length + value.length + LINE_FRAME;
}
const staticNames = Uint8Array.from([0, ...STATIC_TABLE.map(([name]) => name.length)]);

/** Where literal fields are put together; used within one call only, by all connections of the process. */
let scratch: Buffer = Buffer.allocUnsafeSlow(MIN_SCRATCH);

export class HpackDecoder {
  readonly #table = new DynamicTable();
  #block: Buffer = scratch;
  #at = 0;
  #end = 0;

  /** False when the block is not valid: then the connection is lost (COMPRESSION_ERROR, RFC 9113 §4.3). */
  decode(block: Buffer, start: number, end: number, sink: FieldSink): boolean {
    // A literal: a name of the dynamic table at most, and two strings, which the Huffman code shortens to 5/8 at best.
    const room = 2 * (end - start) + TABLE_SIZE + LINE_FRAME;
    if (scratch.length < room || scratch.length > Math.max(room, MAX_KEPT_SCRATCH))
      scratch = Buffer.allocUnsafeSlow(room);
    this.#block = block;
    this.#at = start;
    this.#end = end;
    const valid = this.#fields(sink);
    // Nothing of a connection's buffer is kept alive by its decoder.
    this.#block = scratch;
    return valid;
  }

  #fields(sink: FieldSink): boolean {
    let sizeMayChange = true;
    while (this.#at < this.#end) {
      const first = this.#block[this.#at] as number;
      if (first >= 128) {
        if (!this.#indexed(sink)) return false;
      } else if (first >= 64) {
        if (!this.#literal(6, true, sink)) return false;
      } else if (first >= 32) {
        // §4.2: only at the beginning of a block.
        const limit = this.#integer(5);
        if (!sizeMayChange || limit < 0 || limit > TABLE_SIZE) return false;
        this.#table.setLimit(limit);
        continue;
      } else if (!this.#literal(4, false, sink)) return false;
      sizeMayChange = false;
    }
    return true;
  }

  #indexed(sink: FieldSink): boolean {
    const index = this.#integer(7);
    if (index <= 0) return false;
    if (index <= STATIC_TABLE.length) {
      const start = staticStarts[index] as number;
      const end = index < STATIC_TABLE.length ? (staticStarts[index + 1] as number) : staticLines.length;
      const nameLength = staticNames[index] as number;
      sink.field(
        staticLines,
        start,
        nameLength,
        end - start - nameLength - LINE_FRAME,
        staticKinds[index] as number,
      );
      return true;
    }
    const table = this.#table;
    const number = table.numberAt(index);
    if (number === 0) return false;
    const offset = table.offset(number);
    sink.field(table.bytes, offset, table.nameLength(number), table.valueLength(number), table.note(number));
    return true;
  }

  #literal(prefix: number, add: boolean, sink: FieldSink): boolean {
    const index = this.#integer(prefix);
    if (index < 0) return false;
    const nameEnd = index === 0 ? this.#string(0) : this.#nameOf(index);
    if (nameEnd < 0) return false;
    scratch[nameEnd] = 58;
    scratch[nameEnd + 1] = 32;
    const valueStart = nameEnd + SEPARATOR;
    const valueEnd = this.#string(valueStart);
    if (valueEnd < 0) return false;
    scratch[valueEnd] = 13;
    scratch[valueEnd + 1] = 10;
    const kind = kindOf(scratch, 0, nameEnd, valueStart, valueEnd);
    const valueLength = valueEnd - valueStart;
    if (add) {
      const table = this.#table;
      const length = valueEnd + 2;
      const offset = table.add(nameEnd, valueLength, length, kind);
      if (offset >= 0) scratch.copy(table.bytes, offset, 0, length);
    }
    sink.field(scratch, 0, nameEnd, valueLength, kind);
    return true;
  }

  /** Copies the name of an entry to the scratch; answers its length, -1 when there is no such entry. */
  #nameOf(index: number): number {
    if (index <= STATIC_TABLE.length) {
      const start = staticStarts[index] as number;
      const length = staticNames[index] as number;
      staticLines.copy(scratch, 0, start, start + length);
      return length;
    }
    const number = this.#table.numberAt(index);
    if (number === 0) return -1;
    const offset = this.#table.offset(number);
    const length = this.#table.nameLength(number);
    this.#table.bytes.copy(scratch, 0, offset, offset + length);
    return length;
  }

  /** A string literal (§5.2), decoded to `target` of the scratch; answers its end there, or -1. */
  #string(target: number): number {
    if (this.#at >= this.#end) return -1;
    const huffman = (this.#block[this.#at] as number) >= 128;
    const length = this.#integer(7);
    const start = this.#at;
    if (length < 0 || length > this.#end - start) return -1;
    this.#at = start + length;
    if (huffman) return decodeHuffman(this.#block, start, start + length, scratch, target);
    this.#block.copy(scratch, target, start, start + length);
    return target + length;
  }

  /** An integer (§5.1) whose first byte has `prefix` bits of it; -1 when it is cut off or too large. */
  #integer(prefix: number): number {
    const max = (1 << prefix) - 1;
    let value = (this.#block[this.#at++] as number) & max;
    if (value < max) return value;
    for (let shift = 0; this.#at < this.#end && shift <= 28; shift += 7) {
      const byte = this.#block[this.#at++] as number;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value <= MAX_INTEGER ? value : -1;
    }
    return -1;
  }
}

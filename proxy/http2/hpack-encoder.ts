/**
 * Encodes field blocks (RFC 7541). A field that comes a second time enters the dynamic table and costs a byte or two
 * from then on; one that never repeats (an ETag, a date) pushes nothing out. Cookies are never put into a table.
 */
import { asciiBytes, LOWER } from '../http1/bytes.ts';
import { DynamicTable } from './dynamic-table.ts';
import { encodeHuffman, huffmanLength } from './huffman.ts';
import { STATIC_TABLE, TABLE_SIZE } from './static-table.ts';

const SLOTS = 256;
const RECENT = 64;
/** A longer field would push too much out. */
const MAX_INDEXED = 512;
/** Beyond its bytes, a literal field has a tag and two lengths. */
const LITERAL_FRAME = 16;
const MIN_BLOCK = 4_096;
/** A larger block is not kept. */
const MAX_KEPT_BLOCK = 131_072;

const INDEXED = 0x80;
const LITERAL_ADDED = 0x40;
const SIZE_UPDATE = 0x20;
const LITERAL_NEVER = 0x10;
const LITERAL = 0x00;

const HASH_START = 0x811c9dc5;
const HASH_PRIME = 16_777_619;

/** A block is composed and sent within one call: one buffer serves all connections of the process. */
let block: Buffer = Buffer.allocUnsafeSlow(MIN_BLOCK);
let length = 0;

interface StaticName {
  readonly bytes: Uint8Array;
  readonly index: number;
}

/** Open addressing by the hash of the name; the first row of each name. */
const staticNames: (StaticName | null)[] = new Array(SLOTS).fill(null);
const statusIndexes = new Map<number, number>();
let setCookie = 0;
for (const [row, [name, value]] of STATIC_TABLE.entries()) {
  const index = row + 1;
  if (name === ':status') statusIndexes.set(Number(value), index);
  if (name === 'set-cookie') setCookie = index;
  const bytes = asciiBytes(name);
  let slot = hash(Buffer.from(bytes), 0, bytes.length, HASH_START) & (SLOTS - 1);
  const taken = (by: StaticName | null | undefined) => by != null && !Buffer.from(by.bytes).equals(bytes);
  while (taken(staticNames[slot])) slot = (slot + 1) % SLOTS;
  staticNames[slot] ??= { bytes, index };
}
const STATUS_NAME = 8;

function hash(bytes: Buffer, start: number, end: number, seed: number): number {
  let value = seed;
  for (let i = start; i < end; i++)
    value = Math.imul(value ^ (LOWER[bytes[i] as number] as number), HASH_PRIME);
  return value;
}

/** The index of a name in the static table; 0 when it has none. `nameHash` is that of the name. */
function staticName(bytes: Buffer, start: number, end: number, nameHash: number): number {
  for (let slot = nameHash & (SLOTS - 1); ; slot = (slot + 1) % SLOTS) {
    const candidate = staticNames[slot] as StaticName | null;
    if (candidate === null) return 0;
    if (sameIgnoringCase(bytes, start, end, candidate.bytes)) return candidate.index;
  }
}

function sameIgnoringCase(bytes: Buffer, start: number, end: number, lower: Uint8Array): boolean {
  if (end - start !== lower.length) return false;
  for (let i = 0; i < lower.length; i++) if (LOWER[bytes[start + i] as number] !== lower[i]) return false;
  return true;
}

export class HpackEncoder {
  readonly #table = new DynamicTable();
  /** By hash of name and value, the number of the entry. */
  #slots: Uint32Array | null = null;
  /** Hashes of fields that were sent once. */
  #recent: Uint32Array | null = null;
  /** The smallest limit since the last block, when it changed. */
  #smallest = -1;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; more than the default is not made use of. */
  setLimit(limit: number): void {
    const wanted = Math.min(limit, TABLE_SIZE);
    if (wanted === this.#table.limit && this.#smallest < 0) return;
    this.#smallest = this.#smallest < 0 ? wanted : Math.min(this.#smallest, wanted);
    this.#table.setLimit(wanted);
  }

  /** Begins a block. What is composed stands in `buffer` up to `length` until the next block of any connection. */
  begin(): void {
    length = 0;
    if (block.length > MAX_KEPT_BLOCK) block = Buffer.allocUnsafeSlow(MIN_BLOCK);
    if (this.#smallest < 0) return;
    // RFC 7541 §4.2: the smallest size in between, then the one that counts.
    if (this.#smallest < this.#table.limit) integer(SIZE_UPDATE, 5, this.#smallest);
    integer(SIZE_UPDATE, 5, this.#table.limit);
    this.#smallest = -1;
  }

  get buffer(): Buffer {
    return block;
  }

  get length(): number {
    return length;
  }

  status(status: number): void {
    room(LITERAL_FRAME);
    const index = statusIndexes.get(status);
    if (index !== undefined) {
      integer(INDEXED, 7, index);
      return;
    }
    integer(LITERAL, 4, STATUS_NAME);
    block[length++] = 3;
    block[length++] = 48 + Math.floor(status / 100);
    block[length++] = 48 + (Math.floor(status / 10) % 10);
    block[length++] = 48 + (status % 10);
  }

  /** A field whose name (in any case) and value stand at the given places. */
  field(bytes: Buffer, nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): void {
    const nameHash = hash(bytes, nameStart, nameEnd, HASH_START);
    const full = valueHash(bytes, valueStart, valueEnd, nameHash);
    room(nameEnd - nameStart + valueEnd - valueStart + LITERAL_FRAME);
    const known = this.#find(bytes, nameStart, nameEnd, valueStart, valueEnd, full);
    if (known > 0) {
      integer(INDEXED, 7, known);
      return;
    }
    const name = staticName(bytes, nameStart, nameEnd, nameHash);
    if (name === setCookie) integer(LITERAL_NEVER, 4, name);
    else if (this.#worthAdding(nameEnd - nameStart + valueEnd - valueStart, full)) {
      integer(LITERAL_ADDED, 6, name);
      this.#add(bytes, nameStart, nameEnd, valueStart, valueEnd, full);
    } else integer(LITERAL, 4, name);
    if (name === 0) lowerString(bytes, nameStart, nameEnd);
    string(bytes, valueStart, valueEnd);
  }

  /** A field of ours; the value holds no control characters. */
  text(name: string, value: string): void {
    const line = Buffer.from(name + value, isLatin1(value) ? 'latin1' : 'utf8');
    this.field(line, 0, name.length, name.length, line.length);
  }

  #find(
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
    full: number,
  ): number {
    if (this.#slots === null) return 0;
    const table = this.#table;
    const number = this.#slots[full & (SLOTS - 1)] as number;
    if (number === 0 || !table.has(number) || table.note(number) !== full) return 0;
    const nameLength = nameEnd - nameStart;
    const valueLength = valueEnd - valueStart;
    if (table.nameLength(number) !== nameLength || table.valueLength(number) !== valueLength) return 0;
    const stored = table.bytes;
    const at = table.offset(number);
    // In range: the entry has as many bytes as the field.
    for (let i = 0; i < nameLength; i++) {
      if (stored[at + i] !== LOWER[bytes[nameStart + i] as number]) return 0;
    }
    const valueAt = at + nameLength;
    for (let i = 0; i < valueLength; i++) if (stored[valueAt + i] !== bytes[valueStart + i]) return 0;
    return table.indexOf(number);
  }

  /** Whether the field was sent before, not long ago. */
  #worthAdding(size: number, full: number): boolean {
    if (size > MAX_INDEXED || this.#table.limit < size) return false;
    this.#recent ??= new Uint32Array(RECENT);
    const slot = full & (RECENT - 1);
    const again = this.#recent[slot] === full >>> 0;
    this.#recent[slot] = full;
    return again;
  }

  #add(
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
    full: number,
  ): void {
    const table = this.#table;
    const nameLength = nameEnd - nameStart;
    const valueLength = valueEnd - valueStart;
    const at = table.add(nameLength, valueLength, nameLength + valueLength, full);
    if (at < 0) return;
    for (let i = 0; i < nameLength; i++)
      table.bytes[at + i] = LOWER[bytes[nameStart + i] as number] as number;
    bytes.copy(table.bytes, at + nameLength, valueStart, valueEnd);
    this.#slots ??= new Uint32Array(SLOTS);
    this.#slots[full & (SLOTS - 1)] = table.added;
  }
}

/** Values differ by case, so they are hashed as they are. */
function valueHash(bytes: Buffer, start: number, end: number, seed: number): number {
  let value = Math.imul(seed ^ 58, HASH_PRIME);
  for (let i = start; i < end; i++) value = Math.imul(value ^ (bytes[i] as number), HASH_PRIME);
  return value;
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) return false;
  return true;
}

function room(size: number): void {
  if (length + size <= block.length) return;
  const larger = Buffer.allocUnsafeSlow(2 * (length + size));
  block.copy(larger, 0, 0, length);
  block = larger;
}

/** RFC 7541 §5.1; the caller has made room. */
function integer(tag: number, prefix: number, value: number): void {
  const max = (1 << prefix) - 1;
  if (value < max) {
    block[length++] = tag | value;
    return;
  }
  block[length++] = tag | max;
  let rest = value - max;
  for (; rest >= 128; rest >>>= 7) block[length++] = (rest & 127) | 128;
  block[length++] = rest;
}

/** RFC 7541 §5.2: in the Huffman code where that is shorter. */
function string(bytes: Buffer, start: number, end: number): void {
  const coded = huffmanLength(bytes, start, end);
  if (coded < end - start) {
    integer(0x80, 7, coded);
    length = encodeHuffman(bytes, start, end, block, length);
    return;
  }
  integer(0, 7, end - start);
  bytes.copy(block, length, start, end);
  length += end - start;
}

/** A name in lower case; new names are rare, and stay in the table where they repeat. */
function lowerString(bytes: Buffer, start: number, end: number): void {
  const lower = Buffer.from(bytes.subarray(start, end));
  for (let i = 0; i < lower.length; i++) lower[i] = LOWER[lower[i] as number] as number;
  string(lower, 0, lower.length);
}

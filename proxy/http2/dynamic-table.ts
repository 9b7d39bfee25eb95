/**
 * A dynamic table of HPACK (RFC 7541 §2.3.2, §4): the newest entries that fit its size, oldest out first. Their bytes
 * stand in one ring of a fixed size, so that neither entries nor evictions allocate, and nothing else is pinned.
 */
import { ENTRY_OVERHEAD, STATIC_TABLE, TABLE_SIZE } from './static-table.ts';

/** Twice the size: an entry is never split, and the gap at the end of the ring is smaller than an entry that lives. */
const RING = 2 * TABLE_SIZE;
const MAX_ENTRIES = TABLE_SIZE / ENTRY_OVERHEAD;
const STRIDE = 4;
const FIRST_INDEX = STATIC_TABLE.length + 1;
const EMPTY = Buffer.alloc(0);

/** Entries are named by their number: the first one that was ever added is 1. */
export class DynamicTable {
  /** Where the bytes of entries stand. */
  bytes: Buffer = EMPTY;
  /** How many were ever added: the number of the newest. */
  added = 0;
  #count = 0;
  #size = 0;
  #limit = TABLE_SIZE;
  #cursor = 0;
  #entries = new Int32Array(0);

  get limit(): number {
    return this.#limit;
  }

  /** Whether the entry with this number is still there. */
  has(number: number): boolean {
    return number > this.added - this.#count && number <= this.added;
  }

  /** The number behind an index of the wire; 0 when nothing is there. */
  numberAt(index: number): number {
    const number = this.added - (index - FIRST_INDEX);
    return this.has(number) ? number : 0;
  }

  /** The index of the wire under which an entry is known now. */
  indexOf(number: number): number {
    return FIRST_INDEX + this.added - number;
  }

  /** Where its bytes begin. */
  offset(number: number): number {
    return this.#entries[(number % MAX_ENTRIES) * STRIDE] as number;
  }
  nameLength(number: number): number {
    return this.#entries[(number % MAX_ENTRIES) * STRIDE + 1] as number;
  }
  valueLength(number: number): number {
    return this.#entries[(number % MAX_ENTRIES) * STRIDE + 2] as number;
  }
  /** What the owner of the table noted of it. */
  note(number: number): number {
    return this.#entries[(number % MAX_ENTRIES) * STRIDE + 3] as number;
  }

  /** At most `TABLE_SIZE`. */
  setLimit(limit: number): void {
    this.#limit = Math.min(limit, TABLE_SIZE);
    this.#evict(this.#limit);
  }

  /**
   * Adds an entry with room for `length` bytes (its name, its value, and at most `ENTRY_OVERHEAD` more), and answers
   * where in `bytes` to write them at once. One that is too large empties the table and is not added: -1 (§4.4).
   */
  add(nameLength: number, valueLength: number, length: number, note: number): number {
    const size = nameLength + valueLength + ENTRY_OVERHEAD;
    this.#evict(this.#limit - size);
    if (size > this.#limit) return -1;
    if (this.bytes.length === 0) {
      this.bytes = Buffer.allocUnsafeSlow(RING);
      this.#entries = new Int32Array(MAX_ENTRIES * STRIDE);
    }
    if (this.#cursor + length > RING) this.#cursor = 0;
    const offset = this.#cursor;
    this.#cursor += length;
    this.#count++;
    this.#size += size;
    const at = (++this.added % MAX_ENTRIES) * STRIDE;
    this.#entries[at] = offset;
    this.#entries[at + 1] = nameLength;
    this.#entries[at + 2] = valueLength;
    this.#entries[at + 3] = note;
    return offset;
  }

  #evict(limit: number): void {
    while (this.#count > 0 && this.#size > limit) {
      const oldest = this.added - --this.#count;
      this.#size -= this.nameLength(oldest) + this.valueLength(oldest) + ENTRY_OVERHEAD;
    }
  }
}

/** Bytes that arrived before they could be used: an unfinished head, or requests read ahead. Bounded by its owner. */

const EMPTY = Buffer.alloc(0);
const MIN_SIZE = 1_024;

export class ByteStore {
  buffer: Buffer = EMPTY;
  /** What is stored is `start`…`end` of `buffer`. */
  start = 0;
  end = 0;

  get length(): number {
    return this.end - this.start;
  }

  append(buffer: Buffer, start: number, end: number): void {
    const size = end - start;
    if (this.end + size > this.buffer.length) this.#makeRoom(size);
    buffer.copy(this.buffer, this.end, start, end);
    this.end += size;
  }

  /** What stands before `position` has been used. Memory goes with the last byte. */
  consumeTo(position: number): void {
    this.start = position;
    if (position === this.end) this.clear();
  }

  clear(): void {
    this.buffer = EMPTY;
    this.start = 0;
    this.end = 0;
  }

  #makeRoom(size: number): void {
    const length = this.length;
    const larger = Buffer.allocUnsafe(Math.max(MIN_SIZE, 2 * (length + size)));
    this.buffer.copy(larger, 0, this.start, this.end);
    this.buffer = larger;
    this.start = 0;
    this.end = length;
  }
}

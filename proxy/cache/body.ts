/** The body of an answer that is kept: filled from a backend, read by many at their own pace. Bounded by its owner. */

const EMPTY = Buffer.alloc(0);
const MIN_SIZE = 4_096;

export class KeptBody {
  complete = false;
  /** What is there: positions `start`…`end` of the body. `start` moves only when a lone reader is followed. */
  start = 0;
  end = 0;
  #buffer = EMPTY;

  /** Room for a body of known length, made at once. */
  reserve(length: number): void {
    this.#buffer = Buffer.allocUnsafeSlow(length);
  }

  /** Bytes of memory that it takes. */
  get held(): number {
    return this.#buffer.length;
  }

  append(buffer: Buffer, start: number, end: number): void {
    const size = end - start;
    const used = this.end - this.start;
    if (used + size > this.#buffer.length) this.#move(Math.max(MIN_SIZE, 2 * (used + size)));
    buffer.copy(this.#buffer, used, start, end);
    this.end += size;
  }

  /** Nothing comes any more. Spare room is given back, so that what is kept takes what it counts. */
  finish(): void {
    this.complete = true;
    if (this.#buffer.length > this.end - this.start) this.#move(this.end - this.start);
  }

  /** Forgets what stands before `position`. */
  discardTo(position: number): void {
    this.#buffer.copyWithin(0, position - this.start, this.end - this.start);
    this.start = position;
  }

  /** The bytes from `position` to `end`; lent. */
  from(position: number, end: number): Buffer {
    return this.#buffer.subarray(position - this.start, end - this.start);
  }

  #move(size: number): void {
    const larger = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(larger, 0, 0, this.end - this.start);
    this.#buffer = larger;
  }
}

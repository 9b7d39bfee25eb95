/**
 * Bytes of a body that cannot be framed yet. They stand in pieces of the size of a frame, which are used again by all
 * streams of the process: a slow reader costs copies, and no memory that the collector has to find.
 */
import * as h2 from './protocol.ts';

const MAX_FREE = 256;
const free: Buffer[] = [];
const NONE: Buffer = Buffer.alloc(0);

export class PendingBody {
  length = 0;
  /** The oldest bytes: `start` up to `end` of `buffer`, as many as stand in one piece. */
  start = 0;
  readonly #pieces: Buffer[] = [];
  /** Where the newest piece is filled up to. */
  #filled = 0;

  get buffer(): Buffer {
    return this.#pieces[0] ?? NONE;
  }

  get end(): number {
    return this.#pieces.length > 1 ? h2.FRAME_SIZE : this.#filled;
  }

  append(buffer: Buffer, start: number, end: number): void {
    this.length += end - start;
    let at = start;
    while (at < end) {
      let piece = this.#pieces.at(-1);
      if (piece === undefined || this.#filled === h2.FRAME_SIZE) {
        piece = free.pop() ?? Buffer.allocUnsafeSlow(h2.FRAME_SIZE);
        this.#pieces.push(piece);
        this.#filled = 0;
      }
      const size = Math.min(end - at, h2.FRAME_SIZE - this.#filled);
      buffer.copy(piece, this.#filled, at, at + size);
      this.#filled += size;
      at += size;
    }
  }

  /** The oldest `size` bytes, which stand in one piece, have been used. */
  consume(size: number): void {
    this.start += size;
    this.length -= size;
    if (this.start < this.end) return;
    this.start = 0;
    release(this.#pieces.shift());
    if (this.#pieces.length === 0) this.#filled = 0;
  }

  clear(): void {
    for (const piece of this.#pieces) release(piece);
    this.#pieces.length = 0;
    this.#filled = 0;
    this.start = 0;
    this.length = 0;
  }
}

function release(piece: Buffer | undefined): void {
  if (piece !== undefined && free.length < MAX_FREE) free.push(piece);
}

/**
 * What a client sends before its turn: requests behind the one under way, in order. Counts them as they come, so that
 * who sends too many is held back.
 */
import { ByteStore } from './byte-store.ts';

/** Requests that are read ahead; more bytes than this (a read more, at most) count as full, too. */
const MAX_REQUESTS = 4;
const MAX_BYTES = 65_536;
const HEAD_END = Buffer.from('\r\n\r\n');

export class ReadAhead extends ByteStore {
  #requests = 0;

  get full(): boolean {
    return this.#requests >= MAX_REQUESTS || this.length > MAX_BYTES;
  }

  /** The last `size` bytes of what is stored are new. The end of a head may have come in two pieces. */
  countLast(size: number): void {
    this.count(this.buffer, Math.max(this.start, this.end - size - (HEAD_END.length - 1)), this.end);
  }

  /** Counts what looks like the end of a head; a body with such bytes only holds its client back a little early. */
  count(buffer: Buffer, start: number, end: number): void {
    const bytes = buffer.subarray(0, end);
    let at = bytes.indexOf(HEAD_END, start);
    while (at >= 0 && this.#requests < MAX_REQUESTS) {
      this.#requests++;
      at = bytes.indexOf(HEAD_END, at + HEAD_END.length);
    }
  }

  /** Some of it was used: counts what is left. */
  recount(): void {
    this.#requests = 0;
    if (this.length > 0) this.count(this.buffer, this.start, this.end);
  }
}

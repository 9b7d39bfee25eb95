/**
 * Where a head and the first bytes of its body are composed, to leave in one write. There are two per process, one
 * for each direction, because composing and sending happen within one event; nobody leaves bytes in one for later.
 */

import { isOwnedBlock, returnBlock, takeBlock } from '../stream/blocks.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { MAX_CHUNK_LINE, writeChunkLine } from './chunk-decoder.ts';

/** Room for a head of usual size and all that one read brings. */
const SIZE = 65_536 + 16_384;
/** Up to this many bytes a loop is cheaper than a call into native code. */
const SHORT = 24;

export class Outbox {
  #block: Buffer = takeBlock(SIZE);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Begins anew; makes room for at least `size` bytes. */
  begin(size: number): void {
    this.#length = 0;
    if (!isOwnedBlock(this.#block) || this.#block.length < size) this.#take(Math.max(SIZE, size));
  }

  /** Whether `size` more bytes can be added. */
  fits(size: number): boolean {
    return this.#length + size <= this.#block.length;
  }

  bytes(buffer: Buffer, start: number, end: number): void {
    const size = end - start;
    this.#room(size);
    const at = this.#length;
    this.#length = at + size;
    if (size > SHORT) {
      buffer.copy(this.#block, at, start, end);
      return;
    }
    const block = this.#block;
    // In range: the room was made above, and the caller's bytes lie in its buffer.
    for (let i = 0; i < size; i++) block[at + i] = buffer[start + i] as number;
  }

  /** ASCII text of ours. */
  text(text: string): void {
    const size = text.length;
    this.#room(size);
    const at = this.#length;
    this.#length = at + size;
    const block = this.#block;
    if (size > SHORT) block.write(text, at, 'latin1');
    else for (let i = 0; i < size; i++) block[at + i] = text.charCodeAt(i);
  }

  /**
   * A field value from outside (configuration, a template): what could end the line becomes a space, and characters
   * beyond Latin-1 are sent as UTF-8.
   */
  value(value: string): void {
    if (isPlain(value)) {
      this.text(value);
      return;
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    const clean = value.replace(/[\x00-\x08\x0a-\x1f\x7f]/g, ' ');
    this.#room(3 * clean.length);
    this.#length += this.#block.write(clean, this.#length, isLatin1(clean) ? 'latin1' : 'utf8');
  }

  field(name: string, value: string): void {
    this.text(name);
    this.text(': ');
    this.value(value);
    this.text('\r\n');
  }

  /** The line that opens a chunk of `size` bytes (RFC 9112 §7.1). */
  chunkLine(size: number): void {
    this.#room(MAX_CHUNK_LINE);
    this.#length += writeChunkLine(this.#block, this.#length, size);
  }

  /** Sends what was composed; as `ByteStream.write`. */
  flush(stream: ByteStream): boolean {
    const length = this.#length;
    this.#length = 0;
    return stream.writeShared(this.#block, 0, length);
  }

  #room(size: number): void {
    if (this.#length + size <= this.#block.length) return;
    const smaller = this.#block;
    this.#take(2 * (this.#length + size));
    smaller.copy(this.#block, 0, 0, this.#length);
  }

  /** Another block; the one before it is given back, or would be on record as taken for ever. */
  #take(size: number): void {
    returnBlock(this.#block);
    this.#block = takeBlock(size);
  }
}

/** Nothing but printable ASCII and tabs. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((code < 32 && code !== 9) || code > 126) return false;
  }
  return true;
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) return false;
  return true;
}

/** What goes to backends, and what goes to clients. */
export const requestOutbox: Outbox = new Outbox();
export const responseOutbox: Outbox = new Outbox();

/** How messages stand on the local bus: `channel JSON` and a line feed. Lines that are too long are skipped, not kept. */
import { type Channel, MAX_MESSAGE_BYTES } from './contract.ts';

const LINE_FEED = 0x0a;
const SPACE = 0x20;
/** Longer than any name of a channel and its space. */
const MAX_LINE_BYTES = MAX_MESSAGE_BYTES + 64;

export function toLine(channel: Channel, json: string): string {
  return `${channel} ${json}\n`;
}

/** The first word of a line, and what follows it. */
export function splitLine(line: Buffer): { readonly word: string; readonly rest: Buffer } {
  const space = line.indexOf(SPACE);
  if (space < 0) return { word: line.toString('latin1'), rest: Buffer.alloc(0) };
  return { word: line.toString('latin1', 0, space), rest: line.subarray(space + 1) };
}

/** Cuts a stream into lines; holds at most one line. */
export class LineReader {
  readonly #onLine: (line: Buffer) => void;
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** `onLine` gets each line without its line feed; of one that is too long only the beginning. */
  constructor(onLine: (line: Buffer) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, start);
      if (end < 0) break;
      this.#finish(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start));
  }

  #hold(piece: Buffer): void {
    const kept = piece.subarray(0, MAX_LINE_BYTES - this.#heldBytes);
    if (kept.length === 0) return;
    // Copied, since a piece is a view of a much larger read buffer.
    this.#held.push(Buffer.from(kept));
    this.#heldBytes += kept.length;
  }

  #finish(piece: Buffer): void {
    if (this.#held.length === 0 && piece.length <= MAX_LINE_BYTES) {
      this.#onLine(piece);
      return;
    }
    this.#hold(piece);
    const line = Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    this.#onLine(line);
  }
}

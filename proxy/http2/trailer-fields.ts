/** The fields behind the body of a request, as lines of HTTP/1.1, without what a trailer may not carry. */
import { DROP_FROM_TRAILERS } from '../http1/field-kinds.ts';
import { COMPLETE, FieldLines } from '../http1/field-lines.ts';
import { MALFORMED, REGULAR } from './field-rules.ts';
import { type FieldSink, LINE_FRAME } from './hpack-decoder.ts';

const COLON = 58;
const MAX_BYTES = 16_384;
const MAX_FIELDS = 100;
const END = Buffer.from('\r\n');

export class TrailerFields implements FieldSink {
  /** Pseudo-fields, and whatever would be malformed in a head; or more than is taken. */
  malformed = false;
  #lines: Buffer[] = [];
  #size = 0;

  field(line: Buffer, start: number, nameLength: number, valueLength: number, kind: number): void {
    const size = nameLength + valueLength + LINE_FRAME;
    this.#size += size;
    // Cookies and Host are ordinary fields here, which the filter below takes out.
    if ((kind !== REGULAR && line[start] === COLON) || kind === MALFORMED || this.#size > MAX_BYTES) {
      this.malformed = true;
    } else if (!this.malformed) this.#lines.push(Buffer.from(line.subarray(start, start + size)));
  }

  /** The section with its empty line; null when nothing of it goes on. */
  section(): Buffer | null {
    const fields = new FieldLines();
    fields.buffer = Buffer.concat([...this.#lines, END]);
    if (fields.parse(fields.buffer.length, MAX_FIELDS, false) !== COMPLETE) return null;
    const kept: Buffer[] = [];
    for (let i = 0; i < fields.count; i++) {
      if (DROP_FROM_TRAILERS[fields.kinds[i] as number] === 1) continue;
      kept.push(fields.buffer.subarray(fields.nameStart(i), fields.lineEnd(i)));
    }
    return kept.length === 0 ? null : Buffer.concat([...kept, END]);
  }
}

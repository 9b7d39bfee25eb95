/**
 * Writes the text of one log line into a buffer. What visitors send is reduced to printable ASCII, everything else is
 * escaped, and each text is bounded: a line can be neither forged nor blown up, and one character is one byte.
 */

/** How a character that must not stand as it is is written. */
export type Escape = 'json' | 'hex';

const PLAIN = new Uint8Array(256);
for (let code = 0x20; code < 0x7f; code++) PLAIN[code] = code === 0x22 || code === 0x5c ? 0 : 1;
const HEX = Buffer.from('0123456789abcdef', 'latin1');
const BACKSLASH = 0x5c;
const LONGEST_ESCAPE = 6;
const MAX_INT32 = 0x7fff_ffff;

/** Bytes that never change, ready to be copied eight at a time. */
export interface Fragment {
  readonly length: number;
  /** The bytes and zeroes behind them. ASCII is never a NaN, whose bits a copy could change. */
  readonly words: Float64Array;
}

/** Bytes that are copied at once. */
const WORD = 8;

/** `text` is ASCII. */
export function fragment(text: string): Fragment {
  const padded = Buffer.alloc(Math.ceil(text.length / WORD) * WORD);
  padded.write(text, 'latin1');
  const words = Float64Array.from({ length: padded.length / WORD }, (_, i) => padded.readDoubleLE(i * WORD));
  return { length: text.length, words };
}

const CUT = fragment('...');
const NO_BYTES = new Uint8Array(0);

export class LineWriter {
  at = 0;
  readonly #json: boolean;
  #bytes: Uint8Array = NO_BYTES;
  #view: DataView = new DataView(NO_BYTES.buffer);

  constructor(form: Escape) {
    this.#json = form === 'json';
  }

  /** A line begins at `at` of `bytes`. The caller sees to it that there is room for the longest line and seven bytes more. */
  begin(bytes: Uint8Array, at: number): void {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.at = at;
  }

  /** May write up to seven bytes more, which what follows writes over. */
  raw({ length, words }: Fragment): void {
    const view = this.#view;
    let { at } = this;
    this.at = at + length;
    for (let i = 0; i < words.length; i++) {
      view.setFloat64(at, words[i] as number, true);
      at += WORD;
    }
  }

  /** At most `room` bytes of `text`; a longer one is cut and ends in `...`. */
  text(text: string, room: number): void {
    const { at } = this;
    const bytes = this.#bytes;
    const { length } = text;
    if (length > room) {
      this.#oddText(text, room);
      return;
    }
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      // Above 255 there is nothing in the table, which is not 1 either.
      if (PLAIN[code] !== 1) {
        this.#oddText(text, room);
        return;
      }
      bytes[at + i] = code;
    }
    this.at = at + length;
  }

  /** A text that is too long or has something to escape. */
  #oddText(text: string, room: number): void {
    const end = this.at + room - CUT.length;
    let { at } = this;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      const plain = PLAIN[code] === 1;
      if (at + (plain ? 1 : LONGEST_ESCAPE) > end) {
        this.at = at;
        this.raw(CUT);
        return;
      }
      if (plain) this.#bytes[at++] = code;
      else at = this.#escape(code, at);
    }
    this.at = at;
  }

  /** A whole number from 0; anything else is written as 0. */
  integer(value: number): void {
    if (value >= 0 && value <= MAX_INT32) this.#int32(value | 0);
    else this.raw(fragment(value > 0 && value <= Number.MAX_SAFE_INTEGER ? String(Math.floor(value)) : '0'));
  }

  /** A duration in milliseconds with three decimals; anything below 0 is written as 0. */
  milliseconds(value: number): void {
    const micros = value > 0 ? Math.round(value * 1_000) : 0;
    if (micros <= MAX_INT32) {
      const whole = (micros / 1_000) | 0;
      this.#int32(whole);
      this.decimals(micros - whole * 1_000);
    } else {
      this.integer(value);
    }
  }

  #int32(value: number): void {
    const bytes = this.#bytes;
    let rest = value;
    let at = this.at + digitsOf(rest);
    this.at = at;
    while (rest >= 10) {
      const tens = (rest / 10) | 0;
      bytes[--at] = 0x30 + (rest - tens * 10);
      rest = tens;
    }
    bytes[--at] = 0x30 + rest;
  }

  /** A point and three digits; `thousandths` is 0 … 999. */
  decimals(thousandths: number): void {
    const { at } = this;
    const bytes = this.#bytes;
    bytes[at] = 0x2e;
    bytes[at + 1] = 0x30 + ((thousandths / 100) | 0);
    bytes[at + 2] = 0x30 + (((thousandths / 10) | 0) % 10);
    bytes[at + 3] = 0x30 + (thousandths % 10);
    this.at = at + 4;
  }

  /** `\u001b` in JSON, `\x1b` else (as nginx has it); a character above 255 is `\u….` in both. */
  #escape(code: number, at: number): number {
    const bytes = this.#bytes;
    bytes[at] = BACKSLASH;
    if (this.#json && (code === 0x22 || code === BACKSLASH)) {
      bytes[at + 1] = code;
      return at + 2;
    }
    let place = at + 2;
    if (this.#json || code > 0xff) {
      bytes[at + 1] = 0x75;
      bytes[place++] = HEX[code >>> 12] as number;
      bytes[place++] = HEX[(code >>> 8) & 15] as number;
    } else {
      bytes[at + 1] = 0x78;
    }
    bytes[place++] = HEX[(code >>> 4) & 15] as number;
    bytes[place++] = HEX[code & 15] as number;
    return place;
  }
}

function digitsOf(value: number): number {
  if (value < 10) return 1;
  if (value < 100) return 2;
  if (value < 1_000) return 3;
  if (value < 10_000) return 4;
  let digits = 5;
  for (let power = 100_000; power <= value; power *= 10) digits++;
  return digits;
}

/** Which bytes may stand where in a head (RFC 9110 §5.6, RFC 9112 §3, RFC 3986), and comparisons on bytes. */

/** Flags of `BYTE_CLASS`. */
export const TOKEN = 1;
export const FIELD_VALUE = 2;
export const TARGET = 4;
export const HOST_NAME = 8;
export const DIGIT = 16;
export const UNDERSCORE = 32;

export const TAB = 9;
export const LF = 10;
export const CR = 13;
export const SPACE = 32;
export const COMMA = 44;
export const COLON = 58;

/** For each byte value, where it may stand. */
export const BYTE_CLASS: Uint8Array = new Uint8Array(256);

for (let byte = 0; byte < 256; byte++) {
  const char = String.fromCharCode(byte);
  let flags = 0;
  if (/[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(char)) flags |= TOKEN;
  if (byte === TAB || (byte >= SPACE && byte !== 127)) flags |= FIELD_VALUE;
  // Visible ASCII. A fragment is never sent (RFC 9110 §7.1), and some servers would cut the path there.
  if (byte > SPACE && byte < 127 && char !== '#') flags |= TARGET;
  if (/[0-9A-Za-z._-]/.test(char)) flags |= HOST_NAME;
  if (/[0-9]/.test(char)) flags |= DIGIT;
  if (char === '_') flags |= UNDERSCORE;
  BYTE_CLASS[byte] = flags;
}

/** Value of a hexadecimal digit, 255 for any other byte. */
export const HEX_VALUE: Uint8Array = new Uint8Array(256).fill(255);
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16);
  HEX_VALUE[digit.charCodeAt(0)] = value;
  HEX_VALUE[digit.toUpperCase().charCodeAt(0)] = value;
}

/** ASCII letters in lower case, every other byte as it is. */
export const LOWER: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 65 && byte <= 90 ? byte + 32 : byte,
);

/** Whether the bytes are `lower`, which is in lower case, in any case. */
export function equalsIgnoringCase(buffer: Buffer, start: number, end: number, lower: Uint8Array): boolean {
  if (end - start !== lower.length) return false;
  // In range: `start`…`end` lies in the buffer.
  for (let i = 0; i < lower.length; i++) {
    if (LOWER[buffer[start + i] as number] !== lower[i]) return false;
  }
  return true;
}

export function equalBytes(
  a: Buffer,
  aStart: number,
  aEnd: number,
  b: Buffer,
  bStart: number,
  bEnd: number,
): boolean {
  const length = aEnd - aStart;
  if (length !== bEnd - bStart) return false;
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}

export function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'));
}

/**
 * The number that the bytes spell in decimal, or -1 when they are empty, hold anything but digits, or exceed 2^53 - 1.
 */
export function parseDecimal(buffer: Buffer, start: number, end: number): number {
  if (start === end || end - start > 19) return -1;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = (buffer[i] as number) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value <= Number.MAX_SAFE_INTEGER ? value : -1;
}

/**
 * Calls `visit` with each element of a comma-separated list (RFC 9110 §5.6.1), without the white space around it and
 * without empty ones.
 */
export function eachListElement(
  buffer: Buffer,
  start: number,
  end: number,
  visit: (start: number, end: number) => void,
): void {
  let from = start;
  for (let i = start; i <= end; i++) {
    if (i < end && buffer[i] !== COMMA) continue;
    let first = from;
    let last = i;
    while (first < last && isBlank(buffer[first] as number)) first++;
    while (last > first && isBlank(buffer[last - 1] as number)) last--;
    if (first < last) visit(first, last);
    from = i + 1;
  }
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

/** The bytes as text, each byte one character; nothing is lost when it is written back as `latin1`. */
export function latin1(buffer: Buffer, start: number, end: number): string {
  return buffer.toString('latin1', start, end);
}

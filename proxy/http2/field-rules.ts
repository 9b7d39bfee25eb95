/**
 * What a field of an HTTP/2 request may be (RFC 9113 §8.2, §8.3), by its bytes alone. A field that was let through
 * here is a valid line of HTTP/1.1: it can end no line and name no second field.
 */
import {
  asciiBytes,
  BYTE_CLASS,
  equalsIgnoringCase,
  FIELD_VALUE,
  SPACE,
  TAB,
  TOKEN,
} from '../http1/bytes.ts';

export const REGULAR = 0;
export const METHOD = 1;
export const SCHEME = 2;
export const PATH = 3;
export const AUTHORITY = 4;
export const COOKIE = 5;
export const HOST = 6;
/** Upper case, forbidden characters, connection-specific fields, unknown pseudo-fields. */
export const MALFORMED = 7;

const COLON = 58;
const TRAILERS = asciiBytes('trailers');
const TE = 'te';

const PSEUDO: readonly Named[] = named({
  ':method': METHOD,
  ':scheme': SCHEME,
  ':path': PATH,
  ':authority': AUTHORITY,
});
const FIELDS: readonly Named[] = named({
  cookie: COOKIE,
  host: HOST,
  connection: MALFORMED,
  'keep-alive': MALFORMED,
  'proxy-connection': MALFORMED,
  'transfer-encoding': MALFORMED,
  upgrade: MALFORMED,
  [TE]: MALFORMED,
});

interface Named {
  readonly name: Uint8Array;
  readonly kind: number;
}

function named(kinds: Readonly<Record<string, number>>): Named[] {
  return Object.entries(kinds).map(([name, kind]) => ({ name: asciiBytes(name), kind }));
}

/** The kind of the field whose name and value stand at the given places. */
export function kindOf(
  bytes: Buffer,
  nameStart: number,
  nameEnd: number,
  valueStart: number,
  valueEnd: number,
): number {
  if (!isValue(bytes, valueStart, valueEnd)) return MALFORMED;
  if (bytes[nameStart] === COLON && nameEnd > nameStart)
    return lookUp(PSEUDO, bytes, nameStart, nameEnd) ?? MALFORMED;
  if (nameEnd === nameStart) return MALFORMED;
  for (let i = nameStart; i < nameEnd; i++) {
    const byte = bytes[i] as number;
    if (((BYTE_CLASS[byte] as number) & TOKEN) === 0 || (byte >= 65 && byte <= 90)) return MALFORMED;
  }
  const kind = lookUp(FIELDS, bytes, nameStart, nameEnd) ?? REGULAR;
  if (kind !== MALFORMED || nameEnd - nameStart !== TE.length) return kind;
  // The one field of the connection that may come, with the one value that means something (§8.2.2).
  return equalsIgnoringCase(bytes, valueStart, valueEnd, TRAILERS) ? REGULAR : MALFORMED;
}

/** RFC 9113 §8.2.1: no control characters, and no white space at either end. */
function isValue(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++)
    if (((BYTE_CLASS[bytes[i] as number] as number) & FIELD_VALUE) === 0) return false;
  return start === end || !(isBlank(bytes[start] as number) || isBlank(bytes[end - 1] as number));
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

function lookUp(names: readonly Named[], bytes: Buffer, start: number, end: number): number | undefined {
  for (let i = 0; i < names.length; i++) {
    const { name, kind } = names[i] as Named;
    if (name.length === end - start && equalsIgnoringCase(bytes, start, end, name)) return kind;
  }
  return undefined;
}

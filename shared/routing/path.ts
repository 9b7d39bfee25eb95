/**
 * The view of a request's path that routing and firewall have, beside the raw one that goes on byte for byte
 * (engine.md, Target), and the other ways in which a backend could read the raw path. Where two readings lead to
 * different routes the request is refused: a backend must never see a path that the access rules did not.
 */
import type { NormalisedPath } from './decision.ts';

const SLASH = 0x2f;
const BACKSLASH = 0x5c;
const DOT = 0x2e;
const PERCENT = 0x25;
const SEMICOLON = 0x3b;

/**
 * The normalised path, or null when `rawPath` is in that form already (no allocation then; nearly every path is):
 * percent-encoded unreserved characters (RFC 3986 §2.3) decoded, the other escapes in upper case, characters
 * outside visible ASCII percent-encoded, doubled slashes merged, dot segments resolved after decoding.
 *
 * `ambiguous`: the path holds an encoded NUL, slash or backslash, a raw backslash, a dot segment with parameters
 * (`..;x`), or a `%` that begins no escape; whether that matters depends on the routes, see `otherReadings`.
 */
export function normalisePath(rawPath: string): NormalisedPath {
  if (isNormal(rawPath)) return null;
  const decoded = decodeUnreserved(escapeInvisible(rawPath));
  return {
    path: resolve(mergeSlashes(decoded)),
    ambiguous: AMBIGUOUS.test(decoded) || malformed(rawPath),
  };
}

const AMBIGUOUS = /%(?:00|2F|5C)|\\|\/\.{1,2};/;

/** One pass without allocation; false at the first thing that any reading could see differently. */
function isNormal(path: string): boolean {
  let afterSlash = false;
  for (let index = 0; index < path.length; index++) {
    const code = path.charCodeAt(index);
    if (code === SLASH) {
      if (afterSlash) return false;
      afterSlash = true;
      continue;
    }
    if (code === PERCENT) {
      if (!isPlainEscape(path, index)) return false;
      index += 2;
    } else if (code === BACKSLASH || code <= 0x20 || code >= 0x7f) return false;
    if (afterSlash && code === DOT && isDotSegment(path, index)) return false;
    afterSlash = false;
  }
  return path.length > 0;
}

/** Whether the `%` at `start` begins an escape in upper case of what everyone leaves escaped: a space, UTF-8, `?`. */
function isPlainEscape(path: string, start: number): boolean {
  const high = hexDigit(path.charCodeAt(start + 1));
  const low = hexDigit(path.charCodeAt(start + 2));
  if (high === -1 || low === -1) return false;
  const byte = high * 16 + low;
  if (byte >= 0x80) return true;
  return byte !== 0 && byte !== SLASH && byte !== BACKSLASH && !isUnreserved(byte);
}

/** -1 for what is no hex digit (also past the end), and for those in lower case. */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x41 && code <= 0x46 ? code - 0x37 : -1;
}

/** The code of a letter from a to f in upper case; any other as it is. */
function upperCase(code: number): number {
  return code >= 0x61 && code <= 0x66 ? code - 0x20 : code;
}

/** RFC 3986 §2.3. */
function isUnreserved(byte: number): boolean {
  return byte < 0x80 && UNRESERVED[byte] === 1;
}

const UNRESERVED = Uint8Array.from({ length: 0x80 }, (_, byte) =>
  /[A-Za-z0-9._~-]/.test(String.fromCharCode(byte)) ? 1 : 0,
);

/** Whether the segment at `start`, which begins with a dot, is `.` or `..`, alone or before `;`. */
function isDotSegment(path: string, start: number): boolean {
  let end = start + 1;
  if (path.charCodeAt(end) === DOT) end++;
  if (end >= path.length) return true;
  const code = path.charCodeAt(end);
  return code === SLASH || code === SEMICOLON;
}

/** A `%` that is not followed by two hex digits: servers differ widely in what they make of it. */
function malformed(path: string): boolean {
  return path.indexOf('%') !== -1 && /%(?![0-9A-Fa-f]{2})/.test(path);
}

/** Escapes of unreserved characters decoded, the others in upper case. Slashes and dots stay as they are. */
function decodeUnreserved(path: string): string {
  return writeEscapes(path, true);
}

/** Every escape in upper case; with `decode` those of unreserved characters become the characters. */
function writeEscapes(path: string, decode: boolean): string {
  let written = '';
  let from = 0;
  for (let start = path.indexOf('%'); start !== -1; start = path.indexOf('%', start + 1)) {
    const first = path.charCodeAt(start + 1);
    const second = path.charCodeAt(start + 2);
    const high = upperCase(first);
    const low = upperCase(second);
    // What begins no escape stays as it is.
    if (hexDigit(high) === -1 || hexDigit(low) === -1) continue;
    const byte = hexDigit(high) * 16 + hexDigit(low);
    const decoded = decode && isUnreserved(byte);
    if (!decoded && high === first && low === second) continue;
    written += path.slice(from, start);
    written += decoded ? String.fromCharCode(byte) : `%${String.fromCharCode(high, low)}`;
    from = start + 3;
  }
  return from === 0 ? path : written + path.slice(from);
}

/** Bytes outside visible ASCII escaped; characters of a target stand for one byte each (latin1). */
function escapeInvisible(path: string): string {
  if (!INVISIBLE.test(path)) return path;
  return path.replace(
    /[^\x21-\x7e]/g,
    (character) => `%${(character.charCodeAt(0) & 0xff).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

const INVISIBLE = /[^\x21-\x7e]/;

function mergeSlashes(path: string): string {
  return path.indexOf('//') === -1 ? path : path.replace(/\/{2,}/g, '/');
}

/** Dot segments removed as RFC 3986 §5.2.4 says; empty segments are segments. Always begins with a slash. */
function resolve(path: string): string {
  if (path.charCodeAt(0) !== SLASH) return resolve(`/${path}`);
  if (path.indexOf('/.') === -1) return path;
  let kept = '';
  // `start` is at the slash before a segment, `end` behind the segment.
  for (let start = 0, end = 0; start < path.length; start = end) {
    end = path.indexOf('/', start + 1);
    if (end === -1) end = path.length;
    const dots = dotsOf(path, start + 1, end);
    if (dots === 0) kept += path.slice(start, end);
    else {
      if (dots === 2) kept = kept.slice(0, Math.max(0, kept.lastIndexOf('/')));
      // What follows a dot segment at the end is the folder itself: "/a/." is "/a/".
      if (end === path.length) kept += '/';
    }
  }
  return kept;
}

/** 1 for the segment `.`, 2 for `..`, 0 for any other. */
function dotsOf(path: string, start: number, end: number): number {
  const length = end - start;
  if (length === 0 || length > 2 || path.charCodeAt(start) !== DOT) return 0;
  return length === 1 || path.charCodeAt(start + 1) === DOT ? length : 0;
}

/** Most characters that the readings of one path may have together; a path with more is refused. */
const MAX_READ_CHARACTERS = 65_536;

/** What servers do to a path, each in its own order, or not at all. */
const STEPS: readonly ((path: string) => string)[] = [decodeUnreserved, mergeSlashes, resolve];
/** What some do as well where the path holds encoded slashes or NUL, backslashes, or parameters of dot segments. */
const AMBIGUOUS_STEPS = [
  ...STEPS,
  decodeSlashes,
  decodeBackslashes,
  turnBackslashes,
  withoutParameters,
  beforeNul,
];

/**
 * Every other way in which a server could read `rawPath`, without the normalised one: as written, and after any of
 * the steps in any order. Null when there are so many that the path is better refused, and when a `%` in it begins no
 * escape, of which servers make anything. Not among the readings: decoding twice (`%252e`), since what does that
 * unasked is not put behind a proxy with path rules; and dropping the parameters of ordinary segments, see `decide`.
 */
export function otherReadings(
  rawPath: string,
  normalised: { readonly path: string; readonly ambiguous: boolean },
): ReadonlySet<string> | null {
  if (normalised.ambiguous && malformed(rawPath)) return null;
  const steps = normalised.ambiguous ? AMBIGUOUS_STEPS : STEPS;
  const written = writeEscapes(escapeInvisible(rawPath), false);
  if (!normalised.ambiguous && written === normalised.path) return NONE;
  const readings = new Set([written]);
  let characters = written.length;
  // The set grows while it is walked; every step only ever shortens or keeps, so it ends.
  for (const reading of readings) {
    for (const step of steps) {
      const next = step(reading);
      if (next === reading || readings.has(next)) continue;
      readings.add(next);
      characters += next.length;
      if (characters > MAX_READ_CHARACTERS) return null;
    }
  }
  readings.delete(normalised.path);
  return readings;
}

const NONE: ReadonlySet<string> = new Set();

function turnBackslashes(path: string): string {
  return path.replace(/\\/g, '/');
}

function decodeSlashes(path: string): string {
  return path.replace(/%2F/g, '/');
}

function decodeBackslashes(path: string): string {
  return path.replace(/%5C/g, '\\');
}

/** Dot segments lose what follows a semicolon. */
function withoutParameters(path: string): string {
  return path.replace(/([/\\]\.{1,2});[^/]*/g, '$1');
}

function beforeNul(path: string): string {
  const nul = path.indexOf('%00');
  return nul === -1 ? path : path.slice(0, nul);
}

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
  const decoded = decodeUnreserved(rawPath);
  return {
    path: resolve(mergeSlashes(decoded)),
    ambiguous: malformed(rawPath) || AMBIGUOUS.test(decoded),
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
    if (code === PERCENT || code === BACKSLASH || code <= 0x20 || code >= 0x7f) return false;
    if (afterSlash && code === DOT && isDotSegment(path, index)) return false;
    afterSlash = false;
  }
  return path.length > 0;
}

/** Whether the segment at `start`, which begins with a dot, is `.` or `..`, alone or before `;`. */
function isDotSegment(path: string, start: number): boolean {
  let end = start + 1;
  if (path.charCodeAt(end) === DOT) end++;
  if (end >= path.length) return true;
  const code = path.charCodeAt(end);
  return code === SLASH || code === SEMICOLON;
}

/** A `%` that is not followed by two hex digits: servers differ widely in what they make of it. */
export function malformed(path: string): boolean {
  return /%(?![0-9A-Fa-f]{2})/.test(path);
}

/**
 * The path written in one way only: escapes of unreserved characters decoded, the other escapes in upper case,
 * bytes outside visible ASCII escaped. Slashes and dots stay as they are.
 */
function decodeUnreserved(path: string): string {
  return escapeInvisible(path).replace(/%([0-9A-Fa-f]{2})/g, (triplet, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : triplet.toUpperCase();
  });
}

/** Characters of a target stand for one byte each (latin1). */
function escapeInvisible(path: string): string {
  return path.replace(
    /[^\x21-\x7e]/g,
    (character) => `%${(character.charCodeAt(0) & 0xff).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

function mergeSlashes(path: string): string {
  return path.replace(/\/{2,}/g, '/');
}

/** Dot segments removed as RFC 3986 §5.2.4 says; empty segments are segments. Always begins with a slash. */
function resolve(path: string): string {
  const kept: string[] = [];
  const segments = (path.startsWith('/') ? path.slice(1) : path).split('/');
  segments.forEach((segment, index) => {
    const last = index === segments.length - 1;
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
    // What follows a dot segment at the end is the folder itself: "/a/." is "/a/".
    if (last && (segment === '.' || segment === '..')) kept.push('');
  });
  return `/${kept.join('/')}`;
}

/** Longest path with ambiguous parts whose readings are worked out, in characters; longer ones are refused. */
export const MAX_AMBIGUOUS_LENGTH = 4_096;

/**
 * Every other way in which a server could read `rawPath`, without the normalised one; no two are equal. A server may
 * take it as written or decoded; as the path allows, take encoded slashes, backslashes and encoded backslashes for
 * slashes, drop the parameters of dot segments (`..;x`), end it at an encoded NUL; and may then merge doubled slashes,
 * resolve dot segments, both or neither. Not among them: decoding twice (`%252e`) and dropping the parameters of
 * ordinary segments; what does that by default is not put behind a proxy with path rules.
 */
export function otherReadings(rawPath: string, normalised: string): ReadonlySet<string> {
  const written = escapeInvisible(rawPath).replace(/%[0-9A-Fa-f]{2}/g, (triplet) => triplet.toUpperCase());
  const decoded = decodeUnreserved(rawPath);
  const texts = new Set([written, decoded]);
  if (AMBIGUOUS.test(decoded)) {
    const slashed = decoded.replace(/%2F|%5C|\\/g, '/');
    texts.add(slashed).add(slashed.replace(/\/(\.{1,2});[^/]*/g, '/$1'));
    for (const text of [...texts]) texts.add(beforeNul(text));
  }
  const readings = new Set<string>();
  for (const text of texts) {
    const merged = mergeSlashes(text);
    for (const reading of [text, merged, resolve(text), resolve(merged)])
      readings.add(reading).add(beforeNul(reading));
  }
  readings.delete(normalised);
  return readings;
}

function beforeNul(path: string): string {
  const nul = path.indexOf('%00');
  return nul === -1 ? path : path.slice(0, nul);
}

/** What stands for a visitor in the policies that pin: a 32-bit hash of the address, the target, a field or a cookie. */
import type { PickRequest } from '../upstream/contract.ts';

/** FNV-1a over UTF-16 units with murmur's finaliser: quick, and every bit of the text reaches every bit of the hash. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return mix(hash);
}

/** Spreads 32 bits over 32 bits, one to one. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * One hash of two that are mixed already: two rounds of `mix` do. A signed number of 32 bits,
 * for comparing only: its low bits are poor.
 */
export function pairHash(one: number, other: number): number {
  const hash = Math.imul(one ^ other, 0x85ebca6b);
  return Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
}

/** `by`: `ip`, `uri`, `header:NAME` or `cookie:NAME`. A visitor without that field or cookie goes by address. */
export function hashKeyReader(by: string): (request: PickRequest) => number {
  if (by === 'uri') return (request) => hashText(request.target);
  const colon = by.indexOf(':');
  const name = by.slice(colon + 1);
  if (by.startsWith('header:')) {
    const field = name.toLowerCase();
    return (request) => hashText(request.header(field) ?? request.address);
  }
  if (by.startsWith('cookie:')) {
    return (request) => hashText(cookieOf(request.header('cookie'), name) ?? request.address);
  }
  return (request) => hashText(request.address);
}

/** The first cookie of that name (RFC 6265 §5.4), undefined when there is none. */
function cookieOf(field: string | undefined, name: string): string | undefined {
  if (field === undefined) return undefined;
  for (const pair of field.split(';')) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
}

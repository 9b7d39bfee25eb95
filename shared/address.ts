/**
 * Addresses of clients and peers: one canonical text for each, and sets of addresses and CIDR ranges that answer
 * in the time of a binary search however long the list is.
 */
import ipaddr from 'ipaddr.js';

const MAPPED = '::ffff:';

/**
 * Canonical text of an address, or null when `text` is none: dotted IPv4, compressed lower-case IPv6 (RFC 5952).
 * IPv4 mapped into IPv6 becomes IPv4; brackets and a zone (`%eth0`) are removed.
 */
export function parseAddress(text: string): string | null {
  if (readIPv4(text) !== null) return text;
  // How a socket of both families names IPv4 visitors.
  if (text.startsWith(MAPPED) && readIPv4(text.slice(MAPPED.length)) !== null)
    return text.slice(MAPPED.length);
  let bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  const zone = bare.indexOf('%');
  if (zone !== -1) bare = bare.slice(0, zone);
  if (!bare.includes(':') || !ipaddr.IPv6.isValid(bare)) return null;
  const address = ipaddr.IPv6.parse(bare);
  return (address.isIPv4MappedAddress() ? address.toIPv4Address() : address).toString();
}

/** As `parseAddress`, but text that is no address (the empty one of a Unix socket) comes back as it is. */
export function canonicalAddress(text: string): string {
  return parseAddress(text) ?? text;
}

/** The 32 bits of a dotted IPv4 address as an unsigned number; null when `text` is none. Leading zeros are refused. */
function readIPv4(text: string): number | null {
  if (text.length < 7 || text.length > 15) return null;
  let value = 0;
  let part = -1;
  let dots = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 0x2e) {
      if (part === -1 || ++dots > 3) return null;
      value = value * 256 + part;
      part = -1;
    } else {
      if (code < 0x30 || code > 0x39 || part === 0) return null;
      part = (part === -1 ? 0 : part * 10) + code - 0x30;
      if (part > 255) return null;
    }
  }
  return dots === 3 && part !== -1 ? value * 256 + part : null;
}

/** An IPv6 address as 32 hex digits, which sort as the numbers do; null when `text` is none. */
function readIPv6(text: string): string | null {
  if (!text.includes(':') || !ipaddr.IPv6.isValid(text)) return null;
  return ipaddr.IPv6.parse(text)
    .parts.map((part) => part.toString(16).padStart(4, '0'))
    .join('');
}

/** Disjoint ranges in ascending order; `ends` are inclusive. */
interface Ranges<T> {
  readonly starts: readonly T[];
  readonly ends: readonly T[];
}

/**
 * Addresses and CIDR ranges, IPv4 and IPv6. Host bits behind the prefix length are ignored; a range within
 * `::ffff:0:0/96` counts as IPv4. Throws an Error that names the entry which is neither address nor range.
 */
export class AddressSet {
  /** True when nothing is in it. */
  readonly empty: boolean;
  readonly #v4: Ranges<number>;
  readonly #v6: Ranges<string>;

  constructor(entries: readonly string[]) {
    const v4: [number, number][] = [];
    const v6: [string, string][] = [];
    for (const entry of entries) addRange(entry, v4, v6);
    this.empty = entries.length === 0;
    this.#v4 = merge(v4);
    this.#v6 = merge(v6);
  }

  /** Whether the set holds `address`, given in canonical text. Text that is no address is in no set. */
  has(address: string): boolean {
    if (this.#v4.starts.length > 0) {
      const value = readIPv4(address);
      if (value !== null) return within(this.#v4, value);
    }
    if (this.#v6.starts.length > 0) {
      const value = readIPv6(address);
      if (value !== null) return within(this.#v6, value);
    }
    return false;
  }
}

function addRange(entry: string, v4: [number, number][], v6: [string, string][]): void {
  const slash = entry.indexOf('/');
  const text = slash === -1 ? entry : entry.slice(0, slash);
  const address = text.includes('%') ? null : parseAddress(text);
  if (address === null) throw new Error(`"${entry}" is not an address or CIDR range`);
  const low = readIPv4(address);
  const mapped = low !== null && text.includes(':');
  const width = low === null || mapped ? 128 : 32;
  const given = slash === -1 ? String(width) : entry.slice(slash + 1);
  if (!/^\d{1,3}$/.test(given) || Number(given) > width) {
    throw new Error(`"${entry}" is not an address or CIDR range: the prefix length is 0 to ${width}`);
  }
  const bits = Number(given);
  if (low !== null && (!mapped || bits >= 96)) {
    const size = 2 ** (32 - (mapped ? bits - 96 : bits));
    const start = Math.floor(low / size) * size;
    v4.push([start, start + size - 1]);
    return;
  }
  const digits = readIPv6(mapped ? text.replace(/^\[|\]$/g, '') : address);
  if (digits === null) throw new Error(`"${entry}" is not an address or CIDR range`);
  v6.push([fill(digits, bits, 0), fill(digits, bits, 0xf)]);
}

/** `digits` with all bits behind the first `bits` set to those of `filler` (0 or 15). */
function fill(digits: string, bits: number, filler: 0 | 0xf): string {
  const whole = Math.floor(bits / 4);
  const rest = bits % 4;
  if (rest === 0) return digits.slice(0, whole) + filler.toString(16).repeat(32 - whole);
  const mask = 0xf >> rest;
  const digit = Number.parseInt(digits.charAt(whole), 16);
  const edge = ((digit & ~mask) | (filler & mask)).toString(16);
  return digits.slice(0, whole) + edge + filler.toString(16).repeat(31 - whole);
}

/** Overlapping ranges become one; neighbours may stay apart. */
function merge<T extends number | string>(ranges: [T, T][]): Ranges<T> {
  ranges.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  const starts: T[] = [];
  const ends: T[] = [];
  for (const [start, end] of ranges) {
    const last = ends[ends.length - 1];
    if (last !== undefined && start <= last) {
      if (end > last) ends[ends.length - 1] = end;
    } else {
      starts.push(start);
      ends.push(end);
    }
  }
  return { starts, ends };
}

function within<T extends number | string>(ranges: Ranges<T>, value: T): boolean {
  let low = 0;
  let high = ranges.starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    // `middle` is below the length, so both are there.
    if ((ranges.starts[middle] as T) <= value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value <= (ranges.ends[low - 1] as T);
}

/**
 * Loopback, private (RFC 1918, RFC 4193) and link-local ranges: addresses that no country has because they never
 * leave the site.
 */
export const LOCAL_ADDRESSES = new AddressSet([
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '::1',
  'fc00::/7',
  'fe80::/10',
]);

/**
 * The host of a request: what is valid (RFC 9110 §7.2, RFC 3986 §3.2.2; a name, an IPv4 address or `[IPv6]`, with an
 * optional port), and its one canonical spelling, under which the table is asked.
 */
import net from 'node:net';
import ipaddr from 'ipaddr.js';
import { BYTE_CLASS, COLON, DIGIT, HOST_NAME, latin1 } from './bytes.ts';

const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const DOT = 46;
const MAX_HOST = 255;

/** End of the host part of a valid authority (the port follows), or -1 when it is not valid. */
export function hostEnd(buffer: Buffer, start: number, end: number): number {
  const hostEndsAt =
    buffer[start] === OPEN_BRACKET ? literalEnd(buffer, start, end) : nameEnd(buffer, start, end);
  if (hostEndsAt <= start || hostEndsAt - start > MAX_HOST) return -1;
  return validPort(buffer, hostEndsAt, end) ? hostEndsAt : -1;
}

function nameEnd(buffer: Buffer, start: number, end: number): number {
  let at = start;
  let previous = DOT;
  while (at < end) {
    const byte = buffer[at] as number;
    if (((BYTE_CLASS[byte] as number) & HOST_NAME) === 0) break;
    // An empty label: `.a`, `a..b`, or nothing but a dot.
    if (byte === DOT && previous === DOT) return -1;
    previous = byte;
    at++;
  }
  return at;
}

function literalEnd(buffer: Buffer, start: number, end: number): number {
  let at = start + 1;
  while (at < end && buffer[at] !== CLOSE_BRACKET) at++;
  if (at === end || at - start > 48) return -1;
  const address = latin1(buffer, start + 1, at);
  return net.isIPv6(address) && !address.includes('%') ? at + 1 : -1;
}

function validPort(buffer: Buffer, from: number, end: number): boolean {
  if (from === end) return true;
  if (buffer[from] !== COLON || end - from > 6) return false;
  let port = 0;
  for (let i = from + 1; i < end; i++) {
    const byte = buffer[i] as number;
    if (((BYTE_CLASS[byte] as number) & DIGIT) === 0) return false;
    port = port * 10 + byte - 48;
  }
  return port <= 65_535;
}

/** Lower case, no trailing dot, IPv6 in its shortest form. `host` is what `hostEnd` found valid. */
export function canonicalHost(host: string): string {
  if (host.startsWith('[')) return `[${ipaddr.IPv6.parse(host.slice(1, -1)).toString()}]`;
  const lower = host.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

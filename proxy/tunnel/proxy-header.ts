/**
 * The PROXY header (haproxy.org, proxy-protocol.txt, versions 1 and 2): read strictly from what a trusted peer sends
 * first, and written for backends. However the bytes are split, the verdict is the same, and it comes as early as
 * it can.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { parseAddress } from '../../shared/address.ts';

/** One end of a TCP connection: canonical address and port. */
export interface SocketEnd {
  readonly address: string;
  readonly port: number;
}

/** Who connected, and to what. */
export interface SocketPair {
  readonly source: SocketEnd;
  readonly destination: SocketEnd;
}

export interface ProxyHeader {
  /** Bytes it takes; what follows is the client's. */
  readonly length: number;
  /** The client as the peer saw it; null when the peer does not say. */
  readonly ends: SocketPair | null;
  /** The peer speaks for itself (a health check): the connection is its own. */
  readonly local: boolean;
}

/** Longest header that is read, TLVs included; nginx has the same bound. */
export const MAX_PROXY_HEADER = 4_096;

/** Longest line of version 1, its CRLF included (proxy-protocol.txt §2.1). */
const MAX_LINE = 107;
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const FIXED = 16;
const V1 = Buffer.from('PROXY ', 'latin1');
const CR = 0x0d;
const LF = 0x0a;
/** Bytes of addresses and ports by family (high four bits of byte 14): unspecified, IPv4, IPv6, Unix. */
const ADDRESS_BYTES = [0, 12, 36, 216] as const;
const STREAM = 1;

/** The header at the beginning of `bytes`: `more` while it may still become one, `bad` as soon as it cannot. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | 'more' | 'bad' {
  if (bytes.length === 0) return 'more';
  return bytes[0] === SIGNATURE[0] ? parseBinary(bytes) : parseLine(bytes);
}

function startsWith(bytes: Buffer, expected: Buffer): boolean {
  const length = Math.min(bytes.length, expected.length);
  return bytes.compare(expected, 0, length, 0, length) === 0;
}

function parseLine(bytes: Buffer): ProxyHeader | 'more' | 'bad' {
  if (!startsWith(bytes, V1)) return 'bad';
  const seen = Math.min(bytes.length, MAX_LINE);
  for (let at = V1.length; at < seen; at++) {
    const byte = bytes[at] as number; // at < length
    if (byte >= 0x20 && byte < 0x7f) continue;
    if (byte !== CR) return 'bad';
    if (at + 1 === MAX_LINE) return 'bad';
    if (at + 1 === bytes.length) return 'more';
    if (bytes[at + 1] !== LF) return 'bad';
    return lineHeader(bytes.toString('latin1', V1.length, at), at + 2);
  }
  return bytes.length < MAX_LINE ? 'more' : 'bad';
}

function lineHeader(text: string, length: number): ProxyHeader | 'bad' {
  // What follows UNKNOWN is to be ignored up to the end of the line.
  if (text === 'UNKNOWN' || text.startsWith('UNKNOWN ')) return { length, ends: null, local: false };
  const [family = '', from = '', to = '', fromPort = '', toPort = '', more] = text.split(' ');
  if (more !== undefined) return 'bad';
  const fits = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isPlainIPv6 : null;
  if (fits === null || !fits(from) || !fits(to)) return 'bad';
  const source = endOf(from, fromPort);
  const destination = endOf(to, toPort);
  if (source === null || destination === null) return 'bad';
  return { length, ends: { source, destination }, local: false };
}

function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

function endOf(addressText: string, portText: string): SocketEnd | null {
  const address = parseAddress(addressText);
  const port = /^(?:0|[1-9]\d{0,4})$/.test(portText) ? Number(portText) : -1;
  return address === null || port < 0 || port > 65_535 ? null : { address, port };
}

function parseBinary(bytes: Buffer): ProxyHeader | 'more' | 'bad' {
  if (!startsWith(bytes, SIGNATURE)) return 'bad';
  if (bytes.length <= 12) return 'more';
  const command = bytes[12] as number; // length > 12
  if (command !== 0x20 && command !== 0x21) return 'bad';
  if (bytes.length <= 13) return 'more';
  const family = (bytes[13] as number) >> 4;
  const transport = (bytes[13] as number) & 0x0f;
  if (family > 3 || transport > 2) return 'bad';
  if (bytes.length < FIXED) return 'more';
  const length = FIXED + bytes.readUInt16BE(14);
  const local = command === 0x20;
  const addressBytes = ADDRESS_BYTES[family] as number; // family <= 3
  if (length > MAX_PROXY_HEADER || (!local && length < FIXED + addressBytes)) return 'bad';
  if (bytes.length < length) return 'more';
  // A peer that speaks for itself, or does not say whom for, may put anything here; it counts for nothing.
  if (local || family === 0) return { length, ends: null, local };
  if (!tiled(bytes, FIXED + addressBytes, length)) return 'bad';
  // Unix sockets and datagrams tell no address that a TCP client could have.
  const ends = transport !== STREAM || family === 3 ? null : binaryEnds(bytes, family === 1 ? 4 : 16);
  return { length, ends, local };
}

/** Whether the type-length-values between `at` and `end` fill that place exactly (§2.2). */
function tiled(bytes: Buffer, start: number, end: number): boolean {
  let at = start;
  while (at + 3 <= end) at += 3 + bytes.readUInt16BE(at + 1);
  return at === end;
}

function binaryEnds(bytes: Buffer, width: 4 | 16): SocketPair {
  const ports = FIXED + 2 * width;
  return {
    source: { address: addressAt(bytes, FIXED, width), port: bytes.readUInt16BE(ports) },
    destination: { address: addressAt(bytes, FIXED + width, width), port: bytes.readUInt16BE(ports + 2) },
  };
}

function addressAt(bytes: Buffer, at: number, width: 4 | 16): string {
  if (width === 4) return bytes.subarray(at, at + 4).join('.');
  const groups = Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(at + 2 * group).toString(16));
  const text = groups.join(':');
  return parseAddress(text) ?? text;
}

/** The header that tells a backend who connected; null: nobody that has an address. */
export function encodeProxyHeader(version: 1 | 2, ends: SocketPair | null): Buffer {
  const source = ends === null ? null : addressBytes(ends.source.address);
  const destination = ends === null ? null : addressBytes(ends.destination.address);
  if (ends === null || source === null || destination === null) {
    return version === 1
      ? Buffer.from('PROXY UNKNOWN\r\n', 'latin1')
      : Buffer.concat([SIGNATURE, Buffer.from([0x21, 0, 0, 0])]);
  }
  // Both are of one family in the header: of two, the IPv4 one is written as mapped into IPv6.
  const v4 = source.length === 4 && destination.length === 4;
  if (version === 1) {
    const text = ({ address }: SocketEnd) => (v4 || address.includes(':') ? address : `::ffff:${address}`);
    const addresses = `${text(ends.source)} ${text(ends.destination)}`;
    const ports = `${ends.source.port} ${ends.destination.port}`;
    return Buffer.from(`PROXY ${v4 ? 'TCP4' : 'TCP6'} ${addresses} ${ports}\r\n`, 'latin1');
  }
  const head = Buffer.alloc(8);
  head.set([0x21, v4 ? 0x11 : 0x21]);
  head.writeUInt16BE(v4 ? 12 : 36, 2);
  head.writeUInt16BE(ends.source.port, 4);
  head.writeUInt16BE(ends.destination.port, 6);
  const [from, to] = v4 ? [source, destination] : [mapped(source), mapped(destination)];
  return Buffer.concat([SIGNATURE, head.subarray(0, 4), from, to, head.subarray(4)]);
}

/** Four or sixteen bytes; null when the text is no address. */
function addressBytes(text: string): Buffer | null {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isPlainIPv6(text)) return null;
  const [head = '', tail] = text.split('::');
  const groups = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros: string[] = new Array(8 - groups.length - last.length).fill('0');
  const bytes = Buffer.alloc(16);
  [...groups, ...zeros, ...last].forEach((group, index) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * index);
  });
  return bytes;
}

function mapped(bytes: Buffer): Buffer {
  return bytes.length === 16 ? bytes : Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), bytes]);
}

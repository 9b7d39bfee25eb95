/**
 * The fields that the proxy acts on. Each field of a head is classified once, by length and bytes, without making a
 * string; what then happens to a kind in which direction is said in the tables below and nowhere else.
 */
import { asciiBytes, equalsIgnoringCase, latin1 } from './bytes.ts';

export const OTHER = 0;
export const HOST = 1;
export const CONNECTION = 2;
export const CONTENT_LENGTH = 3;
export const TRANSFER_ENCODING = 4;
export const KEEP_ALIVE = 5;
export const UPGRADE = 6;
export const TE = 7;
export const TRAILER = 8;
export const EXPECT = 9;
export const MAX_FORWARDS = 10;
export const DATE = 11;
/** Hop-by-hop fields that nothing is read from: Proxy-Connection, HTTP2-Settings, Proxy-Authenticate, … */
export const HOP_BY_HOP = 12;
export const X_FORWARDED_FOR = 13;
export const X_FORWARDED_PROTO = 14;
export const X_FORWARDED_HOST = 15;
export const X_FORWARDED_PORT = 16;
/** Any other `X-Forwarded-…`. */
export const X_FORWARDED_OTHER = 17;
export const FORWARDED = 18;
export const X_REAL_IP = 19;
export const X_REQUEST_ID = 20;
/** `Proxy`: becomes HTTP_PROXY in CGI programs (httpoxy). */
export const PROXY = 21;
/** Like a framing or forwarding field but with `_` for `-`: many backends read both as one. */
export const UNDERSCORE_TWIN = 22;
/** Named by `Connection`. Set after classification. */
export const NAMED_BY_CONNECTION = 23;
export const AUTHORIZATION = 24;
export const WEBSOCKET_KEY = 25;
export const WEBSOCKET_VERSION = 26;
export const WEBSOCKET_ACCEPT = 27;
/** Meaningless or dangerous in a trailer section (RFC 9110 §6.5.1); an ordinary field elsewhere. */
export const NOT_IN_TRAILERS = 28;
/** What is said about the certificate of a visitor: `Client-Cert` (RFC 9440 §2.4) and fields of our own. */
export const CLIENT_CERTIFICATE = 29;
export const VIA = 30;
const KINDS = 31;

const NAMES: Readonly<Record<string, number>> = {
  host: HOST,
  connection: CONNECTION,
  'content-length': CONTENT_LENGTH,
  'transfer-encoding': TRANSFER_ENCODING,
  'keep-alive': KEEP_ALIVE,
  upgrade: UPGRADE,
  te: TE,
  trailer: TRAILER,
  expect: EXPECT,
  'max-forwards': MAX_FORWARDS,
  date: DATE,
  'proxy-connection': HOP_BY_HOP,
  'http2-settings': HOP_BY_HOP,
  'proxy-authenticate': HOP_BY_HOP,
  'proxy-authorization': HOP_BY_HOP,
  'x-forwarded-for': X_FORWARDED_FOR,
  'x-forwarded-proto': X_FORWARDED_PROTO,
  'x-forwarded-host': X_FORWARDED_HOST,
  'x-forwarded-port': X_FORWARDED_PORT,
  forwarded: FORWARDED,
  'x-real-ip': X_REAL_IP,
  'x-request-id': X_REQUEST_ID,
  'client-cert': CLIENT_CERTIFICATE,
  'client-cert-chain': CLIENT_CERTIFICATE,
  'x-client-cert-subject': CLIENT_CERTIFICATE,
  'x-client-cert-fingerprint': CLIENT_CERTIFICATE,
  proxy: PROXY,
  authorization: AUTHORIZATION,
  'sec-websocket-key': WEBSOCKET_KEY,
  'sec-websocket-version': WEBSOCKET_VERSION,
  'sec-websocket-accept': WEBSOCKET_ACCEPT,
  age: NOT_IN_TRAILERS,
  'cache-control': NOT_IN_TRAILERS,
  'content-encoding': NOT_IN_TRAILERS,
  'content-range': NOT_IN_TRAILERS,
  'content-type': NOT_IN_TRAILERS,
  cookie: NOT_IN_TRAILERS,
  'set-cookie': NOT_IN_TRAILERS,
  expires: NOT_IN_TRAILERS,
  'if-match': NOT_IN_TRAILERS,
  'if-none-match': NOT_IN_TRAILERS,
  'if-range': NOT_IN_TRAILERS,
  location: NOT_IN_TRAILERS,
  range: NOT_IN_TRAILERS,
  'retry-after': NOT_IN_TRAILERS,
  vary: NOT_IN_TRAILERS,
  via: VIA,
  'www-authenticate': NOT_IN_TRAILERS,
};

const FORWARDED_PREFIX = asciiBytes('x-forwarded-');

interface Candidate {
  readonly bytes: Uint8Array;
  readonly kind: number;
}
const MAX_NAME = 25;
const byLength: (readonly Candidate[])[] = Array.from({ length: MAX_NAME + 1 }, (_, length) =>
  Object.entries(NAMES)
    .filter(([name]) => name.length === length)
    .map(([name, kind]) => ({ bytes: asciiBytes(name), kind })),
);

/** The kind of the field name in `start`…`end`, which holds token characters only. */
export function classify(buffer: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length <= MAX_NAME) {
    const candidates = byLength[length] as readonly Candidate[];
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i] as Candidate;
      if (equalsIgnoringCase(buffer, start, end, candidate.bytes)) return candidate.kind;
    }
  }
  const prefix = FORWARDED_PREFIX.length;
  if (length > prefix && equalsIgnoringCase(buffer, start, start + prefix, FORWARDED_PREFIX)) {
    return X_FORWARDED_OTHER;
  }
  return OTHER;
}

/** For a name with `_` in it: `UNDERSCORE_TWIN` when it stands for a field that the proxy vouches for. */
export function classifyUnderscored(buffer: Buffer, start: number, end: number): number {
  const name = latin1(buffer, start, end).replaceAll('_', '-');
  const kind = classify(Buffer.from(name, 'latin1'), 0, name.length);
  return VOUCHED_FOR[kind] === 1 ? UNDERSCORE_TWIN : OTHER;
}

function kindTable(...kinds: readonly number[]): Uint8Array {
  const table = new Uint8Array(KINDS);
  for (const kind of kinds) table[kind] = 1;
  return table;
}

const FORWARDING = [
  X_FORWARDED_FOR,
  X_FORWARDED_PROTO,
  X_FORWARDED_HOST,
  X_FORWARDED_PORT,
  X_FORWARDED_OTHER,
  FORWARDED,
  X_REAL_IP,
  X_REQUEST_ID,
  CLIENT_CERTIFICATE,
] as const;

const HOP = [CONNECTION, KEEP_ALIVE, HOP_BY_HOP, NAMED_BY_CONNECTION, TE, UPGRADE] as const;

const VOUCHED_FOR = kindTable(
  ...FORWARDING,
  HOST,
  CONNECTION,
  CONTENT_LENGTH,
  TRANSFER_ENCODING,
  HOP_BY_HOP,
  KEEP_ALIVE,
  PROXY,
  TE,
  TRAILER,
  UPGRADE,
);

/** Not copied to a backend; what it should have of them is written anew (`request-writer.ts`). */
export const DROP_FROM_REQUEST: Uint8Array = kindTable(
  ...HOP,
  ...FORWARDING,
  EXPECT,
  MAX_FORWARDS,
  PROXY,
  TRAILER,
  UNDERSCORE_TWIN,
);

/** Not copied to a visitor; framing is written anew where it differs (`response-writer.ts`). */
export const DROP_FROM_RESPONSE: Uint8Array = kindTable(...HOP, TRAILER, TRANSFER_ENCODING);

/** Not forwarded from a trailer section in either direction. */
export const DROP_FROM_TRAILERS: Uint8Array = kindTable(
  ...HOP,
  ...FORWARDING,
  HOST,
  CONTENT_LENGTH,
  TRANSFER_ENCODING,
  TRAILER,
  EXPECT,
  MAX_FORWARDS,
  DATE,
  PROXY,
  UNDERSCORE_TWIN,
  AUTHORIZATION,
  NOT_IN_TRAILERS,
  VIA,
);

/** What `Connection` cannot remove: framing, routing, and what the proxy itself sets (behaviour.md, Headers). */
export const IMMUNE_TO_CONNECTION: Uint8Array = kindTable(
  ...FORWARDING,
  HOST,
  CONNECTION,
  CONTENT_LENGTH,
  TRANSFER_ENCODING,
  TE,
  TRAILER,
  UPGRADE,
  EXPECT,
  MAX_FORWARDS,
);

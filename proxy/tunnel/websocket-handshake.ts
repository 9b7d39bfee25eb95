/** The handshake of RFC 6455 as an intermediary checks it: a client's key, and what a backend makes of it. */
import { createHash } from 'node:crypto';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Base64 of exactly 16 bytes (RFC 6455 §4.1). */
export function isWebSocketKey(value: string): boolean {
  return /^[A-Za-z0-9+/]{21}[AQgw]==$/.test(value);
}

/** Value of Sec-WebSocket-Accept for a key (§4.2.2). */
export function acceptForKey(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64');
}

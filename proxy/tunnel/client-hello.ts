/**
 * Reads a TLS ClientHello (RFC 8446 §4.1.2) without answering it: the name it asks for (RFC 6066 §3), and under which
 * key the session was kept that it wants to resume. Strict and bounded; the message may be spread over many records. What it does not know (GREASE, ECH) it passes over.
 */

export interface ClientHello {
  /** Lower case, without trailing dot; null when the client names nobody. */
  readonly serverName: string | null;
  /** The first 16 bytes of the ticket it brings, where servers put the name of its key (RFC 5077 §4); null for none. */
  readonly ticketKeyName: Buffer | null;
}

/** As many bytes, record headers included, as a ClientHello may have. Real ones have 200 to 2 000. */
export const MAX_CLIENT_HELLO = 16_384;
/** The fatal alert `unrecognized_name` (RFC 6066 §3) in a record of its own, as a server that knows no such name answers. */
export const UNRECOGNIZED_NAME = Buffer.from([0x15, 0x03, 0x03, 0, 2, 2, 112]);

/** In as many records at most: each is looked at again with every byte that comes. */
const MAX_RECORDS = 256;
const RECORD_HEADER = 5;
const MESSAGE_HEADER = 4;
const MAX_RECORD = 16_384;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const SESSION_TICKET = 35;
const PRE_SHARED_KEY = 41;
const KEY_NAME_BYTES = 16;
const HOST_NAME = 0;
const HOST = /^[a-z0-9_](?:[a-z0-9._-]{0,252}[a-z0-9_])?\.?$/i;

/** The ClientHello at the beginning of `bytes`: `more` while it may still become one, `bad` as soon as it cannot. */
export function parseClientHello(bytes: Buffer): ClientHello | 'more' | 'bad' {
  const message = reassemble(bytes);
  if (typeof message === 'string')
    return message === 'more' && bytes.length >= MAX_CLIENT_HELLO ? 'bad' : message;
  try {
    return readBody(new Reader(message));
  } catch (error) {
    if (error instanceof Malformed) return 'bad';
    throw error;
  }
}

/**
 * The body of the handshake message, taken out of its records. Bytes are copied once, when all are there: a message that
 * comes in little pieces must not cost a thousand times as much.
 */
function reassemble(bytes: Buffer): Buffer | 'more' | 'bad' {
  const limit = Math.min(bytes.length, MAX_CLIENT_HELLO);
  /** Bytes of the message so far; how many there are to be, its own head included; the length as far as it is known. */
  let have = 0;
  let needed = Number.POSITIVE_INFINITY;
  let length = 0;
  let records = 0;
  for (let at = 0; at < limit; ) {
    const content = recordAt(bytes, at);
    if (typeof content === 'string') return content;
    if (++records > MAX_RECORDS) return 'bad';
    const start = at + RECORD_HEADER;
    for (
      let next = start;
      next < Math.min(start + content, bytes.length) && have + next - start < MESSAGE_HEADER;
      next++
    ) {
      const byte = bytes[next] as number; // next < length
      if (have + next === start) {
        if (byte !== CLIENT_HELLO) return 'bad';
      } else length = length * 256 + byte;
    }
    const before = have;
    have += Math.min(content, bytes.length - start);
    if (have >= MESSAGE_HEADER) {
      needed = MESSAGE_HEADER + length;
      // It cannot end within what it may have: the same verdict whether its end has come or not.
      if (start + needed - before > MAX_CLIENT_HELLO) return 'bad';
    }
    if (have >= needed) return collect(bytes, needed);
    at = start + content;
  }
  return 'more';
}

/** Bytes in the record that begins at `at`, those included that have not come yet. */
function recordAt(bytes: Buffer, at: number): number | 'more' | 'bad' {
  if (bytes[at] !== HANDSHAKE) return 'bad';
  if (at + 1 < bytes.length && bytes[at + 1] !== 3) return 'bad';
  // 3.0 was SSL; a first record says 3.1 or 3.3 whatever is negotiated (RFC 8446 §5.1).
  const minor = at + 2 < bytes.length ? (bytes[at + 2] as number) : 1;
  if (minor < 1 || minor > 4) return 'bad';
  if (at + RECORD_HEADER > bytes.length) return 'more';
  const length = bytes.readUInt16BE(at + 3);
  return length === 0 || length > MAX_RECORD ? 'bad' : length;
}

/** The first `needed` bytes of the records' content, without the head of the message; they are all there. */
function collect(bytes: Buffer, needed: number): Buffer {
  const first = bytes.readUInt16BE(3);
  if (first >= needed) return bytes.subarray(RECORD_HEADER + MESSAGE_HEADER, RECORD_HEADER + needed);
  const message = Buffer.allocUnsafe(needed);
  for (let at = 0, have = 0; have < needed; ) {
    const length = bytes.readUInt16BE(at + 3);
    have += bytes.copy(message, have, at + RECORD_HEADER, at + RECORD_HEADER + length);
    at += RECORD_HEADER + length;
  }
  return message.subarray(MESSAGE_HEADER);
}

class Malformed extends Error {}

/** Reads lengths and what they announce; throws `Malformed` beyond the end. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  number(width: 1 | 2): number {
    return this.take(width).readUIntBE(0, width);
  }

  take(count: number): Buffer {
    if (count > this.left) throw new Malformed();
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  /** A vector: its length in `width` bytes, at least `least`, then so many bytes. */
  vector(width: 1 | 2, least = 0): Reader {
    const length = this.number(width);
    if (length < least) throw new Malformed();
    return new Reader(this.take(length));
  }

  end(): void {
    if (this.left > 0) throw new Malformed();
  }
}

function readBody(body: Reader): ClientHello {
  body.take(2 + 32);
  if (body.vector(1).left > 32) throw new Malformed();
  if (body.vector(2, 2).left % 2 !== 0) throw new Malformed();
  body.vector(1, 1);
  // Before TLS 1.3 a client could leave them all out.
  if (body.left === 0) return { serverName: null, ticketKeyName: null };
  const extensions = body.vector(2);
  body.end();
  const seen = new Set<number>();
  let serverName: string | null = null;
  let ticket: Buffer | null = null;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const content = extensions.vector(2);
    if (seen.has(type)) throw new Malformed();
    seen.add(type);
    if (type === SERVER_NAME) serverName = readServerName(content);
    // TLS 1.2, and 1.3: of several the first is the one that a server tries first. Both may be there: 1.3 wins.
    else if (type === SESSION_TICKET) ticket ??= content.take(content.left);
    else if (type === PRE_SHARED_KEY) ticket = readFirstTicket(content);
  }
  const ticketKeyName =
    ticket !== null && ticket.length >= KEY_NAME_BYTES ? ticket.subarray(0, KEY_NAME_BYTES) : null;
  return { serverName, ticketKeyName };
}

/** RFC 8446 §4.2.11; what stands behind the first identity is for who resumes it. */
function readFirstTicket(content: Reader): Buffer {
  const identity = content.vector(2, 7).vector(2, 1);
  return identity.take(identity.left);
}

/** There is one kind of name, so the list has one entry. */
function readServerName(content: Reader): string {
  const list = content.vector(2, 4);
  content.end();
  if (list.number(1) !== HOST_NAME) throw new Malformed();
  const name = list.vector(2, 1);
  list.end();
  const text = name.take(name.left).toString('latin1');
  if (!HOST.test(text)) throw new Malformed();
  const host = text.toLowerCase();
  return host.endsWith('.') ? host.slice(0, -1) : host;
}

/**
 * The rules of engine.md once more, as naively as they can be written: whole strings, regular expressions, no state.
 * The real parsers have to agree with these on every input.
 */
import net from 'node:net';

export interface NaiveHead {
  readonly method: string;
  readonly target: string;
  readonly minor: number;
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** Null when there is none. */
  readonly contentLength: number | null;
  readonly chunked: boolean;
  readonly keepAlive: boolean;
  /** Bytes up to the body. */
  readonly length: number;
}

/** `unfinished`: no end is in sight, it may be refused already or not. */
export type NaiveVerdict = NaiveHead | 'refused' | 'unfinished';

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]";
const REQUEST_LINE = new RegExp(`^(${TOKEN}{1,32}) ([!"$-~]+) HTTP/1\\.([01])$`);
const FIELD = new RegExp(`^(${TOKEN}+):[ \\t]*([\\t\\x20-\\x7e\\x80-\\xff]*)$`);

export function naiveHead(text: string, headSize = 16_384, maxFields = 100): NaiveVerdict {
  const before = /^(?:\r\n){0,8}/.exec(text)?.[0].length ?? 0;
  const end = text.indexOf('\r\n\r\n', before);
  if (end < 0) return 'unfinished';
  if (end === before || end + 4 > headSize) return 'refused';
  const [requestLine = '', ...lines] = text.slice(before, end).split('\r\n');
  const line = REQUEST_LINE.exec(requestLine);
  if (line === null || lines.length > maxFields) return 'refused';
  const [, method = '', target = '', minorText] = line;
  const minor = Number(minorText);
  const fields: (readonly [string, string])[] = [];
  for (const each of lines) {
    const field = FIELD.exec(each);
    if (field === null) return 'refused';
    fields.push([field[1] as string, (field[2] as string).replace(/[ \t]+$/, '')]);
  }
  const all = (name: string) =>
    fields.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);
  const [hosts, lengths, codings] = [all('host'), all('content-length'), all('transfer-encoding')];
  if (hosts.length > 1 || (hosts.length === 0 && minor === 1)) return 'refused';
  if (hosts.some((host) => !isAuthority(host)) || !isTarget(method, target)) return 'refused';
  if (lengths.length > 1 || codings.length > 1 || lengths.length + codings.length > 1) return 'refused';
  if (lengths.some((length) => !/^\d{1,19}$/.test(length) || Number(length) > 2 ** 53 - 1)) return 'refused';
  if (codings.some((coding) => coding.toLowerCase() !== 'chunked' || minor === 0)) return 'refused';
  if (all('expect').some((expect) => expect.toLowerCase() !== '100-continue')) return 'refused';
  const hops = method === 'OPTIONS' ? all('max-forwards') : [];
  if (hops.length > 1 || hops.some((hop) => !/^\d{1,19}$/.test(hop) || Number(hop) > 2 ** 53 - 1))
    return 'refused';
  if (method === 'CONNECT' || method === 'TRACE') return 'refused';
  const options = all('connection').flatMap((value) =>
    value.split(',').map((one) => one.trim().toLowerCase()),
  );
  return {
    method,
    target,
    minor,
    fields,
    contentLength: lengths.length === 0 ? null : Number(lengths[0]),
    chunked: codings.length === 1,
    keepAlive: !options.includes('close') && (minor === 1 || options.includes('keep-alive')),
    length: end + 4,
  };
}

/** The engine's rules for a target. */
export function isTarget(method: string, target: string): boolean {
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return true;
  const absolute = /^https?:\/\/([^/?]*)/i.exec(target);
  return absolute !== null && isAuthority(absolute[1] as string);
}

/** The engine's rules for a host with an optional port. */
export function isAuthority(authority: string): boolean {
  const parts = /^(\[[^\]]*\]|[A-Za-z0-9._-]+)(?::(\d{0,5}))?$/.exec(authority);
  if (parts === null || Number(parts[2] ?? 0) > 65_535) return false;
  const host = parts[1] as string;
  if (host.length > 255) return false;
  if (host.startsWith('[')) return net.isIPv6(host.slice(1, -1)) && !host.includes('%');
  return !/^\.|\.\./.test(host);
}

export interface NaiveBody {
  readonly data: string;
  readonly trailers: readonly string[];
  /** Bytes of it with its framing. */
  readonly length: number;
}

/** Null when it is not a complete chunked body: broken, or more is to come. */
export function naiveChunks(text: string): NaiveBody | null {
  let at = 0;
  let data = '';
  let extensions = 0;
  for (;;) {
    const line = /^([0-9A-Fa-f]{1,16})(?:;([\t\x20-\x7e\x80-\xff]*))?\r\n/.exec(text.slice(at, at + 2_048));
    if (line === null) return null;
    const size = Number.parseInt(line[1] as string, 16);
    const extension = line[2]?.length ?? 0;
    extensions += extension;
    if (extension > 1_024 || extensions > 16_384 || size > Number.MAX_SAFE_INTEGER) return null;
    at += line[0].length;
    if (size === 0) break;
    if (text.slice(at + size, at + size + 2) !== '\r\n') return null;
    data += text.slice(at, at + size);
    at += size + 2;
  }
  if (text.startsWith('\r\n', at)) return { data, trailers: [], length: at + 2 };
  const end = text.indexOf('\r\n\r\n', at);
  if (end < 0 || end + 4 - at > 16_384) return null;
  const trailers = text.slice(at, end).split('\r\n');
  if (trailers.length > 100 || !trailers.every((trailer) => FIELD.test(trailer))) return null;
  return { data, trailers, length: end + 4 };
}

export interface NaiveRequest {
  readonly method: string;
  readonly target: string;
  readonly body: string;
}

export interface NaiveReading {
  readonly requests: readonly NaiveRequest[];
  /** How it ends: in the middle of a message (which may be refused already or not), refused, or between messages. */
  readonly end: 'unfinished' | 'refused' | 'idle' | 'closed';
}

/** All complete requests of a connection, up to the first that is not. */
export function naiveRequests(text: string): NaiveReading {
  const requests: NaiveRequest[] = [];
  let rest = text;
  for (;;) {
    if (/^(?:(?:\r\n){0,8}|(?:\r\n){0,7}\r)$/.test(rest)) return { requests, end: 'idle' };
    const head = naiveHead(rest);
    if (typeof head === 'string') return { requests, end: head };
    rest = rest.slice(head.length);
    let body: string | undefined;
    if (head.chunked) {
      const chunks = naiveChunks(rest);
      body = chunks?.data;
      rest = rest.slice(chunks?.length ?? 0);
    } else {
      const length = head.contentLength ?? 0;
      if (rest.length >= length) body = rest.slice(0, length);
      rest = rest.slice(length);
    }
    if (body === undefined) return { requests, end: 'unfinished' };
    requests.push({ method: head.method, target: head.target, body });
    if (!head.keepAlive) return { requests, end: 'closed' };
  }
}

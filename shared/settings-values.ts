/**
 * How each kind of setting is read from text. A reader throws an Error whose message says what was expected; it never
 * repeats the text, since that may hold a credential (the caller adds it where it may be shown).
 */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { parseDuration, parseSize } from './units.ts';

export interface ListenAddress {
  /** Empty for all addresses. */
  readonly host: string;
  readonly port: number;
}

/** `:8080`, `8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; port 0 lets the system choose. */
export function readAddress(text: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]:|([^:[\]\s]*):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new Error('expected an address like :8080, 127.0.0.1:8080 or [::1]:8080');
  }
  if (match[1] !== undefined) {
    if (isIP(match[1]) !== 6) throw new Error('expected an IPv6 address between the brackets');
    return { host: match[1].toLowerCase(), port };
  }
  const host = match[2] ?? '';
  if (host === '' || host === '*') return { host: '', port };
  // A name may stand for several addresses or none, and a listener is exactly one.
  if (host.toLowerCase() === 'localhost') return { host: '127.0.0.1', port };
  if (isIP(host) !== 4) throw new Error('expected an IP address of this machine before the port, not a name');
  return { host, port };
}

/** The one spelling of an address, as it stands in `proxyProtocol` and in messages: `:8080`, `[::1]:8080`. */
export function formatAddress(address: ListenAddress): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

export function readList(text: string): readonly string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

export function readAddresses(text: string): readonly ListenAddress[] {
  const addresses = readList(text).map(readAddress);
  const spellings = new Set(addresses.filter((address) => address.port !== 0).map(formatAddress));
  if (spellings.size < addresses.filter((address) => address.port !== 0).length) {
    throw new Error('an address stands there twice');
  }
  return addresses;
}

/** Addresses and CIDR ranges, comma separated. */
export function readNetworks(text: string): readonly string[] {
  return readList(text).map((item) => {
    const [address = '', prefix, ...rest] = item.split('/');
    const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1;
    const valid = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
    if (bits < 0 || !valid || rest.length > 0) {
      throw new Error('expected addresses and ranges like 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32');
    }
    return item.toLowerCase();
  });
}

export function readInteger(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new Error(`expected a whole number from ${min} to ${max}`);
    return value;
  };
}

/** A time span in milliseconds. `min` and `max` are milliseconds, too. */
export function readDuration(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = parseDuration(text);
    if (value === null) throw new Error('expected a duration like 500ms, 20s or 5m');
    if (value < min || value > max) throw new Error(`expected a duration from ${min} ms to ${max} ms`);
    return value;
  };
}

/** Plain megabytes, or a size with a unit. */
export function readMegabytes(text: string): number {
  if (/^\d{1,7}$/.test(text)) return Number(text);
  const bytes = parseSize(text);
  if (bytes === null) throw new Error('expected megabytes, or a size like 512MB or 2GB');
  return Math.ceil(bytes / 1_048_576);
}

/** A path of this machine; relative ones start at the working directory. */
export function readPath(text: string): string {
  if (text.includes('\0')) throw new Error('expected the path of a file or folder');
  return resolve(text);
}

/** Becomes part of paths and of documents, so it is kept plain. */
export function readNodeName(text: string): string {
  if (!/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/.test(text)) {
    throw new Error(
      'expected 1 to 128 of A-Z a-z 0-9 . _ - that begin and end with a letter or digit; set --node',
    );
  }
  return text;
}

/** A credential that is sent in a header field or typed by people. */
export function readSecret(text: string): string {
  if (!/^[\x21-\x7e]{1,4096}$/.test(text)) {
    throw new Error('expected 1 to 4096 printable ASCII characters without spaces');
  }
  return text;
}

export function readMongoUrl(text: string): string {
  if (!/^mongodb(?:\+srv)?:\/\/[^\s/]+/.test(text)) {
    throw new Error('expected a URL like mongodb://user:password@host:27017/database');
  }
  return text;
}

/** `redis://`, `rediss://` (TLS), or the path of a Unix socket, also as `unix:/path`. */
export function readRedisUrl(text: string): string {
  const path = text.replace(/^unix:(?:\/\/)?(?=\/)/, '');
  if (path.startsWith('/') && !path.startsWith('//')) return path;
  if (/^rediss?:\/\/[^\s]+$/.test(text) && URL.canParse(text)) return text;
  throw new Error('expected a URL like redis://:password@host:6379/0, or the path of a Unix socket');
}

export function readOneOf<T extends string>(...choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text.toLowerCase());
    if (found === undefined) throw new Error(`expected one of ${choices.join(', ')}`);
    return found;
  };
}

/** Format and destination of the access log; `file` is null for stdout. */
export type AccessLogTarget =
  | { readonly format: 'off' }
  | { readonly format: 'json' | 'combined'; readonly file: string | null };

/** `off`, `json`, `combined`, `json:FILE`, `combined:FILE`, or FILE. The answer is one of the first five, the path absolute. */
export function readAccessLog(text: string): string {
  if (text === 'off' || text === 'json' || text === 'combined') return text;
  const match = /^(?:(json|combined):)?(.+)$/s.exec(text);
  const file = match?.[2] ?? '';
  // Without this a mistyped word would silently become a file of that name.
  if (!/[./]/.test(file) || file.endsWith('/') || file.includes('\0')) {
    throw new Error(
      'expected off, json, combined, or a file like ./access.log or combined:/var/log/access.log',
    );
  }
  return `${match?.[1] ?? 'json'}:${resolve(file)}`;
}

/** Takes apart what `readAccessLog` returned. */
export function accessLogTarget(accessLog: string): AccessLogTarget {
  const match = /^(off|json|combined)(?::(.+))?$/s.exec(accessLog);
  if (match === null) return { format: 'json', file: accessLog };
  if (match[1] === 'off') return { format: 'off' };
  return { format: match[1] === 'combined' ? 'combined' : 'json', file: match[2] ?? null };
}

/** Text that may be shown: the credentials of URLs are gone, it is one line, and it is short. */
export function showable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal or break the line
  const plain = redactUrls(text).replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, '?');
  return plain.length > 80 ? `${plain.slice(0, 79)}…` : plain;
}

/** Replaces `user:password@` in every URL of a text. Also right for passwords that hold an unescaped `@`. */
export function redactUrls(text: string): string {
  return text.includes('@') ? text.replace(/:\/\/[^\s/?#"'<>]*@/g, '://***@') : text;
}

/** The building blocks of the schemas: names, durations, sizes, hosts, addresses, header fields, patterns. */
import { domainToASCII } from 'node:url';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { compilePattern } from '../patterns.ts';
import './plain-messages.ts';
import { parseDuration, parseSize } from '../units.ts';

export { parseDuration, parseSize };

const MAX_DURATION_MS = 10 * 365 * 86_400_000;

function unitField(parse: (text: string | number) => number | null, example: string, max: number) {
  return z.union([z.number(), z.string().max(32)]).transform((value, context) => {
    const parsed = parse(value);
    if (parsed !== null && parsed <= max) return parsed;
    context.addIssue({ code: 'custom', message: `expected a number with a unit, like ${example}` });
    return z.NEVER;
  });
}

/** A time span; stored as milliseconds. */
export const duration = () =>
  unitField(parseDuration, '"5s", "250ms" or plain milliseconds', MAX_DURATION_MS);
/** An amount of bytes; stored as bytes. */
export const size = () => unitField(parseSize, '"16KB", "1MB" or plain bytes', Number.MAX_SAFE_INTEGER);

const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?$/;

/** The name of a service, rule, page, certificate or listener; lower-cased. */
export const objectName = () =>
  z
    .string()
    .transform((text) => text.toLowerCase())
    .refine(
      (text) => NAME.test(text),
      'a name has 1 to 128 of a-z 0-9 . _ - and begins and ends with a letter or digit',
    );

/** A regular expression without its `~`. Refused here if it does not compile or is too large. */
export const patternText = () =>
  z.string().superRefine((source, context) => {
    try {
      compilePattern(source);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
    }
  });

const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;

/**
 * Canonical text of a host pattern (exact, `*.x`, `**.x`, `~regex`, `*`), or an Error that says what is wrong.
 * Hosts are IDNA ASCII in lower case without a trailing dot; addresses are in their canonical form.
 */
export function canonicalHost(text: string): string | Error {
  if (text.startsWith('~')) {
    try {
      compilePattern(text.slice(1));
      return text;
    } catch (error) {
      return error as Error;
    }
  }
  if (text === '*') return text;
  const prefix = text.startsWith('**.') ? '**.' : text.startsWith('*.') ? '*.' : '';
  let host = text.slice(prefix.length).toLowerCase();
  if (host.endsWith('.')) host = host.slice(0, -1);
  // The check for an IPv4 address costs ten times all the rest here: only what begins with a digit can be one.
  if (
    prefix === '' &&
    (host.startsWith('[') || (/^\d/.test(host) && ipaddr.IPv4.isValidFourPartDecimal(host)))
  ) {
    const bare = /^\[(.*:.*)\]$/.exec(host)?.[1] ?? host;
    if (!ipaddr.isValid(bare)) return new Error('not a valid address');
    const address = ipaddr.parse(bare).toString();
    return address.includes(':') ? `[${address}]` : address;
  }
  // domainToASCII leaves line breaks out, so that two names could look like one.
  if (/\p{Cc}|\s/u.test(host)) return new Error('not a host name: it has white space or controls');
  // domainToASCII refuses underscores nowhere but maps what is not a host to '': plain ASCII names are taken as they are.
  if (/[^\x20-\x7e]/.test(host)) host = domainToASCII(host);
  if (host.length === 0 || host.length > 253) return new Error('not a host name: it has 1 to 253 characters');
  if (!host.split('.').every((label) => LABEL.test(label))) {
    return new Error(
      'not a host name: labels have 1 to 63 of a-z 0-9 - _, without - at either end; * only leads',
    );
  }
  return prefix + host;
}

/** A host or host pattern of a domain. */
export const hostPattern = () =>
  z
    .string()
    .max(512)
    .transform((text, context) => {
      const host = canonicalHost(text);
      if (typeof host === 'string') return host;
      context.addIssue({ code: 'custom', message: host.message });
      return z.NEVER;
    });

/** Where a backend listens. */
export type Endpoint =
  | { readonly type: 'unix'; readonly path: string }
  | { readonly type: 'address'; readonly host: string; readonly port: number }
  | { readonly type: 'name'; readonly host: string; readonly port: number };

/** Splits `host:port`, `[v6]:port` or `unix:/path`; null when it is none of them. */
export function parseEndpoint(text: string): Endpoint | null {
  if (text.startsWith('unix:')) {
    const path = text.slice(5);
    return path.startsWith('/') && path.length <= 107 && !path.includes('\0') ? { type: 'unix', path } : null;
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/@]+)):(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const port = Number(match[3]);
  if (port < 1 || port > 65_535) return null;
  const v6 = match[1];
  if (v6 !== undefined) {
    return ipaddr.IPv6.isValid(v6) ? { type: 'address', host: ipaddr.IPv6.parse(v6).toString(), port } : null;
  }
  // The dot at the end of a name is none of it; taken away first, or a number with one would pass for a name.
  const name = (match[2] as string).toLowerCase().replace(/\.$/, '');
  if (ipaddr.IPv4.isValidFourPartDecimal(name)) {
    return { type: 'address', host: ipaddr.IPv4.parse(name).toString(), port };
  }
  // Any other all-numeric or hex spelling would be read as an address by some resolvers: refuse it.
  if (/^(?:0x[0-9a-f]+|\d+)(?:\.(?:0x[0-9a-f]+|\d+))*$/.test(name)) return null;
  const host = canonicalHost(name);
  return typeof host === 'string' && !host.startsWith('*') && !host.startsWith('~')
    ? { type: 'name', host, port }
    : null;
}

export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.type === 'unix') return `unix:${endpoint.path}`;
  return endpoint.host.includes(':')
    ? `[${endpoint.host}]:${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`;
}

/** The address of a backend, in canonical form. */
export const backendAddress = () =>
  z
    .string()
    .max(300)
    .transform((text, context) => {
      const endpoint = parseEndpoint(text);
      if (endpoint !== null) return formatEndpoint(endpoint);
      context.addIssue({ code: 'custom', message: 'expected host:port, [v6]:port or unix:/path' });
      return z.NEVER;
    });

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly the characters that may not be in a field value (RFC 9110 §5.5)
const BAD_VALUE = /[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$|[^\x00-\xff]/;

/** The name of a header field (RFC 9110 §5.1), lower-cased. */
export const fieldName = () =>
  z
    .string()
    .refine((text) => TOKEN.test(text), 'not a header field name (RFC 9110 §5.1)')
    .transform((text) => text.toLowerCase());

/** The name of a cookie (RFC 6265 §4.1.1); cookies are told apart by case. */
export const cookieName = () =>
  z.string().refine((text) => TOKEN.test(text), 'not the name of a cookie (RFC 6265 §4.1.1)');

/** A host with an optional port, as it stands in a Host field; lower-cased. */
export const hostAndPort = () =>
  z
    .string()
    .max(259)
    .transform((text, context) => {
      const port = /:\d{1,5}$/.exec(text)?.[0] ?? '';
      const host = canonicalHost(text.slice(0, text.length - port.length));
      if (typeof host === 'string' && !/[*~]/.test(host)) return host + port;
      context.addIssue({
        code: 'custom',
        message: 'expected a host name or address, with or without a port',
      });
      return z.NEVER;
    });

/** The value of a header field (RFC 9110 §5.5): no controls, no white space at its ends. */
export const fieldValue = () =>
  z
    .string()
    .max(4_096)
    .refine(
      (text) => !BAD_VALUE.test(text),
      'not a header field value: no controls, no white space at its ends',
    );

const MAX_MAP_ENTRIES = 10_000;
/** Failures cost far more time than what is right; nobody reads further. */
const MAX_MAP_ISSUES = 100;

/** What the values of a map have to be, by the schema that `mapOf` made for it; for descriptions of the schema. */
export const VALUES_OF_MAPS = new WeakMap<object, z.ZodType>();

/** Names that a map of a document may have as keys are checked by `key`; prototype names never get in. */
export function mapOf<K extends z.ZodType<string>, V extends z.ZodType>(key: K, value: V) {
  const record = z.record(z.string(), z.unknown());
  VALUES_OF_MAPS.set(record, value);
  return record.transform((input, context) => {
    const output: Record<string, z.output<V>> = Object.create(null);
    const size = Object.keys(input).length;
    if (size > MAX_MAP_ENTRIES) {
      context.addIssue({
        code: 'custom',
        message: `${size} entries; at most ${MAX_MAP_ENTRIES} are allowed`,
      });
      return z.NEVER;
    }
    for (const [rawKey, rawValue] of Object.entries(input)) {
      const parsedKey = key.safeParse(rawKey);
      const parsedValue = value.safeParse(rawValue);
      for (const issue of parsedKey.error?.issues ?? []) {
        context.addIssue({ code: 'custom', message: issue.message, path: [rawKey] });
      }
      for (const issue of parsedValue.error?.issues ?? []) {
        context.addIssue({ ...issue, path: [rawKey, ...issue.path] } as never);
      }
      if (context.issues.length >= MAX_MAP_ISSUES) break;
      if (!parsedKey.success || !parsedValue.success) continue;
      if (parsedKey.data in output) {
        const message = `${parsedKey.data} stands twice, in two spellings; leave one out`;
        context.addIssue({ code: 'custom', message, path: [rawKey] });
      } else output[parsedKey.data] = parsedValue.data;
    }
    return { ...output };
  });
}

/** Who may change an object by file, and free-form labels; every object has them. */
export const commonFields = {
  labels: mapOf(
    z.string().regex(/^[a-zA-Z0-9._/-]{1,128}$/, 'a label has 1 to 128 of a-z A-Z 0-9 . _ / -'),
    z.string().max(256),
  ).optional(),
  owner: z
    .string()
    .regex(/^[a-zA-Z0-9._/-]{1,128}$/, 'an owner has 1 to 128 of a-z A-Z 0-9 . _ / -')
    .optional(),
};

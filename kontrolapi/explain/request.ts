/** A request that somebody describes, or that a node remembers, as deciding sees it. */

import ipaddr from 'ipaddr.js';
import { canonicalAddress } from '../../shared/address.ts';
import { type FieldProblem, KontrolError } from '../../shared/errors.ts';
import { canonicalHost } from '../../shared/model/fields.ts';
import type { RequestView } from '../../shared/routing/decision.ts';

export interface Described {
  readonly url: string;
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly address?: string | undefined;
}

/** Not `new URL`, which rewrites paths: what matters is the target as a client sends it. */
const TARGET = /^(?:(https?|wss?):\/\/)?(\[[^\]]*\]|[^/?#:]*)(?::(\d{1,5}))?(\/[^?#]*)?(\?[^#]*)?(?:#.*)?$/is;

/** Throws `invalid`. `address` is taken where none is described. */
export function requestOf(described: Described, address: string, now: number): RequestView {
  const [, scheme = 'http', hostText = '', portText, path = '/', query = ''] =
    TARGET.exec(described.url) ?? [];
  if (hostText === '') throw invalid('url', 'expected an address like https://shop.example.com/cart');
  const host = /[*~]/.test(hostText)
    ? new Error('a visitor asks for one host, not for a pattern')
    : canonicalHost(hostText);
  if (host instanceof Error) throw invalid('url', `the host is not valid: ${host.message}`);
  const from = described.address ?? address;
  if (!ipaddr.isValid(from)) throw invalid('address', 'expected an IPv4 or IPv6 address');
  const secure = /^(https|wss)$/i.test(scheme);
  const headers = new Map<string, string>();
  for (const [name, value] of Object.entries(described.headers ?? {})) {
    const key = name.toLowerCase();
    const before = headers.get(key);
    headers.set(key, before === undefined ? value : `${before}${key === 'cookie' ? '; ' : ', '}${value}`);
  }
  return {
    secure,
    host,
    port: portText === undefined ? (secure ? 443 : 80) : Number(portText),
    method: described.method ?? 'GET',
    rawPath: path,
    query,
    address: canonicalAddress(from),
    websocket: /^wss?$/i.test(scheme) || headers.get('upgrade')?.toLowerCase() === 'websocket',
    now,
    header: (name) => headers.get(name),
  };
}

/** What a node kept of a request; null when it is not the shape of a record. Fields that it did not keep are absent. */
export function requestOfRecord(record: Readonly<Record<string, unknown>>): RequestView | null {
  const { host, target, method, address, at, secure, protocol, userAgent, referer } = record;
  if (typeof host !== 'string' || typeof target !== 'string' || typeof at !== 'number') return null;
  if (typeof method !== 'string' || typeof address !== 'string' || host === '') return null;
  const query = target.indexOf('?');
  const headers = new Map<string, unknown>([
    ['user-agent', userAgent],
    ['referer', referer],
  ]);
  return {
    secure: secure === true,
    host,
    port: secure === true ? 443 : 80,
    method,
    rawPath: query < 0 ? target : target.slice(0, query),
    query: query < 0 ? '' : target.slice(query),
    address,
    websocket: protocol === 'websocket',
    now: at,
    header(name) {
      const value = headers.get(name);
      return typeof value === 'string' ? value : undefined;
    },
  };
}

function invalid(path: string, message: string): KontrolError {
  return new KontrolError('invalid', undefined, [{ path, message } satisfies FieldProblem]);
}

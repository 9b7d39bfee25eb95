/**
 * Who a request comes from: one canonical address, used by firewall, log, balancing and backends alike. Forwarding
 * fields count only when the peer is a trusted proxy, and then only as far as the chain of trusted proxies reaches.
 */
import { parseAddress } from '../../shared/address.ts';
import { FORWARDED, X_FORWARDED_FOR, X_FORWARDED_PORT, X_FORWARDED_PROTO, X_REAL_IP } from './field-kinds.ts';
import type { FieldLines } from './field-lines.ts';

export interface ClientIdentity {
  /** Canonical text of the client's address. */
  readonly address: string;
  /** Whether the client itself speaks HTTPS. */
  readonly secure: boolean;
  /** The port that the client connected to. */
  readonly port: number;
}

/** What a connection came in by. */
export interface HttpListener {
  readonly secure: boolean;
  /** Port that visitors see. */
  readonly port: number;
  /** The peer is a proxy that does not say who its client is: the client's own forwarding fields count for nothing. */
  readonly hidden?: boolean;
}

/** A longer chain is cut: nobody runs that many proxies. */
const MAX_HOPS = 32;

/** The canonical address of an element of a forwarding field, which may carry a port; null when it holds none. */
export function hopAddress(element: string): string | null {
  const withPort = /^(\[[^\]]*\]|[\d.]+):\d{1,5}$/.exec(element);
  return parseAddress(withPort?.[1] ?? element);
}

/** The address of the peer itself; empty when it has none (a Unix socket). */
export function peerAddress(remoteAddress: string): string {
  return parseAddress(remoteAddress) ?? '';
}

/** What a trusted peer says about the client; `direct` is the connection itself. */
export function identifyForwarded(
  fields: FieldLines,
  direct: ClientIdentity,
  trusts: (address: string) => boolean,
): ClientIdentity {
  const forwarded = forwardedPairs(fields);
  const chain = elements(fields, X_FORWARDED_FOR) ?? forwarded.map((pairs) => pairs.get('for') ?? '');
  const realIp = elements(fields, X_REAL_IP)?.at(-1);
  const address =
    chain.length > 0 ? walk(chain, direct.address, trusts) : (hopAddress(realIp ?? '') ?? direct.address);
  const proto = (
    elements(fields, X_FORWARDED_PROTO)?.at(-1) ?? forwarded.at(-1)?.get('proto')
  )?.toLowerCase();
  const secure = proto === undefined ? direct.secure : proto === 'https' || proto === 'wss';
  const port = Number(elements(fields, X_FORWARDED_PORT)?.at(-1) ?? Number.NaN);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return { address, secure, port };
  return { address, secure, port: secure === direct.secure ? direct.port : secure ? 443 : 80 };
}

/** From the right: each address was seen by the proxy after it, so the first one that is not trusted is the client. */
function walk(chain: readonly string[], peer: string, trusts: (address: string) => boolean): string {
  let client = peer;
  for (const element of chain.slice(-MAX_HOPS).reverse()) {
    const address = hopAddress(element);
    if (address === null) break;
    client = address;
    if (!trusts(address)) break;
  }
  return client;
}

/** All elements of a list field in order, or null when it is absent. */
function elements(fields: FieldLines, kind: number): string[] | null {
  let all: string[] | null = null;
  for (let i = fields.find(kind); i >= 0; i = fields.find(kind, i + 1)) {
    all ??= [];
    for (const element of fields.value(i).split(',')) all.push(element.trim());
  }
  return all;
}

/** RFC 7239: the parameters of each element, names in lower case, values unquoted. */
function forwardedPairs(fields: FieldLines): Map<string, string>[] {
  const all = elements(fields, FORWARDED);
  if (all === null) return [];
  return all.map((element) => {
    const pairs = new Map<string, string>();
    for (const pair of element.split(';')) {
      const equals = pair.indexOf('=');
      const value = pair.slice(equals + 1).trim();
      const unquoted = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
      if (equals > 0) pairs.set(pair.slice(0, equals).trim().toLowerCase(), unquoted);
    }
    return pairs;
  });
}

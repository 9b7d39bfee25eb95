/**
 * The table of this process and everything that follows it: upstreams, brands, certificates. A change is applied
 * between two events, so no request ever sees half of one; a load is built aside and takes over in one step. What
 * is under way goes on with what it was decided by.
 */

import { canonicalAddress } from '../../shared/address.ts';
import type { ResolvedLimits } from '../../shared/model/settings.ts';
import { resolveLimits } from '../../shared/model/settings.ts';
import type { ClientAuthority } from '../../shared/routing/client-authority.ts';
import { decide } from '../../shared/routing/decide.ts';
import { refuseConnection, routeConnection } from '../../shared/routing/decide-connection.ts';
import type { CompiledService, Decision, RequestView } from '../../shared/routing/decision.ts';
import type { RejectedEntry, TableEntry } from '../../shared/routing/entry.ts';
import { Table, type TableOptions } from '../../shared/routing/table.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { encodeProxyHeader, type SocketPair } from '../tunnel/proxy-header.ts';
import type { TcpDecision, TcpRefusal } from '../tunnel/tcp-tunnel.ts';

/** What of a stream says between whom it is. */
export type ConnectedEnds = Pick<ByteStream, 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort'>;

/** Where the parts of a table are also kept. */
export interface Followers {
  setService(name: string, service: CompiledService | null): void;
  /** Names that `setService` was called with and that are not gone. */
  serviceNames(): Iterable<string>;
  setBrand(name: string, templates: Readonly<Partial<Record<string, string>>> | null): void;
  /** Certificates, their keys or client certificates changed, or all may have. Returns what cannot be used. */
  certificatesChanged(table: Table): readonly RejectedEntry[];
}

/** What everything is answered while there is no table. */
const NO_TABLE: Decision = {
  type: 'page',
  cause: 'no_table',
  retryAfter: 5,
  labels: { domain: null, route: null, service: null, pages: null, rule: null },
  response: null,
};
const DEFAULT_LIMITS = resolveLimits({});

interface Load {
  readonly generation: number;
  readonly table: Table;
  readonly rejected: RejectedEntry[];
}

export class AppliedTable {
  readonly #options: TableOptions;
  readonly #followers: Followers;
  #table: Table | null = null;
  #loading: Load | null = null;
  /** Brands that `setBrand` was called with and that are not gone. */
  readonly #brands = new Set<string>();

  constructor(options: TableOptions, followers: Followers) {
    this.#options = options;
    this.#followers = followers;
  }

  /** Null until there is one. */
  get current(): Table | null {
    return this.#table;
  }

  decide(request: RequestView): Decision {
    return this.#table === null ? NO_TABLE : decide(this.#table, request);
  }

  /** Whether a TCP listener tells its connections apart by the name in their ClientHello. */
  readsNames(listener: string): boolean {
    return this.#table?.listener(listener)?.doc.tls === 'passthrough';
  }

  /** What the rules say about a connection to a TCP listener; null when it may enter. */
  refuseTcp(listener: string, address: string): TcpRefusal | null {
    const table = this.#table;
    if (table === null) return { type: 'refuse', cause: 'no_table', rule: null };
    const refusal = refuseConnection(table, { listener, address, now: Date.now() });
    return refusal && { type: 'refuse', cause: refusal.cause, rule: refusal.labels.rule };
  }

  /** Where a connection goes that the rules let in. */
  routeTcp(listener: string, stream: ConnectedEnds, serverName: string | null): TcpDecision {
    const table = this.#table;
    if (table === null) return { type: 'refuse', cause: 'no_table', rule: null };
    const decision = routeConnection(table, { listener, serverName });
    if (decision.type === 'refuse')
      return { type: 'refuse', cause: decision.cause, rule: decision.labels.rule };
    const doc = table.listener(listener)?.doc;
    const out = doc?.proxyProtocol?.out ?? false;
    return {
      type: 'forward',
      service: decision.service,
      key: decision.key,
      idleMs: doc?.idle || null,
      prelude: out === false ? null : encodeProxyHeader(out === 1 ? 1 : 2, endsOf(stream)),
    };
  }

  /** Whether any domain asks its visitors for certificates: whoever does handshakes has to know the name first. */
  get verifiesClients(): boolean {
    return this.#table?.verifiesClients ?? false;
  }

  /** The authority of the domain under this server name (empty for none, which is `*`); null when it asks for no certificate. */
  clientAuthority(serverName: string): ClientAuthority | null {
    return this.#table?.domainOf(serverName)?.clientAuthority ?? null;
  }

  limits(): ResolvedLimits {
    return this.#table?.limits() ?? DEFAULT_LIMITS;
  }

  /** A load begins; the table in force stays until its last entries are there. */
  load(generation: number): void {
    this.#loading = { generation, table: new Table(this.#options), rejected: [] };
  }

  /** Entries of a load. Returns what was rejected of all of it when it is in force now, else null. */
  entries(generation: number, entries: readonly TableEntry[], last: boolean): RejectedEntry[] | null {
    const load = this.#loading;
    if (load === null || load.generation !== generation) return null;
    load.rejected.push(...load.table.apply(entries).rejected);
    if (!last) return null;
    this.#loading = null;
    this.#table = load.table;
    this.#followAll(load.table, load.rejected);
    return load.rejected;
  }

  /** Applies one change; returns what of it was rejected. Without a table it begins an empty one. */
  change(entries: readonly TableEntry[]): RejectedEntry[] {
    this.#table ??= new Table(this.#options);
    const table = this.#table;
    const change = table.apply(entries);
    for (const name of change.services) this.#followService(table, name, change.rejected);
    for (const name of change.brands) this.#followBrand(table, name);
    if (change.certificates) change.rejected.push(...this.#followers.certificatesChanged(table));
    return change.rejected;
  }

  #followAll(table: Table, rejected: RejectedEntry[]): void {
    const gone = new Set(this.#followers.serviceNames());
    for (const { name } of table.services()) {
      gone.delete(name);
      this.#followService(table, name, rejected);
    }
    for (const name of gone) this.#followService(table, name, rejected);
    const pages = [...table.pages()].map(({ name }) => name);
    for (const name of new Set([...this.#brands, ...pages])) this.#followBrand(table, name);
    rejected.push(...this.#followers.certificatesChanged(table));
  }

  #followService(table: Table, name: string, rejected: RejectedEntry[]): void {
    try {
      this.#followers.setService(name, table.service(name) ?? null);
    } catch (error) {
      rejected.push({ kind: 'service', name, reason: (error as Error).message });
    }
  }

  #followBrand(table: Table, name: string): void {
    const page = table.page(name);
    if (page === undefined) this.#brands.delete(name);
    else this.#brands.add(name);
    this.#followers.setBrand(name, page?.templates ?? null);
  }
}

function endsOf(stream: ConnectedEnds): SocketPair {
  return {
    source: { address: canonicalAddress(stream.remoteAddress), port: stream.remotePort },
    destination: { address: canonicalAddress(stream.localAddress), port: stream.localPort },
  };
}

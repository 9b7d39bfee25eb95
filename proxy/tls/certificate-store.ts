/**
 * The certificates of a serving process and which of them a visitor gets: exact name, then wildcard, then the
 * default. They change at any time; new handshakes see the change, open connections never do. A pair that is not
 * good is refused and what was there stays.
 */
import type { SecureContext } from 'node:tls';
import type { ClientAuthority } from '../../shared/routing/client-authority.ts';
import { checkPair, covers, type KeyPair, type PemPair, secureContextOf } from './key-pair.ts';
import { PerTurn } from './per-turn.ts';

/** Contexts in memory (25 KB each); those of more certificates are made again when they are needed. */
const MAX_CONTEXTS = 4_000;

/** Pairs that are tried out in one turn (0.7 ms each): visitors do not wait longer for a load of thousands. */
const MAX_TRIED = 200;

/** Contexts that also ask for certificates, by number of the certificate and authority. */
const MAX_ASKING_CONTEXTS = 1_000;
let lastNumber = 0;

class Entry {
  /** Never used again. */
  readonly number = ++lastNumber;
  readonly name: string;
  readonly pair: KeyPair;

  constructor(name: string, pair: KeyPair) {
    this.name = name;
    this.pair = pair;
  }
}

export class CertificateStore {
  readonly #entries = new Map<string, Entry>();
  /** Certificates by each of their names (`*.x` too), the one to serve first. */
  readonly #byName = new Map<string, readonly Entry[]>();
  /** In order of last use. */
  readonly #contexts = new Map<Entry, SecureContext>();
  readonly #asking = new Map<string, SecureContext>();
  readonly #onDefault: () => void;
  readonly #trials = new PerTurn(MAX_TRIED);
  #default: Entry | null = null;

  /** `onDefault` is called when the default certificate became another. */
  constructor(onDefault: () => void = () => {}) {
    this.#onDefault = onDefault;
  }

  /** Serves a pair for the names of its certificate. Throws when it is not good; then an older one of `name` stays. */
  set(name: string, pem: PemPair): void {
    const before = this.#entries.get(name);
    if (before !== undefined && samePair(before.pair, pem)) return;
    const entry = new Entry(name, checkPair(pem));
    // Who takes a place that somebody has is tried out first.
    const replaces = before !== undefined || entry.pair.names.some((host) => this.#find(host) !== null);
    const context = replaces && this.#trials.take() ? contextOf(entry, null) : null;
    if (before !== undefined) this.#forget(before);
    this.#entries.set(name, entry);
    if (context !== null) latest(this.#contexts, entry, MAX_CONTEXTS, () => context);
    for (const host of entry.pair.names) {
      // Of two for one host, the one that is good for longer; of equals, the first by name: the same on every node.
      const all = [...(this.#byName.get(host) ?? []), entry].sort(
        (a, b) => b.pair.expires - a.pair.expires || (a.name < b.name ? -1 : 1),
      );
      this.#byName.set(host, all);
    }
  }

  remove(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    this.#forget(entry);
  }

  /** For visitors that ask for no name or one that no certificate is for. Throws when it is not good, as `set`. */
  setDefault(pem: PemPair | null): void {
    const before = this.#default?.pair ?? null;
    if (pem === null ? before === null : before !== null && samePair(before, pem)) return;
    const entry = pem === null ? null : new Entry('', checkPair(pem));
    if (entry !== null) contextOf(entry, null);
    if (this.#default !== null) this.#contexts.delete(this.#default);
    this.#default = entry;
    this.#onDefault();
  }

  get default(): KeyPair | null {
    return this.#default?.pair ?? null;
  }

  /** Whether there is any certificate to show. */
  get empty(): boolean {
    return this.#default === null && this.#entries.size === 0;
  }

  /** Names of the certificates it has, for a load that replaces everything; the default is not among them. */
  names(): string[] {
    return [...this.#entries.keys()];
  }

  /**
   * The certificate for a server name (SNI) as the client sent it; null for the default one's context or none. With
   * an `authority`, a context that verifies by it alone: without, a context verifies by all that Node trusts.
   */
  contextFor(serverName: string, authority: ClientAuthority | null = null): SecureContext | null {
    const entry = this.#find(canonical(serverName));
    if (entry === null) return null;
    return authority === null ? this.#context(entry) : this.#askingContext(entry, authority);
  }

  /** Whether a connection that asked for `serverName` (null: for none) was shown a certificate that covers `host`. */
  covers(serverName: string | null, host: string): boolean {
    const entry = (serverName === null ? null : this.#find(canonical(serverName))) ?? this.#default;
    return entry?.pair.names.some((name) => covers(name, host)) ?? false;
  }

  #find(host: string): Entry | null {
    const exact = this.#byName.get(host)?.[0];
    if (exact !== undefined) return exact;
    const dot = host.indexOf('.');
    return (dot > 0 ? this.#byName.get(`*${host.slice(dot)}`)?.[0] : undefined) ?? null;
  }

  #context(entry: Entry): SecureContext {
    return latest(this.#contexts, entry, MAX_CONTEXTS, () => contextOf(entry, null));
  }

  #askingContext(entry: Entry, authority: ClientAuthority): SecureContext {
    const key = `${entry.number} ${authority.id}`;
    return latest(this.#asking, key, MAX_ASKING_CONTEXTS, () => contextOf(entry, authority));
  }

  #forget(entry: Entry): void {
    this.#contexts.delete(entry);
    for (const key of this.#asking.keys()) if (key.startsWith(`${entry.number} `)) this.#asking.delete(key);
    for (const host of entry.pair.names) {
      const left = (this.#byName.get(host) ?? []).filter((other) => other !== entry);
      if (left.length === 0) this.#byName.delete(host);
      else this.#byName.set(host, left);
    }
  }
}

function contextOf({ pair }: Entry, authority: ClientAuthority | null): SecureContext {
  return secureContextOf(pair, authority === null ? {} : { ca: authority.pem });
}

/** The value under `key`, made if need be, as the last used one of at most `max`. */
function latest<K, V>(map: Map<K, V>, key: K, max: number, make: () => V): V {
  const value = map.get(key) ?? make();
  map.delete(key);
  const oldest = map.size >= max ? map.keys().next() : null;
  if (oldest !== null && !oldest.done) map.delete(oldest.value);
  map.set(key, value);
  return value;
}

function samePair(a: PemPair, b: PemPair): boolean {
  return a.certificate === b.certificate && a.key === b.key;
}

function canonical(serverName: string): string {
  const host = serverName.toLowerCase();
  return host.endsWith('.') ? host.slice(0, -1) : host;
}

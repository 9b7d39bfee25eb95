/**
 * What names of backends stand for: asked of DNS as often as the answers' TTL says, of the hosts file where DNS has
 * nothing. The last answer holds while nobody answers. Never on the path of a request, and few look-ups at a time.
 */
import { Resolver as Dns, lookup } from 'node:dns/promises';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';

/** Bounds of the time an answer holds, in milliseconds. */
const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 300_000;
/** Answers of the hosts file have no TTL. */
const LOOKUP_TTL_MS = 10_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** Names in the process of being resolved. Of the four threads of getaddrinfo at most two are ever taken. */
const MAX_RUNNING = 32;
const MAX_LOOKUPS = 2;
/** Addresses of one name beyond this are left out. */
const MAX_ADDRESSES = 64;

export interface Answer {
  readonly addresses: readonly string[];
  readonly ttlMs: number;
}

/** Asks once. Rejects when there is no answer. */
export type Ask = (name: string) => Promise<Answer>;

interface Name {
  addresses: readonly string[];
  failures: number;
  cancel: (() => void) | null;
  waiting: boolean;
}

export interface ResolverOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly ask?: Ask;
  /** Called with each new answer. */
  changed(name: string, addresses: readonly string[]): void;
}

export class NameResolver {
  readonly #options: ResolverOptions;
  readonly #ask: Ask;
  readonly #names = new Map<string, Name>();
  readonly #queue: string[] = [];
  readonly #seeds = new Map<string, readonly string[]>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #closed = false;

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#ask = options.ask ?? askDns();
  }

  /** The names to follow from now on. */
  follow(names: ReadonlySet<string>): void {
    for (const [name, entry] of this.#names) {
      if (names.has(name)) continue;
      entry.cancel?.();
      this.#names.delete(name);
    }
    for (const name of names) {
      if (this.#names.has(name)) continue;
      const addresses = this.#seeds.get(name) ?? [];
      this.#names.set(name, { addresses, failures: 0, cancel: null, waiting: false });
      if (addresses.length > 0) this.#options.changed(name, addresses);
      this.#enqueue(name);
    }
    this.#seeds.clear();
    this.#tellSettled();
  }

  /** Takes over answers of an earlier process, until there are newer ones. */
  seed(names: readonly { readonly name: string; readonly addresses: readonly string[] }[]): void {
    for (const { name, addresses } of names) this.#seeds.set(name, addresses);
  }

  /** Resolves when every name that is followed has an answer, or was asked for in vain. */
  settled(): Promise<void> {
    if (![...this.#names.values()].some(isOpen)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** What a name stands for now; empty when it never resolved. */
  addresses(name: string): readonly string[] {
    return this.#names.get(name)?.addresses ?? [];
  }

  /** All names that resolved at least once. */
  *known(): IterableIterator<readonly [name: string, addresses: readonly string[]]> {
    yield* this.#seeds;
    for (const [name, { addresses }] of this.#names) if (addresses.length > 0) yield [name, addresses];
  }

  /** A connection failed: what the name stands for may have changed. Asks again soon. */
  doubt(name: string): void {
    const entry = this.#names.get(name);
    if (entry === undefined || entry.cancel === null || entry.failures > 0) return;
    entry.cancel();
    entry.cancel = this.#options.clock.after(MIN_TTL_MS, () => this.#enqueue(name));
  }

  close(): void {
    this.#closed = true;
    for (const entry of this.#names.values()) entry.cancel?.();
    this.#names.clear();
    this.#queue.length = 0;
    this.#tellSettled();
  }

  #tellSettled(): void {
    if (this.#waiting.length === 0 || [...this.#names.values()].some(isOpen)) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #enqueue(name: string): void {
    const entry = this.#names.get(name);
    if (entry === undefined || entry.waiting || this.#closed) return;
    entry.cancel = null;
    entry.waiting = true;
    this.#queue.push(name);
    this.#pump();
  }

  #pump(): void {
    while (this.#running < MAX_RUNNING) {
      const name = this.#queue.shift();
      if (name === undefined) return;
      const entry = this.#names.get(name);
      if (entry === undefined) continue;
      this.#running++;
      void this.#resolve(name, entry).finally(() => {
        this.#running--;
        this.#pump();
      });
    }
  }

  async #resolve(name: string, entry: Name): Promise<void> {
    const { clock, log } = this.#options;
    let nextMs: number;
    try {
      const { addresses, ttlMs } = await this.#ask(name);
      if (addresses.length === 0) throw new Error('the answer has no address');
      if (entry.failures > 0) log.info('name_resolved', `${name} resolves again`, { host: name });
      entry.failures = 0;
      nextMs = Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, ttlMs));
      // Order means nothing in DNS: a rotated answer is no new one.
      const sorted = [...new Set(addresses)].sort().slice(0, MAX_ADDRESSES);
      if (sorted.join() !== entry.addresses.join() && this.#names.get(name) === entry) {
        entry.addresses = sorted;
        this.#options.changed(name, sorted);
      }
    } catch (error) {
      if (entry.failures++ === 0) {
        const held = entry.addresses.length > 0 ? 'the last answer holds' : 'it never did';
        log.warn('name_unresolved', `${name} does not resolve (${held}): ${(error as Error).message}`, {
          host: name,
        });
      }
      nextMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(entry.failures - 1, 10));
    }
    entry.waiting = false;
    this.#tellSettled();
    if (this.#closed || this.#names.get(name) !== entry) return;
    entry.cancel = clock.after(nextMs, () => this.#enqueue(name));
  }
}

function isOpen(entry: Name): boolean {
  return entry.addresses.length === 0 && entry.failures === 0;
}

/** DNS by its own protocol, which costs no thread and tells the TTL; what it does not know may be in the hosts file. */
function askDns(): Ask {
  const dns = new Dns({ timeout: 2_000, tries: 2 });
  let lookups = 0;
  const waiting: (() => void)[] = [];
  const lookedUp = async (name: string): Promise<Answer> => {
    if (lookups >= MAX_LOOKUPS) await new Promise<void>((resolve) => waiting.push(resolve));
    else lookups++;
    try {
      const found = await lookup(name, { all: true });
      return { addresses: found.map(({ address }) => address), ttlMs: LOOKUP_TTL_MS };
    } finally {
      // The place goes to the next in line, or back.
      const next = waiting.shift();
      if (next === undefined) lookups--;
      else next();
    }
  };
  return async (name) => {
    // RFC 6761 §6.3: a resolver outside this machine has no say in what localhost is.
    if (name === 'localhost' || name.endsWith('.localhost')) return await lookedUp(name);
    const results = await Promise.allSettled([
      dns.resolve4(name, { ttl: true }),
      dns.resolve6(name, { ttl: true }),
    ]);
    const records = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
    if (records.length === 0) return await lookedUp(name);
    return {
      addresses: records.map(({ address }) => address),
      ttlMs: Math.min(...records.map(({ ttl }) => ttl)) * 1_000,
    };
  };
}

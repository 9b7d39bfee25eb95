/**
 * The answers of one service that several visitors may get, in one process: those under way, by the requests that may
 * wait for them, and the stored ones. Each request is given to one of them here, or sent for itself.
 */
import { createHash } from 'node:crypto';
import type { ResolvedCache, ResolvedCoalesce } from '../../shared/model/service.ts';
import type { RequestView } from '../../shared/routing/decision.ts';
import type { Environment } from '../serving/environment.ts';
import { AloneRequest } from './alone.ts';
import type { Budget } from './budget.ts';
import { SharedRequest } from './copied-request.ts';
import { Flight } from './flight.ts';
import { Gate } from './gate.ts';
import { type Plan, plain } from './plan.ts';
import type { AnswerFinder, Reader } from './reader.ts';
import { useOf } from './rules.ts';
import { Store, type StoredAnswer, type Tally } from './store.ts';

/** For so long nobody waits for an answer that turned out to be for one visitor. */
const UNSHAREABLE_MS = 10_000;
const MAX_UNSHAREABLE = 10_000;
/** A request waits for another answer that it may not have at most so often. */
const MAX_ATTEMPTS = 3;
const DEFAULT_WAITERS = 1_000;

export interface SharingConfig {
  readonly coalesce: ResolvedCoalesce | null;
  readonly cache: ResolvedCache | null;
}

export class ServiceAnswers implements AnswerFinder {
  config: SharingConfig;
  store: Store | null;
  readonly budget: Budget;
  /** Bytes that are stored, of all services. */
  readonly #tally: Tally;
  readonly #environment: Environment;
  /** Those that may be waited for. */
  readonly #joinable = new Map<string, Flight>();
  readonly #flights = new Set<Flight>();
  /** By digest of the flight's name, until when (monotonic) nobody waits; and those noted before them. */
  #unshareable = new Map<string, number>();
  #unshareableBefore = new Map<string, number>();
  /** By what they waited for: a crowd at a slow answer holds up nobody else. Those that are idle are dropped. */
  readonly #gates = new Map<string, Gate>();
  /** Called after something was stored; it may have to make room elsewhere. */
  readonly #onKept: () => void;

  constructor(
    environment: Environment,
    config: SharingConfig,
    budget: Budget,
    tally: Tally,
    onKept: () => void,
  ) {
    this.#environment = environment;
    this.config = config;
    this.budget = budget;
    this.#tally = tally;
    this.#onKept = onKept;
    this.store = config.cache === null ? null : new Store(config.cache.size, tally);
  }

  /** Requests under way, and places taken in the gate; for leak tests. */
  get open(): number {
    let inside = 0;
    for (const gate of this.#gates.values()) inside += gate.inside;
    return this.#flights.size + this.#joinable.size + inside + this.#gates.size;
  }

  configure(config: SharingConfig): void {
    this.config = config;
    if (config.cache === null) {
      this.forget(() => true);
      this.store = null;
    } else if (this.store === null) this.store = new Store(config.cache.size, this.#tally);
    else this.store.resize(config.cache.size);
  }

  // For a reader.

  begin(reader: Reader): void {
    const { plan } = reader;
    const { control } = plan.asked;
    const kept = plan.caches ? this.#fromStore(reader) : null;
    if (reader.began || reader.over) return;
    if (plan.caches && control.onlyIfCached) {
      reader.unanswered('not_cached', 'decide', 'proxy');
      return;
    }
    const request = plan.range === undefined ? this.#join(reader) : 'alone';
    if (request === 'joined') return;
    if (request === 'alone') {
      this.#goAlone(reader, () => {});
      return;
    }
    const shared = new SharedRequest(reader.asker, kept?.head ?? null);
    const flight = new Flight(this.#environment, this, shared, plan, reader, kept);
    this.#register(flight, request === 'lead' ? plan.flight : null);
    flight.start();
  }

  /** Gives it the stored answer. */
  serve(reader: Reader, kept: StoredAnswer, outcome: 'hit' | 'stale', detail = ''): void {
    const ageMs = kept.ageMs(this.#environment.clock.monotonic());
    const ttl = Math.floor((kept.terms.lifetimeMs - ageMs) / 1_000);
    reader.read(
      { head: kept.head, body: kept.body, length: kept.body.end, pins: kept },
      { ageSeconds: Math.floor(ageMs / 1_000), cacheStatus: `kontrol; hit; ttl=${ttl}${detail}`, outcome },
    );
  }

  // For a flight.

  /** Why a backend is asked, as RFC 9211 §2.2 names it; `kept`: the stored answer that is asked for anew. */
  reasonFor({ uri, key }: Plan, view: RequestView, kept: StoredAnswer | null): string {
    if (kept === null) return this.store?.missOf(uri, key, view) ?? 'uri-miss';
    return kept.isFresh(this.#environment.clock.monotonic()) ? 'request' : 'stale';
  }

  /** Nobody joins it any more. */
  landed(flight: Flight): void {
    const name = flight.plan.flight;
    if (name !== null && this.#joinable.get(name) === flight) this.#joinable.delete(name);
  }

  /** It stores nothing any more: it has ended, or is for one visitor. */
  ended(flight: Flight): void {
    this.landed(flight);
    this.#flights.delete(flight);
  }

  /** What it waited for is not for it: it tries again, with others like it. */
  again(reader: Reader): void {
    if (reader.over) return;
    if (++reader.attempts >= MAX_ATTEMPTS) {
      this.alone(reader);
      return;
    }
    try {
      this.begin(reader);
    } catch (error) {
      reader.asker.onException(error);
    }
  }

  /** It asks a backend for itself, when it is its turn. */
  alone(reader: Reader): void {
    const name = reader.plan.flight ?? '';
    const gate = this.#gates.get(name) ?? new Gate();
    this.#gates.set(name, gate);
    gate.enter(() => {
      if (reader.over) {
        this.#passed(name, gate);
        return;
      }
      try {
        this.#goAlone(reader, () => this.#passed(name, gate));
      } catch (error) {
        // It leaves, and with it its place in the gate.
        reader.asker.onException(error);
      }
    });
  }

  /** Requests like this one do not wait for each other for a while. */
  unshareable(plan: Plan, monotonic: number): void {
    if (plan.flight === null) return;
    const name = digest(plan.flight);
    if (this.#unshareable.size >= MAX_UNSHAREABLE / 2) {
      this.#unshareableBefore = this.#unshareable;
      this.#unshareable = new Map();
    }
    this.#unshareable.set(name, monotonic + UNSHAREABLE_MS);
  }

  /** Whether it is stored now. */
  keep(answer: StoredAnswer, plan: Plan): boolean {
    if (this.store?.put(answer) !== true) return false;
    if (plan.flight !== null && this.#anyUnshareable) this.#share(digest(plan.flight));
    this.#onKept();
    return true;
  }

  // For the table, purges and unsafe requests.

  /** Removes what `unwanted` says, and stores nothing of what is under way for the same. Answers how many went. */
  forget(unwanted: (facts: Pick<StoredAnswer, 'uri' | 'paths' | 'build'>) => boolean): number {
    for (const flight of [...this.#flights]) if (unwanted(flight.plan)) flight.forget();
    return this.store?.purge(unwanted) ?? 0;
  }

  /** A path that ends with `*` names all that begin with it. */
  purge(path: string | null): number {
    if (path === null) return this.forget(() => true);
    // As a target has it: each byte of its UTF-8 a character.
    const text = Buffer.from(path).toString('latin1');
    if (text.endsWith('*')) {
      const prefix = plain(text.slice(0, -1));
      return this.forget(({ paths }) => paths.some((one) => one.startsWith(prefix)));
    }
    const wanted = plain(text);
    return this.forget(({ paths }) => paths.includes(wanted));
  }

  /** An unsafe request to this URI succeeded (RFC 9111 §4.4). */
  invalidate(uri: string): void {
    for (const flight of [...this.#flights]) if (flight.plan.uri === uri) flight.forget();
    this.store?.invalidate(uri);
  }

  // Inside.

  /** Answers from the store if that may be; otherwise the stale answer that may be renewed, or null. */
  #fromStore(reader: Reader): StoredAnswer | null {
    const { plan, asker } = reader;
    const kept = this.store?.find(plan.uri, plan.key, asker.view) ?? null;
    if (kept === null) return null;
    const use = useOf(kept.terms, kept.ageMs(this.#environment.clock.monotonic()), plan.asked);
    switch (use) {
      case 'fresh':
        this.serve(reader, kept, 'hit');
        return null;
      case 'stale':
        this.serve(reader, kept, 'stale');
        return null;
      case 'stale-and-refresh':
        // Begun first: the exchange may have the next request when it has its answer.
        this.#refresh(reader, kept);
        this.serve(reader, kept, 'stale');
        return null;
      case 'revalidate':
        return plan.headOnly ? null : kept;
      case 'unusable':
        return null;
      default:
        return use satisfies never;
    }
  }

  #refresh(reader: Reader, kept: StoredAnswer): void {
    const { plan } = reader;
    if (kept.refreshing || plan.headOnly || plan.range !== undefined) return;
    const request = new SharedRequest(reader.asker, kept.head);
    if (!request.copy()) return;
    const flight = new Flight(this.#environment, this, request, plan, null, kept);
    const free = plan.flight !== null && !this.#joinable.has(plan.flight);
    this.#register(flight, free ? plan.flight : null);
    flight.start();
  }

  #register(flight: Flight, name: string | null): void {
    this.#flights.add(flight);
    if (name !== null) this.#joinable.set(name, flight);
  }

  /** Waits for an answer under way; `lead`: for its own, and others may wait for that; `own`: nobody may. */
  #join(reader: Reader): 'joined' | 'lead' | 'own' | 'alone' {
    const { plan } = reader;
    if (plan.flight === null) return 'own';
    if (this.#isUnshareable(plan.flight)) return plan.caches && !plan.headOnly ? 'own' : 'alone';
    const flight = this.#joinable.get(plan.flight);
    if (flight === undefined) return 'lead';
    const waiters = this.config.coalesce?.waiters ?? DEFAULT_WAITERS;
    if (flight.size > waiters || !flight.takes(reader)) return 'own';
    flight.join(reader);
    return 'joined';
  }

  #isUnshareable(flight: string): boolean {
    if (!this.#anyUnshareable) return false;
    const name = digest(flight);
    const until = this.#unshareable.get(name) ?? this.#unshareableBefore.get(name);
    if (until === undefined) return false;
    if (until > this.#environment.clock.monotonic()) return true;
    this.#share(name);
    return false;
  }

  get #anyUnshareable(): boolean {
    return this.#unshareable.size + this.#unshareableBefore.size > 0;
  }

  #share(name: string): void {
    this.#unshareable.delete(name);
    this.#unshareableBefore.delete(name);
  }

  #passed(name: string, gate: Gate): void {
    gate.passed();
    if (gate.idle && this.#gates.get(name) === gate) this.#gates.delete(name);
  }

  #goAlone(reader: Reader, onHead: () => void): void {
    new AloneRequest(this.#environment, reader, onHead).start();
  }
}

/** Names hold whole targets; what is remembered of many must be short. */
function digest(flight: string): string {
  return createHash('sha256').update(flight).digest('base64');
}

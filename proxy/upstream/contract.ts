/**
 * Between an exchange and the backends of its service: "give me a connection", and what became of it. `upstream/`
 * picks (through `balance/`), pools, queues, connects, fails over and counts; `http1/` and `tunnel/` speak on the
 * connection they get. All calls are synchronous; answers may come inside `acquire` or later.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { CompiledKey, CompiledService } from '../../shared/routing/decision.ts';
import type { ByteStream } from '../stream/byte-stream.ts';

/** What a balance policy may look at. */
export interface PickRequest {
  readonly address: string;
  /** Path and query, as received. */
  readonly target: string;
  /** It came over TLS. */
  readonly secure?: boolean;
  header(name: string): string | undefined;
}

/**
 * A backend as the data path keeps it: one object per service, key and address, for as long as the table names it.
 * Keys that name the same address share its connections, counts and health; weight, tier and state are the key's.
 */
export interface Backend {
  readonly service: string;
  readonly address: string;
  /** Changes with the table, and is less for a while where a service starts its backends slowly. */
  readonly weight: number;
  /** The part of its share that it gets, above 0 and up to 1; counted in `weight` already. */
  readonly ramp: number;
  readonly tier: number;
  readonly state: 'ready' | 'drain' | 'maintenance' | 'lost';
  readonly since: number;
  /** Its number in the changes of its service's loads (`balance/load-changes.ts`); that of its address. */
  readonly slot: number;
  /** Requests under way on it now, this process; those that connect are counted. */
  readonly active: number;
  /** The same of tunnels, which are not among `active`. */
  readonly tunnels: number;
  /** False after the active checks of the node found it dead, or passive failures took it out for a while. */
  readonly alive: boolean;
}

/** Hears how a backend answers; only where a service ejects backends for that. */
export interface AnswerSignals {
  /**
   * Status of its answer, or what stands for it where none came, and milliseconds until its first byte; below 0 where
   * they say nothing about the backend.
   */
  answered(status: number, firstByteMs: number): void;
}

/** A connection lent to one exchange. Ends with exactly one call of `release` or `discard`. */
export interface UpstreamConnection {
  readonly stream: ByteStream;
  readonly backend: Backend;
  /** True when it served a request before: an early end may just be the backend's idle time-out. */
  readonly reused: boolean;
  /** Milliseconds spent in the queue and connecting, for the log. */
  readonly queuedMs: number;
  readonly connectMs: number;
  /** Value of the Set-Cookie that keeps the visitor with this backend; null when it needs none. */
  readonly setCookie: string | null;
  readonly signals: AnswerSignals | null;
  /** The exchange is complete and clean: back to the pool. `keepAliveMs`: what the backend's Keep-Alive allows, or null. */
  release(keepAliveMs: number | null): void;
  /**
   * Not usable any more (or must not be reused): closes it, with a reset when bytes are pending. `failure` counts
   * against the backend's passive health.
   */
  discard(failure: boolean): void;
}

/**
 * Why there is no connection: one of these causes, and seconds for Retry-After. `out_of_sockets`: this machine could
 * not open one, which says nothing about the backends.
 */
export interface Unavailable {
  readonly cause: Extract<
    CauseCode,
    'no_backend' | 'all_dead' | 'out_of_sockets' | 'queue_full' | 'queue_timeout'
  >;
  readonly retryAfter: number;
}

export interface Acquirer {
  /** Exactly one of the two is called, unless the ticket was cancelled first. Sets the stream's handler at once. */
  onConnection(connection: UpstreamConnection): void;
  onUnavailable(why: Unavailable): void;
}

/** A request's place: from `acquire` until it has a connection or gave up. */
export interface Ticket {
  /** The client left: gives the place in the queue (or the connection under way) back at once. */
  cancel(): void;
}

export interface AcquireOptions {
  /** A tunnel (WebSocket or TCP): counted and balanced apart from requests, always on a new connection. */
  readonly websocket: boolean;
  /** Backends this request has failed on already; tried again only when no other is left. */
  readonly tried: readonly Backend[];
  /** A retry must not get a pooled connection. */
  readonly fresh: boolean;
}

export interface Upstreams {
  acquire(
    service: CompiledService,
    key: CompiledKey,
    request: PickRequest,
    options: AcquireOptions,
    acquirer: Acquirer,
  ): Ticket;
  /** True when the service's retry budget allows one more retry now; takes it. `retryDone` gives it back. */
  takeRetry(service: CompiledService): boolean;
  retryDone(service: CompiledService): void;
}

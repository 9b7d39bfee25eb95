/** What is noted of a request while it is under way, and the one record made of it; or of a head that was refused. */
import { CAUSES, type CauseCode } from '../../shared/causes.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Decision } from '../../shared/routing/decision.ts';
import type { CacheOutcome, EndedBy, Phase, RequestRecord } from '../observe/record.ts';
import type { UpstreamConnection } from '../upstream/contract.ts';
import type { HttpRequestView } from './request-view.ts';

type Protocol = RequestRecord['protocol'];

/** The backend's part of a request. One per upstream request, used again for each. */
export class BackendNotes {
  /** Of its answer, 0 while it has said nothing. */
  status = 0;
  retries = 0;
  backend: string | null = null;
  queueMs: number | null = null;
  connectMs: number | null = null;
  firstByteMs: number | null = null;
  /** What keeps the visitor with this backend; null when it needs nothing. */
  setCookie: string | null = null;
  readonly #clock: Clock;
  #startedAt = 0;
  #sentAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `startedAt`: when the request began, monotonic. */
  begin(startedAt: number): void {
    this.status = 0;
    this.retries = 0;
    this.backend = null;
    this.queueMs = null;
    this.connectMs = null;
    this.firstByteMs = null;
    this.setCookie = null;
    this.#startedAt = startedAt;
  }

  connected(connection: UpstreamConnection): void {
    this.backend = connection.backend.address;
    this.setCookie = connection.setCookie;
    this.queueMs = (this.queueMs ?? 0) + connection.queuedMs;
    this.connectMs = (this.connectMs ?? 0) + connection.connectMs;
    this.firstByteMs = null;
    this.#sentAt = connection.reused && this.retries === 0 ? this.#startedAt : this.#clock.monotonic();
  }

  get answered(): boolean {
    return this.firstByteMs !== null;
  }

  /** Bytes came from the backend. */
  heard(): void {
    this.firstByteMs ??= this.#clock.monotonic() - this.#sentAt;
  }
}

/** One per exchange, used again for each request. */
export class Journal {
  requestId = '';
  decision: Decision | null = null;
  /** What the visitor gets; 0 until it gets anything. */
  status = 0;
  bytesIn = 0;
  bytesOut = 0;
  cache: CacheOutcome | null = null;
  /** The backend that was asked for this request, if one was. */
  notes: BackendNotes | null = null;
  readonly #clock: Clock;
  #at = 0;
  #startedAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A request begins; `at` is the wall clock. */
  begin(requestId: string, at: number): void {
    this.requestId = requestId;
    this.decision = null;
    this.status = 0;
    this.bytesIn = 0;
    this.bytesOut = 0;
    this.cache = null;
    this.notes = null;
    this.#at = at;
    this.#startedAt = this.#clock.monotonic();
  }

  /** Monotonic. */
  get startedAt(): number {
    return this.#startedAt;
  }

  record(
    view: HttpRequestView,
    protocol: Protocol,
    cause: CauseCode | null,
    phase: Phase,
    endedBy: EndedBy,
  ): RequestRecord {
    const { decision, notes } = this;
    const labels = decision === null ? null : decision.labels;
    return {
      id: this.requestId,
      at: this.#at,
      protocol,
      secure: view.secure,
      method: view.method,
      host: view.host,
      target: view.target,
      address: view.address,
      referer: view.header('referer') ?? null,
      userAgent: view.header('user-agent') ?? null,
      domain: labels === null ? null : labels.domain,
      route: labels === null ? null : labels.route,
      service: labels === null ? null : labels.service,
      key: decision !== null && decision.type === 'forward' ? decision.key.key : null,
      backend: notes === null ? null : notes.backend,
      rule: labels === null ? null : labels.rule,
      status: this.status === 0 && cause !== null ? CAUSES[cause].status : this.status,
      backendStatus: notes === null ? 0 : notes.status,
      cause,
      phase,
      endedBy,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      retries: notes === null ? 0 : notes.retries,
      cache: this.cache,
      queueMs: notes === null ? null : notes.queueMs,
      connectMs: notes === null ? null : notes.connectMs,
      firstByteMs: notes === null ? null : notes.firstByteMs,
      totalMs: this.#clock.monotonic() - this.#startedAt,
    };
  }
}

/** A head that was refused or never completed: nothing was decided. */
export interface RefusedHead {
  readonly id: string;
  readonly at: number;
  readonly protocol: Protocol;
  readonly secure: boolean;
  /** Empty when the request line could not be read. */
  readonly method: string;
  readonly target: string;
  readonly address: string;
  readonly status: number;
  readonly cause: CauseCode;
  readonly endedBy: EndedBy;
  readonly bytesOut: number;
  readonly totalMs: number;
}

export function recordOfRefused(facts: RefusedHead): RequestRecord {
  return {
    ...facts,
    host: '',
    referer: null,
    userAgent: null,
    domain: null,
    route: null,
    service: null,
    key: null,
    backend: null,
    rule: null,
    backendStatus: 0,
    phase: 'head',
    bytesIn: 0,
    retries: 0,
    cache: null,
    queueMs: null,
    connectMs: null,
    firstByteMs: null,
  };
}

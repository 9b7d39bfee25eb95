/**
 * The contract between whoever has a request (the data path, Explain, `check`) and what decides about it.
 * `decide(table, request)` is pure: no I/O, no clock of its own, nothing remembered. Everything about a request's
 * fate before a backend is picked is in its answer.
 */
import type { CauseCode } from '../causes.ts';
import type { ResolvedService } from '../model/service.ts';
import type { TlsOfRequest } from './client-authority.ts';
import type { RateCount } from './rate.ts';

/** What a decision may depend on. Implementations make the costly parts only when asked. */
export interface RequestView {
  readonly secure: boolean;
  /** Canonical host without port: lower case, IDNA ASCII, no trailing dot, `[v6]` in brackets. */
  readonly host: string;
  /** Port of the listener that visitors see. */
  readonly port: number;
  readonly method: string;
  /** The path as it stands in the target, before `?`; `*` for `OPTIONS *`. */
  readonly rawPath: string;
  /** Query with its leading `?`, or empty. */
  readonly query: string;
  /** Canonical text of the one client address; never a mapped form. */
  readonly address: string;
  readonly websocket: boolean;
  /** The TLS connection that the request came on; null (or left out) when there was none. */
  readonly tls?: TlsOfRequest | null;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Value of a field by its lower-case name; repeats joined by `, ` (Cookie by `; `); undefined when absent. */
  header(name: string): string | undefined;
  /**
   * The same of a field that stands once and goes on to backends; undefined of any other, of which each backend makes
   * something else. Where this is left out, `header` says it.
   */
  single?(name: string): string | undefined;
}

/**
 * The request's path as routing and firewall see it (engine.md, Target); null when the raw path is in that form
 * already. `ambiguous`: servers read it in more than one way; whether that matters depends on the routes.
 */
export type NormalisedPath = { readonly path: string; readonly ambiguous: boolean } | null;

/** One backend address under a key, from configuration or from a worker. */
export interface BackendSpec {
  /** `host:port`, `[v6]:port` or `unix:/path`; identifies the backend within its service. */
  readonly address: string;
  readonly weight: number;
  readonly tier: number;
  readonly state: 'ready' | 'drain' | 'maintenance' | 'lost';
  /** Order of registration, for broker mode: the greatest wins. */
  readonly since: number;
  /** The worker it came with; null for a configured one. */
  readonly worker: string | null;
}

/** A key as the data path holds it. A changed key is a new object, so identity says "unchanged". */
export interface CompiledKey {
  readonly key: number;
  readonly enabled: boolean;
  readonly backends: readonly BackendSpec[];
}

/** A service as the data path holds it. A changed service is a new object. */
export interface CompiledService {
  readonly name: string;
  readonly config: ResolvedService;
  readonly keys: ReadonlyMap<number, CompiledKey>;
  /** The key that `latest` stands for, or null when there is none. */
  readonly latest: number | null;
  /** The greatest key ever seen, for 410; 0 when there is none. */
  readonly greatest: number;
}

/** Changes to header fields; names are lower case, values are valid field values. */
export interface FieldChanges {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: ReadonlySet<string>;
}

/** Who and what a decision was about, for the log, metrics and pages; null where it did not get that far. */
export interface DecisionLabels {
  /** Name of the domain object that matched. */
  readonly domain: string | null;
  /** Index of the route in its domain. */
  readonly route: number | null;
  readonly service: string | null;
  /** Brand whose templates are used; null for the default pages. */
  readonly pages: string | null;
  /** Rule that ended the request, if one did. */
  readonly rule: string | null;
}

interface WithLabels {
  readonly labels: DecisionLabels;
  /** Fields for the answer to the visitor, whoever makes it (HSTS, `response` of the route); null for none. */
  readonly response: FieldChanges | null;
  /**
   * What has to be counted, and to leave a place, before this comes true; left out when no rate rule was asked. A
   * decision with counts is its request's own, and whoever counts may give it another `response`.
   */
  readonly counts?: readonly RateCount[];
}

export interface Forward extends WithLabels {
  readonly type: 'forward';
  readonly service: CompiledService;
  readonly key: CompiledKey;
  /** The new path (without query) when the route rewrites it; null: the target goes on byte for byte. */
  readonly path: string | null;
  readonly request: FieldChanges | null;
  /** The backend is told which certificate the visitor has shown: the domain asks for one. */
  readonly identified?: true;
  /** Limits of the domain where they differ from the settings; null otherwise. */
  readonly limits: {
    readonly body?: number;
    readonly bodyIdleMs?: number;
    readonly bodyRate?: number;
  } | null;
}

export interface PageDecision extends WithLabels {
  readonly type: 'page';
  readonly cause: CauseCode;
  /** Seconds for Retry-After; null for none. */
  readonly retryAfter: number | null;
}

export interface Redirect extends WithLabels {
  readonly type: 'redirect';
  readonly status: 301 | 302 | 303 | 307 | 308;
  readonly location: string;
}

export interface Answer extends WithLabels {
  readonly type: 'answer';
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export type Decision = Forward | PageDecision | Redirect | Answer;

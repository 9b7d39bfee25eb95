/**
 * What RFC 9111 says about an answer and a request, as pure functions: may it be shared, may it be stored, how long is
 * it fresh, may it be given to this request now. All times are in milliseconds.
 */
import type { ResolvedCache } from '../../shared/model/service.ts';
import { type CacheControl, parseCacheControl } from './cache-control.ts';

/** The final head of a backend's answer. `field`: value by lower-case name, repeats joined by `, `. */
export interface AnswerHead {
  readonly status: number;
  field(name: string): string | undefined;
}

/** What of a request matters to caching. */
export interface AskedFor {
  readonly control: CacheControl;
  readonly authorization: boolean;
  readonly cookie: boolean;
}

/** When the request for an answer left and the answer's head came; wall clock. */
export interface Times {
  readonly requestAt: number;
  readonly responseAt: number;
}

/** What a stored answer allows. */
export interface Terms {
  /** Age when its head came (RFC 9111 §4.2.3). */
  readonly initialAgeMs: number;
  /** Fresh while its age is less. */
  readonly lifetimeMs: number;
  /** The lifetime is the backend's word and not the `ttl` of the service. */
  readonly explicit: boolean;
  /** May be given to requests with Authorization, and kept when it was the answer to one (RFC 9111 §3.5). */
  readonly authorized: boolean;
  /** May never be used without asking the backend (`no-cache`). */
  readonly alwaysRevalidate: boolean;
  /** Past its lifetime it must not be used by itself (`must-revalidate`, `proxy-revalidate`, `s-maxage`). */
  readonly strict: boolean;
  /** For so long past its lifetime it may be used while it is asked for anew, or when that fails (RFC 5861). */
  readonly whileRevalidateMs: number;
  readonly ifErrorMs: number;
}

/** Statuses that `ttl` applies to; anything else needs a lifetime from the backend. */
const MICRO_CACHED: ReadonlySet<number> = new Set([200, 203, 204, 300, 301, 308, 404, 410]);
/** Never stored: they are parts or comments of another answer, or ask this very visitor for something. */
const NEVER_STORED: ReadonlySet<number> = new Set([206, 304, 401, 407, 416]);
const MAX_VARY = 20;
/**
 * Fields that say who the visitor is and are written by us: what differs in them is not told apart by what visitors
 * sent. For `Client-Cert` that is RFC 9440 §2.4; host, scheme and port are part of what an answer is found by.
 */
const PERSONAL: ReadonlySet<string> = new Set([
  'x-forwarded-for',
  'x-real-ip',
  'x-request-id',
  'client-cert',
  'client-cert-chain',
  'x-client-cert-subject',
  'x-client-cert-fingerprint',
]);
/** Content types that are streams without an end. */
const STREAM = /^(?:text\/event-stream|multipart\/x-mixed-replace|application\/(?:x-ndjson|grpc))/i;

/** Whether an answer may be given to others than the visitor whose request it answers. */
export function isShareable(head: AnswerHead): boolean {
  if (head.field('set-cookie') !== undefined || !isBoundedVary(head.field('vary'))) return false;
  if (head.status === 401 || head.status === 407) return false;
  const control = parseCacheControl(head.field('cache-control'));
  return !control.isPrivate && !control.noStore;
}

/** Each of the fields is looked up for each request to the same target. */
function isBoundedVary(vary: string | undefined): boolean {
  if (vary === undefined) return true;
  const names = vary.split(',', MAX_VARY + 1);
  if (vary.includes('*') || names.length > MAX_VARY) return false;
  return !names.some((name) => PERSONAL.has(name.trim().toLowerCase()));
}

/** A stream is never held back or kept: whoever asks for one gets one. */
export function isStream(head: AnswerHead): boolean {
  return STREAM.test(head.field('content-type') ?? '') || head.field('x-accel-buffering') === 'no';
}

/** The terms under which a (shareable) answer to a GET is stored; null when it is not. */
export function termsOf(
  head: AnswerHead,
  asked: AskedFor,
  times: Times,
  config: ResolvedCache,
): Terms | null {
  if (asked.control.noStore || NEVER_STORED.has(head.status) || !isShareable(head)) return null;
  const control = parseCacheControl(head.field('cache-control'));
  const authorized = control.isPublic || control.mustRevalidate || control.sMaxAge !== null;
  if (asked.authorization && !authorized) return null;
  const explicitMs = explicitLifetime(head, control, times.responseAt);
  const explicit = explicitMs !== null || control.noCache;
  // What was made for a request with cookies is for one visitor, unless the backend says otherwise.
  if (!explicit && (asked.cookie || !MICRO_CACHED.has(head.status) || config.ttlMs === 0)) return null;
  const initialAgeMs = initialAge(head, times);
  const noCache = control.noCache || (!control.present && /no-cache/i.test(head.field('pragma') ?? ''));
  const must = control.mustRevalidate || control.proxyRevalidate || noCache;
  const strict = must || control.sMaxAge !== null;
  const terms = {
    initialAgeMs,
    lifetimeMs: explicit ? (explicitMs ?? 0) : initialAgeMs + config.ttlMs,
    explicit,
    authorized,
    alwaysRevalidate: noCache,
    strict,
    whileRevalidateMs: stale(control.staleWhileRevalidate, config.staleWhileRevalidateMs, must, strict),
    ifErrorMs: stale(control.staleIfError, config.staleIfErrorMs, must, strict),
  };
  const useful =
    (!noCache && terms.lifetimeMs > initialAgeMs) ||
    terms.whileRevalidateMs > 0 ||
    terms.ifErrorMs > 0 ||
    hasValidator(head);
  return useful ? terms : null;
}

export function hasValidator(head: AnswerHead): boolean {
  return head.field('etag') !== undefined || head.field('last-modified') !== undefined;
}

/** Past its lifetime: the backend's own word wins over the service's, and neither over `must-revalidate`. */
function stale(said: number | null, configuredMs: number, must: boolean, strict: boolean): number {
  if (must) return 0;
  if (said !== null) return said * 1_000;
  return strict ? 0 : configuredMs;
}

/** RFC 9111 §4.2.1; null when the backend gave none. */
function explicitLifetime(head: AnswerHead, control: CacheControl, responseAt: number): number | null {
  const seconds = control.sMaxAge ?? control.maxAge;
  if (seconds !== null) return seconds * 1_000;
  const expires = head.field('expires');
  if (expires === undefined) return null;
  const at = parseHttpDate(expires);
  // A date that is none, such as 0, is in the past (RFC 9111 §5.3).
  return at === null ? 0 : Math.max(0, at - (parseHttpDate(head.field('date')) ?? responseAt));
}

/** RFC 9111 §4.2.3. */
function initialAge(head: AnswerHead, { requestAt, responseAt }: Times): number {
  const date = parseHttpDate(head.field('date'));
  const apparent = date === null ? 0 : Math.max(0, Math.floor((responseAt - date) / 1_000) * 1_000);
  const said = /^\d+/.exec(head.field('age') ?? '');
  const corrected =
    (said === null ? 0 : Math.min(Number(said[0]), 2 ** 31) * 1_000) + (responseAt - requestAt);
  return Math.max(apparent, corrected);
}

/** Answers of one second have one date. */
let lastDate = '';
let lastDateAt: number | null = null;

/** One of the three forms of RFC 9110 §5.6.7; null for anything else. */
export function parseHttpDate(value: string | undefined): number | null {
  if (value === undefined) return null;
  if (value !== lastDate) {
    lastDateAt = readHttpDate(value);
    lastDate = value;
  }
  return lastDateAt;
}

function readHttpDate(value: string): number | null {
  if (!/^[A-Z][a-z]{2,8},? [\w :-]+$/.test(value)) return null;
  // asctime has no zone; it means UTC all the same.
  const at = Date.parse(/GMT$/.test(value) ? value : `${value} GMT`);
  return Number.isNaN(at) ? null : at;
}

/** How a stored answer may serve a request now. */
export type Use = 'fresh' | 'stale' | 'stale-and-refresh' | 'revalidate' | 'unusable';

/** `ageMs`: its age now. RFC 9111 §4.2.4 and §5.2.1, RFC 5861 §3. */
export function useOf(terms: Terms, ageMs: number, asked: AskedFor): Use {
  const { control } = asked;
  if (asked.authorization && !terms.authorized) return 'unusable';
  if (asked.cookie && !terms.explicit) return 'unusable';
  if (terms.alwaysRevalidate || control.noCache) return 'revalidate';
  if (control.maxAge !== null && ageMs > control.maxAge * 1_000) {
    const allowed = control.maxStale !== null && ageMs <= (control.maxAge + control.maxStale) * 1_000;
    if (!allowed) return 'revalidate';
  }
  const pastMs = ageMs - terms.lifetimeMs;
  if (pastMs + (control.minFresh ?? 0) * 1_000 < 0) return 'fresh';
  if (control.minFresh !== null) return 'revalidate';
  if (pastMs < terms.whileRevalidateMs) return 'stale-and-refresh';
  if (control.maxStale !== null && !terms.strict && pastMs <= control.maxStale * 1_000) return 'stale';
  return 'revalidate';
}

/** Whether it may stand in for an answer that did not come (RFC 5861 §4). */
export function servesError(terms: Terms, ageMs: number): boolean {
  return !terms.alwaysRevalidate && ageMs - terms.lifetimeMs < terms.ifErrorMs;
}

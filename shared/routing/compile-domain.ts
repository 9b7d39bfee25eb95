/**
 * A domain as `decide` reads it: its paths indexed, its patterns and field changes made ready, so that nothing of
 * the document is looked at while a request waits.
 */
import type { Domain, Route } from '../model/domain.ts';
import { compilePattern, type Pattern } from '../patterns.ts';
import { type ClientAuthority, compileClientAuthority } from './client-authority.ts';
import type {
  Answer,
  CompiledService,
  Decision,
  DecisionLabels,
  FieldChanges,
  RequestView,
} from './decision.ts';
import type { RuleReference } from './firewall.ts';
import { compare } from './host-index.ts';
import {
  type CompiledMaintenance,
  compileMaintenance,
  inMaintenance,
  withoutSchedule,
} from './maintenance.ts';
import { normalisePath } from './path.ts';
import { PathIndex, type PathMatch } from './path-index.ts';
import type { ServicePlace } from './service-table.ts';

/** What of a domain depends on the rest of the table; stale when the table's epoch is another. */
export interface DomainView {
  readonly epoch: number;
  readonly labels: DecisionLabels;
  readonly rules: readonly RuleReference[];
}

/** What of a route depends on the rest of the table; also stale when its service is another object. */
export interface RouteView {
  readonly epoch: number;
  /** Where `service` came from; null when there was none. */
  readonly place: ServicePlace | null;
  readonly service: CompiledService | undefined;
  readonly rules: readonly RuleReference[];
  /** The decision over http and over https, but for what the request's path changes in it. */
  readonly plain: Decision;
  readonly secure: Decision;
  readonly labels: DecisionLabels;
}

/**
 * What every request looks at stands first. A table has thousands of these, and requests come for any of them: what
 * they cost is the memory they look at that is in no cache, so what is used together is kept together.
 */
export interface CompiledDomain {
  /** Why it is broken; null when it is not. */
  readonly broken: string | null;
  readonly firewall: readonly string[];
  readonly https: 'allow' | 'redirect' | 'only';
  /** Whose certificates its visitors have to show; null for none. */
  readonly clientAuthority: ClientAuthority | null;
  readonly off: boolean;
  readonly maintenance: CompiledMaintenance | null;
  readonly paths: PathIndex<CompiledRoute, RequestView>;
  readonly name: string;
  /** What depends on the rest of the table; made by `view.ts` when it is first needed. */
  view: DomainView | null;
  /** Fields for answers over https; null for none. */
  readonly responseSecure: FieldChanges | null;
  readonly pages: string | null;
  /** As written; what of them counts depends on the settings. */
  readonly limits: Domain['limits'] | null;
  readonly routes: readonly CompiledRoute[];
  /** Null when it is broken: it claims its hosts and answers `quarantined`. */
  readonly doc: Domain | null;
}

export type RouteTarget =
  | { readonly type: 'service'; readonly service: string; readonly key: 'latest' | number }
  | {
      readonly type: 'redirect';
      readonly to: string;
      readonly status: 301 | 302 | 303 | 307 | 308;
      readonly keepPath: boolean;
    }
  | { readonly type: 'answer'; readonly answer: Pick<Answer, 'status' | 'contentType' | 'body'> }
  | { readonly type: 'maintenance' };

/** How a route changes the path: strip, then rewrite, then add. */
export interface PathChange {
  /** Prefixes (and exact paths) without trailing slash, longest first; empty when nothing is stripped. */
  readonly strip: readonly string[];
  readonly rewrite: { readonly pattern: Pattern; readonly to: string } | null;
  /** Without a trailing slash; empty for none. */
  readonly add: string;
}

const NO_HEADERS: CompiledRoute['headers'] = [];
/** One for all, so that it is looked at where it is in a cache. */
const NO_NAMES: readonly string[] = [];

/** What every request looks at stands first, as in `CompiledDomain`. */
export class CompiledRoute {
  /** What depends on the rest of the table; made by `view.ts` when it is first needed. */
  view: RouteView | null = null;
  /** Whether it refuses some requests whose path it matches. */
  readonly #conditional: boolean;
  readonly maintenance: CompiledMaintenance | null;
  /** Whether its decision depends on the path of the request. */
  readonly followsPath: boolean;
  /** Null when the path goes on byte for byte. */
  readonly change: PathChange | null;
  readonly target: RouteTarget;
  readonly methods: ReadonlySet<string> | null;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly firewall: readonly string[];
  readonly request: FieldChanges | null;
  /** Fields for answers over http, and over https (with HSTS). */
  readonly response: FieldChanges | null;
  readonly responseSecure: FieldChanges | null;
  /** Position in the document. */
  readonly index: number;
  readonly domain: string;

  /** `responseSecure` is that of the domain; a route that says nothing about fields has the very same one. */
  constructor(
    domain: string,
    index: number,
    route: Route,
    hsts: HstsField | null,
    responseSecure: FieldChanges | null,
  ) {
    this.domain = domain;
    this.index = index;
    this.methods = route.methods === undefined ? null : new Set(route.methods);
    this.headers = route.headers === undefined ? NO_HEADERS : Object.entries(route.headers);
    this.firewall = namesOf(route.firewall);
    this.maintenance = compileMaintenance(route.maintenance);
    this.target = targetOf(route);
    this.change = pathChangeOf(route);
    this.request = compileFields(route.request, null);
    this.response = compileFields(route.response, null);
    this.responseSecure = route.response === undefined ? responseSecure : compileFields(route.response, hsts);
    this.followsPath = this.change !== null || (this.target.type === 'redirect' && this.target.keepPath);
    this.#conditional =
      this.methods !== null ||
      this.headers.length > 0 ||
      (this.target.type === 'maintenance' && this.maintenance !== null);
  }

  /**
   * The conditions beside the path: method and header fields; and a route that only says "maintenance" is there
   * while that lasts (and not for those who may pass), otherwise the next route has its turn.
   */
  accepts(request: RequestView): boolean {
    return !this.#conditional || this.#meets(request);
  }

  #meets(request: RequestView): boolean {
    if (this.methods !== null && !this.methods.has(request.method)) return false;
    if (!this.headers.every(([name, value]) => request.header(name) === value)) return false;
    if (this.target.type !== 'maintenance' || this.maintenance === null) return true;
    return inMaintenance(this.maintenance, request);
  }
}

function namesOf(names: readonly string[] | undefined): readonly string[] {
  return names === undefined || names.length === 0 ? NO_NAMES : names;
}

/** Compiles a domain. Throws an Error that says what cannot be used. */
export function compileDomain(doc: Domain): CompiledDomain {
  const hsts = hstsField(doc);
  const responseSecure = compileFields(undefined, hsts);
  const routes = (doc.routes ?? []).map(
    (route, index) => new CompiledRoute(doc.name, index, route, hsts, responseSecure),
  );
  const maintenance = compileMaintenance(doc.maintenance);
  return {
    broken: null,
    firewall: namesOf(doc.firewall),
    https: doc.https ?? 'allow',
    clientAuthority: authorityOf(doc),
    off: doc.mode === 'off',
    maintenance: doc.mode === 'maintenance' ? withoutSchedule(maintenance) : maintenance,
    paths: PathIndex.of(
      routes.flatMap((candidate, index) =>
        pathsOf(doc.routes?.[index]).map((path) => ({
          match: compilePath(path),
          priority: doc.routes?.[index]?.priority ?? 0,
          candidate,
        })),
      ),
    ),
    name: doc.name,
    view: null,
    responseSecure,
    pages: doc.pages ?? null,
    limits: doc.limits ?? null,
    routes,
    doc,
  };
}

/** A domain that exists but could not be loaded. */
export function brokenDomain(name: string, reason: string): CompiledDomain {
  return {
    broken: reason,
    firewall: NO_NAMES,
    https: 'allow',
    clientAuthority: null,
    off: false,
    maintenance: null,
    paths: PathIndex.of<CompiledRoute, RequestView>([]),
    name,
    view: null,
    responseSecure: null,
    pages: null,
    limits: null,
    routes: [],
    doc: null,
  };
}

/** The paths of a route as written; "/" when it has none. */
export function pathsOf(route: Route | undefined): readonly string[] {
  return route?.path ?? ['/'];
}

/** A path of a route as it is matched. Exact paths and prefixes are normalised like the paths of requests. */
export function compilePath(text: string): PathMatch {
  if (text.startsWith('~')) return { type: 'regex', pattern: compilePattern(text.slice(1)) };
  const exact = text.startsWith('=');
  const path = exact ? text.slice(1) : text;
  return { type: exact ? 'exact' : 'prefix', path: normaliseWritten(path) };
}

/**
 * People write paths in Unicode; requests carry UTF-8 in escapes. Nearly all are in normal form, and stay the strings
 * they are: many domains have the same ones.
 */
function normaliseWritten(path: string): string {
  if (normalisePath(path) === null) return path;
  const bytes = Buffer.from(path, 'utf8').toString('latin1');
  return normalisePath(bytes)?.path ?? bytes;
}

function targetOf(route: Route): RouteTarget {
  if (route.service !== undefined)
    return { type: 'service', service: route.service, key: route.key ?? 'latest' };
  if (route.redirect !== undefined) {
    const { to, status, keepPath } = route.redirect;
    return { type: 'redirect', to, status: status ?? 308, keepPath: keepPath ?? false };
  }
  if (route.answer !== undefined) {
    const { status, type, body } = route.answer;
    return {
      type: 'answer',
      answer: { status: status ?? 200, contentType: type ?? 'text/plain; charset=utf-8', body: body ?? '' },
    };
  }
  return { type: 'maintenance' };
}

function pathChangeOf(route: Route): PathChange | null {
  const strip = route.stripPrefix
    ? pathsOf(route)
        .map(compilePath)
        .flatMap((match) => (match.type === 'regex' ? [] : [match.path.replace(/\/$/, '')]))
        .filter((path) => path !== '')
        .sort((a, b) => b.length - a.length || compare(a, b))
    : [];
  const rewrite =
    route.rewrite === undefined
      ? null
      : { pattern: compilePattern(route.rewrite.match.slice(1)), to: route.rewrite.to };
  const add = (route.addPrefix ?? '').replace(/\/+$/, '');
  return strip.length === 0 && rewrite === null && add === '' ? null : { strip, rewrite, add };
}

function authorityOf({ clientCertificates }: Domain): ClientAuthority | null {
  if (!clientCertificates) return null;
  try {
    return compileClientAuthority(clientCertificates.ca);
  } catch (error) {
    throw new Error(`clientCertificates.ca: ${(error as Error).message}`);
  }
}

type HstsField = readonly [name: string, value: string];

function hstsField(doc: Domain): HstsField | null {
  if (!doc.hsts) return null;
  const { maxAge, includeSubDomains, preload } = doc.hsts;
  const value = [`max-age=${Math.floor(maxAge / 1_000)}`];
  if (includeSubDomains) value.push('includeSubDomains');
  if (preload) value.push('preload');
  return ['strict-transport-security', value.join('; ')];
}

const NO_FIELDS: FieldChanges['set'] = [];
const NO_REMOVALS: FieldChanges['remove'] = new Set();

function compileFields(changes: Route['response'], hsts: HstsField | null): FieldChanges | null {
  const set = new Map(Object.entries(changes?.set ?? {}));
  const remove = new Set(changes?.remove ?? []);
  // What a route says about the field goes before the domain's HSTS.
  if (hsts !== null && !set.has(hsts[0]) && !remove.has(hsts[0])) set.set(hsts[0], hsts[1]);
  const add = Object.entries(changes?.add ?? {});
  if (set.size === 0 && add.length === 0 && remove.size === 0) return null;
  return {
    set: set.size === 0 ? NO_FIELDS : [...set],
    add: add.length === 0 ? NO_FIELDS : add,
    remove: remove.size === 0 ? NO_REMOVALS : remove,
  };
}

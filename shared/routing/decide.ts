/**
 * Decides what becomes of a request, and nothing else does: host, rules, https, mode, route, its rules, its target
 * (design.md, A request). Pure and total: it neither throws nor remembers, and only looks at what it was given.
 */

import type { CauseCode } from '../causes.ts';
import { MAX_SUBJECT_LENGTH } from '../patterns.ts';
import { COOKIE_KEY_SECRET, cookieValue, signCookie, verifyCookie } from '../signed-cookie.ts';
import type { ClientAuthority } from './client-authority.ts';
import type { CompiledDomain, CompiledRoute, DomainView, RouteView } from './compile-domain.ts';
import type { Decision, DecisionLabels, FieldChanges, RequestView } from './decision.ts';
import { explainHosts, explainRoutes } from './explain.ts';
import { evaluate, type FirewallSubject, type Refusal, type RuleReference } from './firewall.ts';
import { inMaintenance, retryAfter } from './maintenance.ts';
import { normalisePath, otherReadings } from './path.ts';
import { type RateCount, rateKey } from './rate.ts';
import type { Recorder } from './recorder.ts';
import { httpsLocation, keepingLocation, rewritePath } from './rewrite.ts';
import type { Table } from './table.ts';
import { domainView, page, routeView } from './view.ts';

/** The cookie by which a visitor has confirmed the interstitial, and how long that holds, in seconds. */
export const SECURE_COOKIE = 'kontrol_secure';
export const SECURE_COOKIE_SECONDS = 3_600;

/** Rate rules that the request under way was asked by. Deciding is synchronous, so there is never more than one. */
let counts: RateCount[] | null = null;

/** Decides about `request`. A `recorder` hears of every step and candidate; without one nothing of that costs. */
export function decide(table: Table, request: RequestView, recorder: Recorder | null = null): Decision {
  counts = null;
  const decision = decideUncounted(table, request, recorder);
  const taken = takeCounts();
  return taken === null ? decision : { ...decision, counts: taken };
}

function takeCounts(): readonly RateCount[] | null {
  const taken = counts;
  counts = null;
  return taken;
}

function decideUncounted(table: Table, request: RequestView, recorder: Recorder | null): Decision {
  recorder?.stage('host');
  const domain = table.domainOf(request.host);
  if (recorder !== null) explainHosts(table, request.host, domain, recorder);
  if (domain === undefined) return page(table.empty ? 'no_routes' : 'host_unknown', noLabels(table), null);
  const view = domainView(table, domain);
  const response = request.secure ? domain.responseSecure : null;
  if (domain.broken !== null) return page('quarantined', view.labels, response);
  // Answers to ACME challenges belong here: before a rule or a redirect can keep the issuer out.
  const refusal = refusedByDomain(table, request, domain.name, view, recorder);
  if (refusal !== null) return refused(table, request, refusal, view.labels, response);

  recorder?.stage('https');
  if (!request.secure && domain.https !== 'allow') return needsHttps(table, request, domain, view, recorder);

  if (domain.clientAuthority !== null) {
    const cause = clientProblem(table, request, domain, domain.clientAuthority);
    if (cause !== null) {
      recorder?.note('the domain is for visitors with a certificate of its authority only');
      return page(cause, view.labels, response);
    }
  }

  recorder?.stage('mode');
  const mode = byMode(table, request, domain, view, response);
  if (mode !== null) return mode;

  recorder?.stage('route');
  return decideRoute(table, request, domain, view, response, recorder);
}

function noLabels(table: Table): DecisionLabels {
  return { domain: null, route: null, service: null, pages: table.defaultBrand, rule: null };
}

function refusedByDomain(
  table: Table,
  request: RequestView,
  domain: string,
  view: DomainView,
  recorder: Recorder | null,
): Refusal | null {
  recorder?.stage('global-rules');
  const global = table.globalRules;
  const byGlobal = global.length === 0 ? null : askRules(table, request, domain, global, recorder);
  if (byGlobal !== null) return byGlobal;
  recorder?.stage('domain-rules');
  return view.rules.length === 0 ? null : askRules(table, request, domain, view.rules, recorder);
}

function askRules(
  table: Table,
  request: RequestView,
  domain: string,
  rules: readonly RuleReference[],
  recorder: Recorder | null,
): Refusal | null {
  const subject: FirewallSubject = {
    address: request.address,
    now: request.now,
    confirmed: () => confirmed(table, request),
    count(rule, rate, dryRun) {
      counts ??= [];
      counts.push({ rule, rate, key: rateKey(rate, request, domain), dryRun });
    },
  };
  return evaluate(rules, subject, recorder, recorder === null ? table.onDryRun : null);
}

/** See `FirewallSubject.confirmed`. */
function confirmed(table: Table, request: RequestView): boolean | null {
  if (request.method !== 'GET' || request.websocket || !acceptsHtml(request.header('accept'))) return true;
  const key = table.secret(COOKIE_KEY_SECRET);
  if (key === undefined) return null;
  const value = cookieValue(request.header('cookie'), SECURE_COOKIE);
  return (
    value !== null &&
    verifyCookie(key, { name: SECURE_COOKIE, host: request.host }, value, request.now) !== null
  );
}

/** Whether a person looks at the answer: `text/html` by name, not by a wildcard, and not with a quality of 0. */
function acceptsHtml(accept: string | undefined): boolean {
  return accept !== undefined && /\btext\/html\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(accept);
}

function refused(
  table: Table,
  request: RequestView,
  refusal: Refusal,
  labels: DecisionLabels,
  response: FieldChanges | null,
): Decision {
  const withRule: DecisionLabels = { ...labels, rule: refusal.rule };
  if (refusal.cause !== 'securepage') return page(refusal.cause, withRule, response);
  const key = table.secret(COOKIE_KEY_SECRET);
  if (key === undefined) return page('rule_unloadable', withRule, response);
  return page('securepage', withRule, withCookie(response, secureCookie(key, request)));
}

/** Set with the interstitial itself: its link leads to the same address, which passes then. */
function secureCookie(key: string, request: RequestView): string {
  const expires = request.now + SECURE_COOKIE_SECONDS * 1_000;
  const value = signCookie(key, { name: SECURE_COOKIE, host: request.host }, '', expires);
  const secure = request.secure ? '; Secure' : '';
  return `${SECURE_COOKIE}=${value}; Path=/; Max-Age=${SECURE_COOKIE_SECONDS}; HttpOnly; SameSite=Lax${secure}`;
}

function withCookie(response: FieldChanges | null, cookie: string): FieldChanges {
  return {
    set: response?.set ?? [],
    add: [...(response?.add ?? []), ['set-cookie', cookie]],
    remove: response?.remove ?? new Set(),
  };
}

function needsHttps(
  table: Table,
  request: RequestView,
  domain: CompiledDomain,
  view: DomainView,
  recorder: Recorder | null,
): Decision {
  if (domain.https === 'only') {
    recorder?.note('the domain is served over https only');
    return page('https_only', view.labels, null);
  }
  recorder?.note('the domain sends plain http to https');
  return {
    type: 'redirect',
    labels: view.labels,
    response: null,
    status: 308,
    location: httpsLocation(request.host, table.publicHttpsPort, request.rawPath, request.query),
  };
}

/**
 * Why a visitor may not enter a domain with client certificates; null when it may. The certificate counts only on a
 * connection that was made for this domain: on another, nobody asked for it, or another authority was asked (RFC
 * 9110 §15.5.20: the client may come again on a connection of its own).
 */
function clientProblem(
  table: Table,
  request: RequestView,
  domain: CompiledDomain,
  authority: ClientAuthority,
): CauseCode | null {
  const tls = request.tls ?? null;
  if (tls === null) return 'client_certificate_missing';
  const { client } = tls;
  if (client === null || client.authority !== authority.id) return 'misdirected';
  if (table.domainOf(client.serverName) !== domain) return 'misdirected';
  return client.verified ? null : 'client_certificate_missing';
}

/** Maintenance of everything, then the domain's switch, then the domain's maintenance. */
function byMode(
  table: Table,
  request: RequestView,
  domain: CompiledDomain,
  view: DomainView,
  response: FieldChanges | null,
): Decision | null {
  const everywhere = table.maintenance;
  if (everywhere !== null && inMaintenance(everywhere, request)) {
    return page('maintenance', view.labels, response, retryAfter(everywhere, request.now));
  }
  if (domain.off) return page('domain_off', view.labels, response);
  const here = domain.maintenance;
  if (here !== null && inMaintenance(here, request)) {
    return page('maintenance', view.labels, response, retryAfter(here, request.now));
  }
  return null;
}

function decideRoute(
  table: Table,
  request: RequestView,
  domain: CompiledDomain,
  view: DomainView,
  response: FieldChanges | null,
  recorder: Recorder | null,
): Decision {
  // An absolute target may have no path (RFC 9112 §3.2.2): that is the root.
  const rawPath = request.rawPath === '' ? '/' : request.rawPath;
  // `OPTIONS *` is about the server; it goes where "/" goes.
  const asterisk = rawPath === '*';
  const normal = asterisk ? null : normalisePath(rawPath);
  const path = asterisk ? '/' : normal === null ? rawPath : normal.path;
  if (domain.paths.hasRegexes && path.length > MAX_SUBJECT_LENGTH) {
    return page('target_too_long', view.labels, response);
  }
  const route = domain.paths.find(path, request);
  if (recorder !== null) explainRoutes(domain, path, request, route, recorder);
  if (normal !== null && isAmbiguous(domain, request, normal, route)) {
    recorder?.note('another reading of the raw path leads to another route');
    return page('path_ambiguous', view.labels, response);
  }
  if (route !== null && path.includes(';') && hasOtherRulesWithoutParameters(domain, request, path, route)) {
    recorder?.note('without the parameters of its segments the path leads to a route with other rules');
    return page('path_ambiguous', view.labels, response);
  }
  if (route === null) {
    return asterisk && request.method === 'OPTIONS'
      ? { type: 'answer', labels: view.labels, response, status: 204, contentType: 'text/plain', body: '' }
      : page('route_unknown', view.labels, response);
  }
  return decideTarget(table, request, routeView(table, domain, route), route, path, recorder);
}

/**
 * Whether another reading of the raw path leads elsewhere: to another route, or to one where this leads to none.
 * Rules hang on routes, so the same route means the same rules.
 */
function isAmbiguous(
  domain: CompiledDomain,
  request: RequestView,
  normal: { readonly path: string; readonly ambiguous: boolean },
  route: CompiledRoute | null,
): boolean {
  const readings = otherReadings(request.rawPath, normal);
  if (readings === null) return true;
  for (const reading of readings) if (domain.paths.find(reading, request) !== route) return true;
  return false;
}

/**
 * Servlet containers drop `;…` from every segment before they look for what to run: `/admin;x` is `/admin` to them.
 * Elsewhere such a path is a path of its own, so it is refused only where it would go around a rule.
 */
function hasOtherRulesWithoutParameters(
  domain: CompiledDomain,
  request: RequestView,
  path: string,
  route: CompiledRoute,
): boolean {
  const bare = path.replace(/;[^/]*/g, '');
  const other = domain.paths.find(normalisePath(bare)?.path ?? bare, request);
  if (other === null || other === route) return false;
  return other.firewall.length > 0 && other.firewall.join() !== route.firewall.join();
}

function decideTarget(
  table: Table,
  request: RequestView,
  view: RouteView,
  route: CompiledRoute,
  path: string,
  recorder: Recorder | null,
): Decision {
  const response = request.secure ? route.responseSecure : route.response;
  recorder?.stage('route-rules');
  const domain = view.labels.domain ?? '';
  const refusal = view.rules.length === 0 ? null : askRules(table, request, domain, view.rules, recorder);
  if (refusal !== null) return refused(table, request, refusal, view.labels, response);
  recorder?.stage('target');
  const { maintenance } = route;
  if (maintenance !== null && inMaintenance(maintenance, request)) {
    return page('maintenance', view.labels, response, retryAfter(maintenance, request.now));
  }
  const decision = request.secure ? view.secure : view.plain;
  const { change } = route;
  if (decision.type === 'forward' && request.rawPath !== '*') {
    if (change !== null) return { ...decision, path: rewritePath(change, request.rawPath, path) };
    return request.rawPath === '' ? { ...decision, path: '/' } : decision;
  }
  if (decision.type === 'redirect' && route.target.type === 'redirect' && route.target.keepPath) {
    const kept = change === null ? request.rawPath : rewritePath(change, request.rawPath, path);
    return { ...decision, location: keepingLocation(route.target.to, kept, request.query) };
  }
  return decision;
}

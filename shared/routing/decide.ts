/**
 * Decides what becomes of a request, and nothing else does: host, rules, https, mode, route, its rules, its target
 * (design.md, A request). Pure and total: it neither throws nor remembers, and only looks at what it was given.
 */

import type { CauseCode } from '../causes.ts';
import { MAX_SUBJECT_LENGTH } from '../patterns.ts';
import { COOKIE_KEY_SECRET, holdsSignedCookie, signCookie } from '../signed-cookie.ts';
import type { ClientAuthority } from './client-authority.ts';
import type { CompiledDomain, CompiledRoute } from './compile-domain.ts';
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
  return taken === null ? decision : counted(decision, taken);
}

/** Written out where it is for nearly every request: a spread costs many times as much. */
function counted(decision: Decision, counts: readonly RateCount[]): Decision {
  if (decision.type !== 'forward') return { ...decision, counts };
  const { type, labels, response, service, key, path, request, identified, limits } = decision;
  return { type, labels, response, service, key, path, request, identified, limits, counts };
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
  if (domain.broken !== null) return domainPage(table, request, domain, 'quarantined');
  // Answers to ACME challenges belong here: before a rule or a redirect can keep the issuer out.
  const refusal = refusedByDomain(table, request, domain, recorder);
  if (refusal !== null) {
    return refused(table, request, refusal, labelsOf(table, domain), responseOf(request, domain));
  }

  recorder?.stage('https');
  if (domain.https !== 'allow' && !request.secure) return needsHttps(table, request, domain, recorder);

  if (domain.clientAuthority !== null) {
    const cause = clientProblem(table, request, domain, domain.clientAuthority);
    if (cause !== null) {
      recorder?.note('the domain is for visitors with a certificate of its authority only');
      return domainPage(table, request, domain, cause);
    }
  }

  recorder?.stage('mode');
  const mode = byMode(table, request, domain);
  if (mode !== null) return mode;

  recorder?.stage('route');
  return decideRoute(table, request, domain, recorder);
}

function noLabels(table: Table): DecisionLabels {
  return { domain: null, route: null, service: null, pages: table.defaultBrand, rule: null };
}

/** Made when it is wanted, like the labels: nearly every request is answered by what its route says. */
function domainPage(
  table: Table,
  request: RequestView,
  domain: CompiledDomain,
  cause: CauseCode,
  retryAfter?: number,
): Decision {
  return page(cause, labelsOf(table, domain), responseOf(request, domain), retryAfter);
}

function labelsOf(table: Table, domain: CompiledDomain): DecisionLabels {
  return domainView(table, domain).labels;
}

function responseOf(request: RequestView, domain: CompiledDomain): FieldChanges | null {
  return request.secure ? domain.responseSecure : null;
}

function refusedByDomain(
  table: Table,
  request: RequestView,
  domain: CompiledDomain,
  recorder: Recorder | null,
): Refusal | null {
  recorder?.stage('global-rules');
  const global = table.globalRules;
  const byGlobal = global.length === 0 ? null : askRules(table, request, domain.name, global, recorder);
  if (byGlobal !== null) return byGlobal;
  recorder?.stage('domain-rules');
  if (domain.firewall.length === 0) return null;
  return askRules(table, request, domain.name, domainView(table, domain).rules, recorder);
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
      // Named in several lists it is one rule all the same.
      if (counts?.some((count) => count.rule === rule)) return;
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
  const binding = { name: SECURE_COOKIE, host: request.host };
  return holdsSignedCookie(key, binding, request.header('cookie'), request.now);
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
  recorder: Recorder | null,
): Decision {
  if (domain.https === 'only') {
    recorder?.note('the domain is served over https only');
    return domainPage(table, request, domain, 'https_only');
  }
  recorder?.note('the domain sends plain http to https');
  return {
    type: 'redirect',
    labels: labelsOf(table, domain),
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
function byMode(table: Table, request: RequestView, domain: CompiledDomain): Decision | null {
  const everywhere = table.maintenance;
  if (everywhere !== null && inMaintenance(everywhere, request)) {
    return domainPage(table, request, domain, 'maintenance', retryAfter(everywhere, request.now));
  }
  if (domain.off) return domainPage(table, request, domain, 'domain_off');
  const here = domain.maintenance;
  if (here !== null && inMaintenance(here, request)) {
    return domainPage(table, request, domain, 'maintenance', retryAfter(here, request.now));
  }
  return null;
}

function decideRoute(
  table: Table,
  request: RequestView,
  domain: CompiledDomain,
  recorder: Recorder | null,
): Decision {
  const { rawPath } = request;
  // `OPTIONS *` is about the server and goes where "/" goes; an absolute target may have no path, which is the root
  // (RFC 9112 §3.2.2).
  const written = rawPath === '' || rawPath === '*' ? '/' : rawPath;
  const normal = normalisePath(written);
  const path = normal === null ? written : normal.path;
  if (path.length > MAX_SUBJECT_LENGTH && domain.paths.hasRegexes) {
    return domainPage(table, request, domain, 'target_too_long');
  }
  const route = domain.paths.find(path, request);
  if (recorder !== null) explainRoutes(domain, path, request, route, recorder);
  if (normal !== null && isAmbiguous(domain, request, rawPath, normal, route)) {
    recorder?.note('another reading of the raw path leads to another route');
    return domainPage(table, request, domain, 'path_ambiguous');
  }
  if (route === null) {
    if (rawPath !== '*' || request.method !== 'OPTIONS')
      return domainPage(table, request, domain, 'route_unknown');
    const labels = labelsOf(table, domain);
    const response = responseOf(request, domain);
    return { type: 'answer', labels, response, status: 204, contentType: 'text/plain', body: '' };
  }
  if (path.indexOf(';') !== -1 && hasOtherRulesWithoutParameters(domain, request, path, route)) {
    recorder?.note('without the parameters of its segments the path leads to a route with other rules');
    return domainPage(table, request, domain, 'path_ambiguous');
  }
  return decideTarget(table, request, domain, route, rawPath, path, recorder);
}

/**
 * Whether another reading of the raw path leads elsewhere: to another route, or to one where this leads to none.
 * Rules hang on routes, so the same route means the same rules.
 */
function isAmbiguous(
  domain: CompiledDomain,
  request: RequestView,
  rawPath: string,
  normal: { readonly path: string; readonly ambiguous: boolean },
  route: CompiledRoute | null,
): boolean {
  const readings = otherReadings(rawPath, normal);
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
  domain: CompiledDomain,
  route: CompiledRoute,
  rawPath: string,
  path: string,
  recorder: Recorder | null,
): Decision {
  const view = routeView(table, domain, route);
  recorder?.stage('route-rules');
  const refusal =
    view.rules.length === 0 ? null : askRules(table, request, domain.name, view.rules, recorder);
  const { secure } = request;
  if (refusal !== null) {
    return refused(table, request, refusal, view.labels, secure ? route.responseSecure : route.response);
  }
  recorder?.stage('target');
  const { maintenance } = route;
  if (maintenance !== null && inMaintenance(maintenance, request)) {
    const response = secure ? route.responseSecure : route.response;
    return page('maintenance', view.labels, response, retryAfter(maintenance, request.now));
  }
  const decision = secure ? view.secure : view.plain;
  return rawPath === '' || route.followsPath ? following(decision, route, request, rawPath, path) : decision;
}

/** The decision about a route with what the path of the request changes in it. */
function following(
  decision: Decision,
  route: CompiledRoute,
  request: RequestView,
  rawPath: string,
  path: string,
): Decision {
  const { change, target } = route;
  if (decision.type === 'forward' && rawPath !== '*') {
    if (change !== null) return { ...decision, path: rewritePath(change, rawPath, path) };
    return rawPath === '' ? { ...decision, path: '/' } : decision;
  }
  if (decision.type === 'redirect' && target.type === 'redirect' && target.keepPath) {
    const kept = change === null ? rawPath : rewritePath(change, rawPath, path);
    return { ...decision, location: keepingLocation(target.to, kept, request.query) };
  }
  return decision;
}

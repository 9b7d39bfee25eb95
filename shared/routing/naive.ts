/**
 * The order of hosts and routes written down as plainly as it can be: everything is looked at, sorted, and gives its
 * reason. The indexes must always agree with it (tests compare them on random tables), and Explain reads from it
 * why a candidate lost.
 */
import type { Route } from '../model/domain.ts';
import { compilePattern } from '../patterns.ts';
import { compilePath, pathsOf } from './compile-domain.ts';
import type { RequestView } from './decision.ts';
import { compare } from './host-index.ts';
import { compileMaintenance, inMaintenance } from './maintenance.ts';
import type { PathMatch } from './path-index.ts';

/** A host pattern and the domain that owns it. */
export interface HostClaim {
  readonly pattern: string;
  readonly domain: string;
}

/** The claims that match `host`, the one that wins first. */
export function matchingHosts(claims: Iterable<HostClaim>, host: string): HostClaim[] {
  return [...claims]
    .filter(({ pattern }) => hostMatches(pattern, host))
    .sort(
      (a, b) =>
        hostClass(a.pattern) - hostClass(b.pattern) ||
        // Of two `**.x` that match one host, the one with more labels is the longer text.
        (hostClass(a.pattern) === ANY_DEPTH ? b.pattern.length - a.pattern.length : 0) ||
        compare(a.domain, b.domain) ||
        compare(a.pattern, b.pattern),
    );
}

const ANY_DEPTH = 2;

function hostClass(pattern: string): number {
  if (pattern === '*') return 4;
  if (pattern.startsWith('~')) return 3;
  if (pattern.startsWith('**.')) return ANY_DEPTH;
  return pattern.startsWith('*.') ? 1 : 0;
}

function hostMatches(pattern: string, host: string): boolean {
  if (pattern === '*') return true;
  if (pattern.startsWith('~')) return compilePattern(pattern.slice(1)).matches(host);
  if (!pattern.startsWith('*')) return pattern === host;
  const labels = host.split('.');
  const wanted = pattern.split('.').slice(1);
  const more = labels.length - wanted.length;
  if (more < 1 || (pattern.startsWith('*.') && more > 1)) return false;
  return wanted.every((label, index) => labels[more + index] === label);
}

/** One path of one route, and what stands against it; null when nothing does. */
export interface RouteVerdict {
  readonly route: number;
  /** As written. */
  readonly path: string;
  readonly against: string | null;
}

/** Every path of every route in the order in which they are tried; the first with nothing against it wins. */
export function rankRoutes(routes: readonly Route[], path: string, request: RequestView): RouteVerdict[] {
  return routes
    .flatMap((route, index) =>
      pathsOf(route).map((written) => ({ route, index, written, match: compilePath(written) })),
    )
    .map((entry, position) => ({ ...entry, position }))
    .sort(
      (a, b) =>
        (b.route.priority ?? 0) - (a.route.priority ?? 0) ||
        pathClass(a.match) - pathClass(b.match) ||
        prefixLength(b.match) - prefixLength(a.match) ||
        a.position - b.position,
    )
    .map(({ route, index, written, match }) => ({
      route: index,
      path: written,
      against: pathMatches(match, path) ? conditionAgainst(route, request) : 'the path does not match',
    }));
}

function pathClass(match: PathMatch): number {
  return { exact: 0, regex: 1, prefix: 2 }[match.type];
}

function prefixLength(match: PathMatch): number {
  return match.type === 'prefix' ? match.path.length : 0;
}

function pathMatches(match: PathMatch, path: string): boolean {
  switch (match.type) {
    case 'exact':
      return path === match.path;
    case 'regex':
      return match.pattern.test(path);
    case 'prefix':
      return path === match.path || path.startsWith(match.path.endsWith('/') ? match.path : `${match.path}/`);
  }
}

function conditionAgainst(route: Route, request: RequestView): string | null {
  if (route.methods !== undefined && !route.methods.includes(request.method)) {
    return `the method is not ${route.methods.join(' or ')}`;
  }
  for (const [name, value] of Object.entries(route.headers ?? {})) {
    if (request.header(name) !== value) return `the field ${name} is not "${value}"`;
  }
  if (route.service === undefined && route.redirect === undefined && route.answer === undefined) {
    const maintenance = compileMaintenance(route.maintenance);
    if (maintenance !== null && !inMaintenance(maintenance, request)) {
      return 'its maintenance does not hold now, or not for this client';
    }
  }
  return null;
}

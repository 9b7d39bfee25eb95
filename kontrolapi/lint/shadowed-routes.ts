/** Routes that no request can reach, since one that goes before them takes everything that they match. */
import type { FieldProblem } from '../../shared/errors.ts';
import type { Route } from '../../shared/model/domain.ts';
import { compilePath, pathsOf } from '../../shared/routing/compile-domain.ts';
import type { PathMatch } from '../../shared/routing/path-index.ts';

interface Entry {
  readonly route: Route;
  readonly index: number;
  readonly written: string;
  readonly match: PathMatch;
  readonly position: number;
}

/** Domains with more paths are not looked at: a warning is not worth a stall. */
const MAX_PATHS = 1_000;
const CLASS = { exact: 0, regex: 1, prefix: 2 } as const;

export function shadowedRoutes(routes: readonly Route[]): FieldProblem[] {
  const paths = routes.flatMap((route, index) =>
    pathsOf(route).map((written) => ({ route, index, written })),
  );
  if (paths.length > MAX_PATHS) return [];
  const entries = paths
    .map((entry, position): Entry => ({ ...entry, match: compilePath(entry.written), position }))
    .sort(inOrder);
  const takers: Entry[] = [];
  const found: FieldProblem[] = [];
  for (const entry of entries) {
    const taker = takers.find((earlier) => covers(earlier, entry));
    if (taker !== undefined) {
      const why =
        taker.index === entry.index ? 'twice in this route' : `by route ${taker.index} (${taker.written})`;
      found.push({
        path: `routes.${entry.index}.path`,
        message: `${entry.written} is never reached: it is taken ${why}, which goes before it`,
      });
    } else if (isUnconditional(entry.route)) takers.push(entry);
  }
  return found;
}

/** The order of trial, as behaviour promises it. */
function inOrder(a: Entry, b: Entry): number {
  return (
    (b.route.priority ?? 0) - (a.route.priority ?? 0) ||
    CLASS[a.match.type] - CLASS[b.match.type] ||
    lengthOf(b.match) - lengthOf(a.match) ||
    a.position - b.position
  );
}

function lengthOf(match: PathMatch): number {
  return match.type === 'prefix' ? match.path.length : 0;
}

function isUnconditional({ methods, headers, maintenance, service, redirect, answer }: Route): boolean {
  if (methods !== undefined || headers !== undefined) return false;
  const hasTarget = service !== undefined || redirect !== undefined || answer !== undefined;
  return hasTarget || maintenance === true;
}

function covers(earlier: Entry, later: Entry): boolean {
  const [a, b] = [earlier.match, later.match];
  if (a.type === 'regex' || b.type === 'regex') return earlier.written === later.written;
  if (a.type === 'exact') return b.type === 'exact' && a.path === b.path;
  return a.path === b.path || b.path.startsWith(a.path.endsWith('/') ? a.path : `${a.path}/`);
}

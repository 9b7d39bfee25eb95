/**
 * From a normalised path to a route: priority (greater first), then exact, regular expressions in the order
 * written, prefixes (longer first). A route stands in it once for each of its paths; among equals the one written
 * first is tried first. Exact paths and prefixes are looked up in Maps, so their number costs nothing.
 */
import type { Pattern } from '../patterns.ts';

/** What a path of a route says: `=/exact`, `~regex` (unanchored) or `/prefix`, normalised. */
export type PathMatch =
  | { readonly type: 'exact'; readonly path: string }
  | { readonly type: 'regex'; readonly pattern: Pattern }
  | { readonly type: 'prefix'; readonly path: string };

/** A route whose path matches may still refuse the request (method, header fields). */
export interface PathCandidate<R> {
  accepts(request: R): boolean;
}

/** All of one priority. What is empty is null: a table has thousands of these, and each look at one costs. */
interface Level<C> {
  readonly exact: ReadonlyMap<string, readonly C[]> | null;
  readonly regexes: readonly { readonly pattern: Pattern; readonly candidate: C }[] | null;
  readonly prefixes: ReadonlyMap<string, readonly C[]> | null;
  /** Lengths of the prefixes, greatest first. */
  readonly lengths: readonly number[];
  /** Those of the prefix "/". */
  readonly root: readonly C[];
}

interface Entry<C> {
  readonly match: PathMatch;
  readonly priority: number;
  readonly candidate: C;
}

export class PathIndex<C extends PathCandidate<R>, R> {
  /** True when some path is a regular expression: then the length of the subject matters. */
  readonly hasRegexes: boolean;
  /** The level of the greatest priority, which for nearly every domain is the only one; null when there are no routes. */
  readonly #first: Level<C> | null;
  readonly #others: readonly Level<C>[];

  /** `entries` in the order written. */
  constructor(entries: readonly Entry<C>[]) {
    const byPriority = new Map<number, Entry<C>[]>();
    for (const entry of entries) push(byPriority, entry.priority, entry);
    const [first, ...others] = [...byPriority].sort((a, b) => b[0] - a[0]).map(([, level]) => levelOf(level));
    this.#first = first ?? null;
    this.#others = others;
    this.hasRegexes = entries.some((entry) => entry.match.type === 'regex');
  }

  /** The first route whose path matches `path` (normalised) and that accepts `request`; null when there is none. */
  find(path: string, request: R): C | null {
    if (this.#first === null) return null;
    const found = findInLevel(this.#first, path, request);
    if (found !== null || this.#others.length === 0) return found;
    for (const level of this.#others) {
      const later = findInLevel(level, path, request);
      if (later !== null) return later;
    }
    return null;
  }
}

function levelOf<C>(entries: readonly Entry<C>[]): Level<C> {
  const exact = new Map<string, C[]>();
  const prefixes = new Map<string, C[]>();
  const regexes: { pattern: Pattern; candidate: C }[] = [];
  const root: C[] = [];
  for (const { match, candidate } of entries) {
    if (match.type === 'regex') regexes.push({ pattern: match.pattern, candidate });
    else if (match.type === 'exact') push(exact, match.path, candidate);
    else if (match.path === '/') root.push(candidate);
    else push(prefixes, match.path, candidate);
  }
  const lengths = new Set([...prefixes.keys()].map((path) => path.length));
  return {
    exact: exact.size > 0 ? exact : null,
    regexes: regexes.length > 0 ? regexes : null,
    prefixes: prefixes.size > 0 ? prefixes : null,
    lengths: [...lengths].sort((a, b) => b - a),
    root,
  };
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function findInLevel<C extends PathCandidate<R>, R>(level: Level<C>, path: string, request: R): C | null {
  if (level.exact !== null) {
    const found = firstAccepting(level.exact.get(path), request);
    if (found !== null) return found;
  }
  if (level.regexes !== null) {
    for (const { pattern, candidate } of level.regexes) {
      if (pattern.test(path) && candidate.accepts(request)) return candidate;
    }
  }
  if (level.prefixes !== null) {
    for (const length of level.lengths) {
      if (!endsSegment(path, length)) continue;
      const found = firstAccepting(level.prefixes.get(path.slice(0, length)), request);
      if (found !== null) return found;
    }
  }
  return path.charCodeAt(0) === SLASH ? firstAccepting(level.root, request) : null;
}

const SLASH = 0x2f;

/** Whether a prefix of this length ends where a segment does: "/api" in "/api" and "/api/x", "/api/" in "/api/x". */
function endsSegment(path: string, length: number): boolean {
  if (path.length <= length) return path.length === length;
  return path.charCodeAt(length) === SLASH || path.charCodeAt(length - 1) === SLASH;
}

function firstAccepting<C extends PathCandidate<R>, R>(list: readonly C[] | undefined, request: R): C | null {
  if (list === undefined) return null;
  for (const candidate of list) if (candidate.accepts(request)) return candidate;
  return null;
}

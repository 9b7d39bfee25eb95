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

interface Level<C> {
  readonly priority: number;
  readonly exact: Map<string, C[]>;
  readonly regexes: { readonly pattern: Pattern; readonly candidate: C }[];
  readonly prefixes: Map<string, C[]>;
  /** Lengths of the prefixes but "/", greatest first. */
  lengths: number[];
  readonly root: C[];
}

export class PathIndex<C extends PathCandidate<R>, R> {
  /** True when some path is a regular expression: then the length of the subject matters. */
  readonly hasRegexes: boolean;
  readonly #levels: Level<C>[] = [];

  /** `entries` in the order written. */
  constructor(
    entries: readonly { readonly match: PathMatch; readonly priority: number; readonly candidate: C }[],
  ) {
    const levels = new Map<number, Level<C>>();
    for (const { match, priority, candidate } of entries) {
      let level = levels.get(priority);
      if (level === undefined) {
        level = { priority, exact: new Map(), regexes: [], prefixes: new Map(), lengths: [], root: [] };
        levels.set(priority, level);
      }
      if (match.type === 'regex') level.regexes.push({ pattern: match.pattern, candidate });
      else if (match.type === 'exact') push(level.exact, match.path, candidate);
      else if (match.path === '/') level.root.push(candidate);
      else push(level.prefixes, match.path, candidate);
    }
    for (const level of levels.values()) {
      level.lengths = [...new Set([...level.prefixes.keys()].map((path) => path.length))].sort(
        (a, b) => b - a,
      );
      this.#levels.push(level);
    }
    this.#levels.sort((a, b) => b.priority - a.priority);
    this.hasRegexes = this.#levels.some((level) => level.regexes.length > 0);
  }

  /** The first route whose path matches `path` (normalised) and that accepts `request`; null when there is none. */
  find(path: string, request: R): C | null {
    for (const level of this.#levels) {
      const found = findInLevel(level, path, request);
      if (found !== null) return found;
    }
    return null;
  }
}

function push<C>(map: Map<string, C[]>, path: string, candidate: C): void {
  const list = map.get(path);
  if (list === undefined) map.set(path, [candidate]);
  else list.push(candidate);
}

function findInLevel<C extends PathCandidate<R>, R>(level: Level<C>, path: string, request: R): C | null {
  if (level.exact.size > 0) {
    const found = firstAccepting(level.exact.get(path), request);
    if (found !== null) return found;
  }
  for (const { pattern, candidate } of level.regexes) {
    if (pattern.test(path) && candidate.accepts(request)) return candidate;
  }
  for (const length of level.lengths) {
    if (!endsSegment(path, length)) continue;
    const found = firstAccepting(level.prefixes.get(path.slice(0, length)), request);
    if (found !== null) return found;
  }
  return path.startsWith('/') ? firstAccepting(level.root, request) : null;
}

/** Whether a prefix of this length ends where a segment does: "/api" in "/api" and "/api/x", "/api/" in "/api/x". */
function endsSegment(path: string, length: number): boolean {
  if (path.length <= length) return path.length === length;
  return path.charCodeAt(length) === 0x2f || path.charCodeAt(length - 1) === 0x2f;
}

function firstAccepting<C extends PathCandidate<R>, R>(list: readonly C[] | undefined, request: R): C | null {
  if (list === undefined) return null;
  for (const candidate of list) if (candidate.accepts(request)) return candidate;
  return null;
}

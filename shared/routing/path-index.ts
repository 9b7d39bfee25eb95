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

/**
 * Candidates of one path, the one tried first at the head. A list and not an array: nearly always there is one, and
 * a table has thousands of these, so that every object that a look at one leads over is one out of the cache.
 */
interface Chain<C> {
  readonly candidate: C;
  readonly next: Chain<C> | null;
}

interface Entry<C> {
  readonly match: PathMatch;
  readonly priority: number;
  readonly candidate: C;
}

/** The paths of one priority; the lesser ones stand behind it. What is empty is null. */
export class PathIndex<C extends PathCandidate<R>, R> {
  /** True when some path is a regular expression: then the length of the subject matters. */
  readonly hasRegexes: boolean;
  /** A bit for each prefix and exact path (`bitOf`): by it alone most paths are told to be none of them. */
  readonly #bits: number;
  /** Of those of the prefix "/" the one tried first, and the others: nearly every domain has one for all paths. */
  readonly #root: C | null;
  readonly #otherRoots: Chain<C> | null;
  readonly #exact: ReadonlyMap<string, Chain<C>> | null;
  readonly #regexes: readonly { readonly pattern: Pattern; readonly candidate: C }[] | null;
  readonly #prefixes: ReadonlyMap<string, Chain<C>> | null;
  /** Length of the longest prefix. */
  readonly #longest: number;
  /** Lesser priorities; null for nearly every domain. */
  readonly #lesser: PathIndex<C, R> | null;

  /** `entries` in the order written. */
  static of<C extends PathCandidate<R>, R>(entries: readonly Entry<C>[]): PathIndex<C, R> {
    const byPriority = new Map<number, Entry<C>[]>();
    for (const entry of entries) {
      const level = byPriority.get(entry.priority);
      if (level === undefined) byPriority.set(entry.priority, [entry]);
      else level.push(entry);
    }
    let index: PathIndex<C, R> | null = null;
    for (const [, level] of [...byPriority].sort((a, b) => a[0] - b[0])) index = new PathIndex(level, index);
    return index ?? new PathIndex<C, R>([], null);
  }

  private constructor(entries: readonly Entry<C>[], lesser: PathIndex<C, R> | null) {
    const exact = new Map<string, Chain<C>>();
    const prefixes = new Map<string, Chain<C>>();
    const regexes: { pattern: Pattern; candidate: C }[] = [];
    let root: Chain<C> | null = null;
    let bits = 0;
    let longest = 0;
    // From the last to the first, each before those of its path that are written later.
    for (const { match, candidate } of entries.toReversed()) {
      if (match.type === 'regex') regexes.push({ pattern: match.pattern, candidate });
      else if (match.type === 'prefix' && match.path === '/') root = { candidate, next: root };
      else {
        const { path } = match;
        const paths = match.type === 'exact' ? exact : prefixes;
        paths.set(path, { candidate, next: paths.get(path) ?? null });
        bits |= bitOf(path, path.length);
        if (match.type === 'prefix') longest = Math.max(longest, path.length);
      }
    }
    this.hasRegexes = regexes.length > 0 || lesser?.hasRegexes === true;
    this.#bits = bits;
    this.#root = root?.candidate ?? null;
    this.#otherRoots = root?.next ?? null;
    this.#exact = exact.size > 0 ? exact : null;
    this.#regexes = regexes.length > 0 ? regexes.reverse() : null;
    this.#prefixes = prefixes.size > 0 ? prefixes : null;
    this.#longest = longest;
    this.#lesser = lesser;
  }

  /** The first route whose path matches `path` (normalised) and that accepts `request`; null when there is none. */
  find(path: string, request: R): C | null {
    const found = this.#findHere(path, request);
    if (found !== null || this.#lesser === null) return found;
    for (let lesser: PathIndex<C, R> | null = this.#lesser; lesser !== null; lesser = lesser.#lesser) {
      const later = lesser.#findHere(path, request);
      if (later !== null) return later;
    }
    return null;
  }

  #findHere(path: string, request: R): C | null {
    if (this.#exact !== null && this.#mayHold(path, path.length)) {
      const found = firstAccepting(this.#exact.get(path) ?? null, request);
      if (found !== null) return found;
    }
    if (this.#regexes !== null) {
      for (const { pattern, candidate } of this.#regexes) {
        if (pattern.test(path) && candidate.accepts(request)) return candidate;
      }
    }
    if (this.#prefixes !== null) {
      const found = this.#findPrefix(this.#prefixes, path, request);
      if (found !== null) return found;
    }
    if (this.#root === null || path.charCodeAt(0) !== SLASH) return null;
    return this.#root.accepts(request) ? this.#root : firstAccepting(this.#otherRoots, request);
  }

  /** By the longest prefix that fits: one that ends where a segment does, as "/api" and "/api/" do in "/api/x". */
  #findPrefix(prefixes: ReadonlyMap<string, Chain<C>>, path: string, request: R): C | null {
    for (let length = Math.min(this.#longest, path.length); length > 0; length--) {
      if (!endsSegment(path, length) || !this.#mayHold(path, length)) continue;
      const found = firstAccepting(prefixes.get(path.slice(0, length)) ?? null, request);
      if (found !== null) return found;
    }
    return null;
  }

  /** False when the first `length` characters of `path` are surely no prefix and no exact path of these. */
  #mayHold(path: string, length: number): boolean {
    return (this.#bits & bitOf(path, length)) !== 0;
  }
}

/** One of 32 bits for the first `length` characters of a path: by their number, the middle one and the last. */
function bitOf(path: string, length: number): number {
  return 1 << ((length * 5 + path.charCodeAt(length >> 1) * 3 + path.charCodeAt(length - 1)) & 31);
}

const SLASH = 0x2f;

/** Whether a prefix of this length ends where a segment does: "/api" in "/api" and "/api/x", "/api/" in "/api/x". */
function endsSegment(path: string, length: number): boolean {
  if (path.length === length) return true;
  return path.charCodeAt(length) === SLASH || path.charCodeAt(length - 1) === SLASH;
}

function firstAccepting<C extends PathCandidate<R>, R>(chain: Chain<C> | null, request: R): C | null {
  for (let link = chain; link !== null; link = link.next) {
    if (link.candidate.accepts(request)) return link.candidate;
  }
  return null;
}

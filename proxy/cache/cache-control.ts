/**
 * Reads `Cache-Control` (RFC 9111 §5.2) of requests and answers. Where a value is doubtful (not a number, given twice,
 * an argument that limits a directive to some fields) the reading is the one that stores and reuses less.
 */

/** Seconds are whole numbers; null where the directive is absent. */
export interface CacheControl {
  readonly present: boolean;
  readonly noStore: boolean;
  readonly noCache: boolean;
  readonly isPrivate: boolean;
  readonly isPublic: boolean;
  readonly mustRevalidate: boolean;
  readonly proxyRevalidate: boolean;
  readonly onlyIfCached: boolean;
  readonly maxAge: number | null;
  readonly sMaxAge: number | null;
  readonly minFresh: number | null;
  /** Infinity for `max-stale` without a value. */
  readonly maxStale: number | null;
  readonly staleWhileRevalidate: number | null;
  readonly staleIfError: number | null;
}

type Draft = { -readonly [K in keyof CacheControl]: CacheControl[K] };

/** Greater values mean this one (RFC 9111 §1.2.2): 68 years. */
const MAX_SECONDS = 2 ** 31;

const NONE: CacheControl = {
  present: false,
  noStore: false,
  noCache: false,
  isPrivate: false,
  isPublic: false,
  mustRevalidate: false,
  proxyRevalidate: false,
  onlyIfCached: false,
  maxAge: null,
  sMaxAge: null,
  minFresh: null,
  maxStale: null,
  staleWhileRevalidate: null,
  staleIfError: null,
};

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]";
/** One directive: a token, and perhaps `=` with a token or quoted string. */
const DIRECTIVE = new RegExp(`(${TOKEN}+)(?:=("(?:[^"\\\\]|\\\\.)*"|${TOKEN}*))?[ \\t]*(?:,|$)`, 'y');

/** `value`: of all the lines, joined by commas; undefined when there is no such field. */
export function parseCacheControl(value: string | undefined): CacheControl {
  if (value === undefined) return NONE;
  const draft: Draft = { ...NONE, present: true };
  let at = 0;
  while (at < value.length) {
    const char = value[at] as string;
    if (char === ',' || char === ' ' || char === '\t') {
      at++;
      continue;
    }
    DIRECTIVE.lastIndex = at;
    const match = DIRECTIVE.exec(value);
    if (match === null) {
      // Not in the grammar: nothing of the list can be trusted to mean what it seems to.
      draft.noStore = true;
      break;
    }
    at = DIRECTIVE.lastIndex;
    take(draft, (match[1] as string).toLowerCase(), match[2]);
  }
  return draft;
}

function take(draft: Draft, name: string, argument: string | undefined): void {
  switch (name) {
    case 'no-store':
      draft.noStore = true;
      break;
    case 'no-cache':
      draft.noCache = true;
      break;
    case 'private':
      draft.isPrivate = true;
      break;
    case 'public':
      draft.isPublic = true;
      break;
    case 'must-revalidate':
      draft.mustRevalidate = true;
      break;
    case 'proxy-revalidate':
      draft.proxyRevalidate = true;
      break;
    case 'only-if-cached':
      draft.onlyIfCached = true;
      break;
    case 'max-age':
      draft.maxAge = least(draft.maxAge, seconds(argument, 0));
      break;
    case 's-maxage':
      draft.sMaxAge = least(draft.sMaxAge, seconds(argument, 0));
      break;
    case 'min-fresh':
      draft.minFresh = Math.max(draft.minFresh ?? 0, seconds(argument, MAX_SECONDS));
      break;
    case 'max-stale':
      draft.maxStale = least(
        draft.maxStale,
        argument === undefined ? Number.POSITIVE_INFINITY : seconds(argument, 0),
      );
      break;
    case 'stale-while-revalidate':
      draft.staleWhileRevalidate = least(draft.staleWhileRevalidate, seconds(argument, 0));
      break;
    case 'stale-if-error':
      draft.staleIfError = least(draft.staleIfError, seconds(argument, 0));
      break;
  }
}

function least(before: number | null, value: number): number {
  return before === null ? value : Math.min(before, value);
}

function seconds(argument: string | undefined, doubtful: number): number {
  const bare = argument?.replace(/^"(.*)"$/, '$1');
  if (bare === undefined || !/^\d+$/.test(bare)) return doubtful;
  return Math.min(Number(bare), MAX_SECONDS);
}

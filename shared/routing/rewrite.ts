/**
 * The two things that are made from bytes of a request: the new path of a rewriting route, and the Location of a
 * redirect. Neither can carry a line break, change the host, or turn a path into another site's address.
 */
import type { PathChange } from './compile-domain.ts';
import { normalisePath } from './path.ts';

/**
 * The path that a rewriting route sends on: prefix stripped, rewritten, prefix added. It is made from the
 * normalised path (as nginx does), so that dots and slashes cannot lead out of what was stripped; where the raw path
 * means the same after the change, its bytes are kept.
 */
export function rewritePath(change: PathChange, rawPath: string, path: string): string {
  let result = path;
  if (change.strip.length > 0) {
    result = strip(change.strip, path);
    if (rawPath !== path) {
      const raw = leading(strip(change.strip, rawPath));
      if ((normalisePath(raw)?.path ?? raw) === result) result = raw;
    }
  }
  if (change.rewrite !== null) result = change.rewrite.pattern.replace(result, change.rewrite.to) ?? result;
  return leading(change.add + (result === '/' && change.add !== '' ? '' : result));
}

function strip(prefixes: readonly string[], path: string): string {
  for (const prefix of prefixes) {
    if (path === prefix) return '/';
    if (path.startsWith(prefix) && path.charAt(prefix.length) === '/') return path.slice(prefix.length);
  }
  return path;
}

/** Exactly one slash leads: two would begin a host in what backends make of the path. */
function leading(path: string): string {
  return /^\/(?![/\\])/.test(path) ? path : `/${path.replace(/^[/\\]+/, '')}`;
}

/** The address of a redirect that keeps path and query of the request. */
export function keepingLocation(to: string, path: string, query: string): string {
  const base = to.endsWith('/') ? to.slice(0, -1) : to;
  const location = base + visible(path === '*' ? '/' : path) + visible(query);
  return to.startsWith('/') ? leading(location) : location;
}

/** The same request over https. `port` is the one that visitors see. */
export function httpsLocation(host: string, port: number, rawPath: string, query: string): string {
  const path = rawPath.startsWith('/') ? rawPath : '/';
  return `https://${visible(host)}${port === 443 ? '' : `:${port}`}${visible(path)}${visible(query)}`;
}

/** Escapes what may not stand in a field or would end the path for a browser: all but visible ASCII, `\` and `#`. */
function visible(text: string): string {
  return UNSAFE.test(text)
    ? text.replace(/[^\x21-\x7e]|[\\#]/g, (character) => {
        const code = character.charCodeAt(0) & 0xff;
        return `%${code.toString(16).toUpperCase().padStart(2, '0')}`;
      })
    : text;
}

const UNSAFE = /[^\x21-\x7e]|[\\#]/;

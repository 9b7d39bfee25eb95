/**
 * Cookies that only we can have made: a value with an expiry and an HMAC over everything it must not be moved
 * between (cookie name, host). Also the two small things every reader of cookies needs.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** Name of the secret that holds the key for signed cookies, shared by all nodes. */
export const COOKIE_KEY_SECRET = 'cookie-key';

/**
 * The keys in that secret: one signs (the first), all are believed. Between two renewals a new one stands in it long
 * before it signs, so that every node knows it by then, and the one before for as long after.
 */
export function cookieKeys(secret: string): readonly string[] {
  return secret.split(',').filter((key) => key !== '');
}

/** What a signed cookie is bound to: its value is void under another name or host. */
export interface CookieBinding {
  readonly name: string;
  readonly host: string;
}

/**
 * A cookie value `<payload>.<expiry>.<mac>` that is valid until `expires` (milliseconds since 1970, kept to the
 * second). `payload` has only `A-Z a-z 0-9 _ -`, or is empty. `keys`: the secret as it stands.
 */
export function signCookie(keys: string, binding: CookieBinding, payload: string, expires: number): string {
  const body = `${payload}.${Math.floor(expires / 1_000).toString(36)}`;
  return `${body}.${mac(cookieKeys(keys)[0] ?? '', binding, body)}`;
}

/** The payload of a value that `signCookie` made with one of these keys and the same binding and that is still valid; else null. */
export function verifyCookie(
  keys: string,
  binding: CookieBinding,
  value: string,
  now: number,
): string | null {
  // Longer than anything we sign: not worth a hash.
  if (value.length > 1_024) return null;
  const match = /^([A-Za-z0-9_-]*)\.([0-9a-z]{1,9})\.([A-Za-z0-9_-]{43})$/.exec(value);
  if (match === null) return null;
  const [, payload = '', expires = '', given = ''] = match;
  const signed = cookieKeys(keys).some((key) =>
    constantTimeEqual(given, mac(key, binding, `${payload}.${expires}`)),
  );
  return signed && Number.parseInt(expires, 36) * 1_000 > now ? payload : null;
}

/** A page of another host may set this many of the same name beside ours, each of which costs a hash to look at. */
const MAX_SAME_NAMED = 8;

/**
 * Whether a Cookie field holds a value that `signCookie` made with one of these keys and the same binding and that is
 * still valid. Not only the first of its name counts: any host below the same parent domain may set another one, and
 * the longer path goes first (RFC 6265 §5.4), so that one would hide ours.
 */
export function holdsSignedCookie(
  keys: string,
  binding: CookieBinding,
  field: string | undefined,
  now: number,
): boolean {
  for (let nth = 0; nth < MAX_SAME_NAMED; nth++) {
    const value = cookieValue(field, binding.name, nth);
    if (value === null) return false;
    if (verifyCookie(keys, binding, value, now) !== null) return true;
  }
  return false;
}

function mac(key: string, binding: CookieBinding, body: string): string {
  // Neither a cookie name nor a host has a line break, so no two bindings run into each other.
  return createHmac('sha256', key).update(`${binding.name}\n${binding.host}\n${body}`).digest('base64url');
}

/** Whether two texts are equal, in a time that depends on their lengths only. */
export function constantTimeEqual(a: string, b: string): boolean {
  const left = Buffer.from(a, 'utf8');
  const right = Buffer.from(b, 'utf8');
  return left.length === right.length && timingSafeEqual(left, right);
}

/**
 * The value of the first cookie called `name` in a Cookie field (RFC 6265 §5.4), or of the one after `skip` of them,
 * without quotes; null when absent.
 */
export function cookieValue(field: string | undefined, name: string, skip = 0): string | null {
  if (field === undefined) return null;
  let found = 0;
  let equals = -1;
  for (let at = 0; at < field.length; ) {
    const semicolon = field.indexOf(';', at);
    const end = semicolon === -1 ? field.length : semicolon;
    // Looked for anew only behind the last one: thousands of pieces without "=" must not cost their square.
    if (equals < at) equals = field.indexOf('=', at);
    if (equals === -1) return null;
    if (equals < end && field.slice(at, equals).trim() === name && found++ === skip) {
      const value = field.slice(equals + 1, end).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
    at = end + 1;
  }
  return null;
}

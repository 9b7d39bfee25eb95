/**
 * The keys that all nodes share: for signed cookies and for TLS session tickets. Made by the first kontrolapi that
 * reaches a store without them; of several that start at once the one whose write wins, so that all nodes agree.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../shared/clock.ts';
import { open, SEALED_FIELD, seal, TICKET_KEYS_BYTES, TICKET_KEYS_SECRET } from '../shared/secrets.ts';
import { COOKIE_KEY_SECRET, cookieKeys } from '../shared/signed-cookie.ts';
import type { LiveDocument, LiveStore } from '../shared/store/contract.ts';

const COOKIE_KEY_BYTES = 32;
/** Whoever gets hold of ticket keys can read what was recorded under them (RFC 5077 §5.6): one day's, then. */
export const TICKET_KEYS_AGE_MS = 86_400_000;
/** How long a key signs cookies; for as long before and after it is only believed. */
export const COOKIE_KEY_AGE_MS = 30 * 86_400_000;

/** Makes what is missing and renews what is too old. Rejects when the store is away. */
export async function keepNodeKeys(live: LiveStore, secret: string | null, clock: Clock): Promise<void> {
  const sealed = (text: string) => ({ [SEALED_FIELD]: seal(text, secret), at: clock.now() });
  const isOlder = (document: LiveDocument, ageMs: number) =>
    typeof document['at'] === 'number' && clock.now() - document['at'] >= ageMs;

  const cookies = await live.get('secrets', COOKIE_KEY_SECRET);
  if (cookies === null) {
    await live.insert('secrets', COOKIE_KEY_SECRET, sealed(`${newCookieKey()},${newCookieKey()}`));
  } else if (isOlder(cookies, COOKIE_KEY_AGE_MS)) {
    const renewed = renewedCookieKeys(cookies[SEALED_FIELD], secret);
    // Sealed with another secret: what the nodes make of it is for their operator to mend.
    if (renewed !== null) await live.replace('secrets', COOKIE_KEY_SECRET, cookies.v, sealed(renewed));
  }

  const tickets = await live.get('secrets', TICKET_KEYS_SECRET);
  const newTickets = (before: Buffer) =>
    sealed(Buffer.concat([randomBytes(TICKET_KEYS_BYTES), before]).toString('base64'));
  if (tickets === null) await live.insert('secrets', TICKET_KEYS_SECRET, newTickets(Buffer.alloc(0)));
  else if (isOlder(tickets, TICKET_KEYS_AGE_MS)) {
    const before = presentTicketKeys(tickets[SEALED_FIELD], secret);
    await live.replace('secrets', TICKET_KEYS_SECRET, tickets.v, newTickets(before));
  }
}

/** Empty when they cannot be opened: new ones go without. */
function presentTicketKeys(text: unknown, secret: string | null): Buffer {
  try {
    return Buffer.from(open(String(text), secret), 'base64').subarray(0, TICKET_KEYS_BYTES);
  } catch {
    return Buffer.alloc(0);
  }
}

function newCookieKey(): string {
  return randomBytes(COOKIE_KEY_BYTES).toString('base64url');
}

/** From `now, next, before` to `next, new, now`; null when it cannot be opened. */
function renewedCookieKeys(text: unknown, secret: string | null): string | null {
  try {
    const [now, next] = cookieKeys(open(String(text), secret));
    // A secret that has but one key gets the one that signs next; that needs to be known everywhere first.
    if (next === undefined) return `${now},${newCookieKey()}`;
    return `${next},${newCookieKey()},${now}`;
  } catch {
    return null;
  }
}

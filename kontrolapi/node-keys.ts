/**
 * The keys that all nodes share: for signed cookies and for TLS session tickets. Made by the first kontrolapi that
 * reaches a store without them; of several that start at once the one whose write wins, so that all nodes agree.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../shared/clock.ts';
import { SEALED_FIELD, seal, TICKET_KEYS_BYTES, TICKET_KEYS_SECRET } from '../shared/secrets.ts';
import { COOKIE_KEY_SECRET } from '../shared/signed-cookie.ts';
import type { LiveStore } from '../shared/store/contract.ts';

const COOKIE_KEY_BYTES = 32;
/** Whoever gets hold of ticket keys can read what was recorded under them (RFC 5077 §5.6): one day's, then. */
export const TICKET_KEYS_AGE_MS = 86_400_000;

/** Makes what is missing and renews what is too old. Rejects when the store is away. */
export async function keepNodeKeys(live: LiveStore, secret: string | null, clock: Clock): Promise<void> {
  const fresh = (bytes: number, encoding: 'base64' | 'base64url') => ({
    [SEALED_FIELD]: seal(randomBytes(bytes).toString(encoding), secret),
    at: clock.now(),
  });
  // Cookies are believed for as long as they say, so their key stays.
  if ((await live.get('secrets', COOKIE_KEY_SECRET)) === null)
    await live.insert('secrets', COOKIE_KEY_SECRET, fresh(COOKIE_KEY_BYTES, 'base64url'));
  const tickets = await live.get('secrets', TICKET_KEYS_SECRET);
  if (tickets === null) await live.insert('secrets', TICKET_KEYS_SECRET, fresh(TICKET_KEYS_BYTES, 'base64'));
  else if (typeof tickets['at'] === 'number' && clock.now() - tickets['at'] >= TICKET_KEYS_AGE_MS)
    await live.replace('secrets', TICKET_KEYS_SECRET, tickets.v, fresh(TICKET_KEYS_BYTES, 'base64'));
}

/**
 * Sessions of people: a random id in an HttpOnly, SameSite=Strict cookie, kept as SHA-256. The CSRF token is
 * derived from the id, so nothing but the cookie's holder can know it. They end after twelve hours, with a change of
 * the password, and with the user.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import type { LiveStore } from '../../shared/store/contract.ts';
import { Remembered } from './remembered.ts';
import type { User, Users } from './users.ts';

const COOKIE = 'kontrol_session';
const LIFETIME_MS = 12 * 3_600_000;

export class Sessions {
  readonly #live: LiveStore;
  readonly #clock: Clock;
  readonly #users: Users;
  readonly #secure: boolean;
  readonly #remembered: Remembered;

  /** `secure`: the API speaks TLS, so the cookie never travels without. */
  constructor(live: LiveStore, clock: Clock, users: Users, secure: boolean) {
    this.#live = live;
    this.#clock = clock;
    this.#users = users;
    this.#secure = secure;
    this.#remembered = new Remembered(live, 'sessions', clock);
  }

  /** Starts a session; `cookie` is the value for Set-Cookie. */
  async start(user: User): Promise<{ cookie: string; csrf: string }> {
    const id = randomBytes(32).toString('base64url');
    const expires = this.#clock.now() + LIFETIME_MS;
    await this.#live.insert('sessions', keyOf(id), { user: user.name, epoch: user.epoch, expires });
    return { cookie: this.#cookie(id, LIFETIME_MS / 1_000), csrf: csrfOf(id) };
  }

  /** The user of a session, or null when there is none (any more). */
  async userOf(id: string): Promise<User | null> {
    const document = await this.#remembered.get(keyOf(id));
    if (document === null) return null;
    if (typeof document.expires !== 'number' || document.expires <= this.#clock.now()) return null;
    if (typeof document.user !== 'string') return null;
    const user = await this.#users.get(document.user);
    return user !== null && user.epoch === document.epoch ? user : null;
  }

  /** Ends a session; the answer is a Set-Cookie that removes the cookie. */
  async end(id: string | null): Promise<string> {
    if (id !== null) {
      await this.#live.delete('sessions', keyOf(id)).finally(() => this.#remembered.forget(keyOf(id)));
    }
    return this.#cookie('', 0);
  }

  /** Removes what has ended. */
  async sweep(): Promise<void> {
    const now = this.#clock.now();
    for (const { _id, v, expires } of await this.#live.list('sessions')) {
      if (typeof expires === 'number' && expires > now) continue;
      await this.#live.delete('sessions', _id, v);
      this.#remembered.forget(_id);
    }
  }

  #cookie(value: string, seconds: number): string {
    const secure = this.#secure ? '; Secure' : '';
    return `${COOKIE}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${seconds}${secure}`;
  }
}

/** The session id in a Cookie header; null when there is none. */
export function sessionIdOf(cookies: string | undefined): string | null {
  for (const pair of (cookies ?? '').split(';')) {
    const at = pair.indexOf('=');
    if (at < 0 || pair.slice(0, at).trim() !== COOKIE) continue;
    const value = pair.slice(at + 1).trim();
    return /^[A-Za-z0-9_-]{43}$/.test(value) ? value : null;
  }
  return null;
}

export function csrfOf(id: string): string {
  return createHmac('sha256', id).update('csrf').digest('base64url');
}

/** Compares in constant time. */
export function csrfMatches(id: string, given: string | undefined): boolean {
  const expected = Buffer.from(csrfOf(id));
  const actual = Buffer.from(given ?? '');
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

function keyOf(id: string): string {
  return createHash('sha256').update(id).digest('hex');
}

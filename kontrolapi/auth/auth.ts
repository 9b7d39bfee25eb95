/** Everything that knows who calls: tokens, users, sessions, the login limiter, and the check of each request. */
import type { IncomingMessage } from 'node:http';
import { canonicalAddress } from '../../shared/address.ts';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { LiveStore } from '../../shared/store/contract.ts';
import { Audit } from './audit.ts';
import type { Caller } from './caller.ts';
import { LoginLimiter } from './login-limiter.ts';
import { csrfMatches, Sessions, sessionIdOf } from './sessions.ts';
import { Tokens } from './tokens.ts';
import { type User, Users } from './users.ts';

const WRITE_USES_MS = 60_000;
const SAFE_METHODS = new Set(['GET', 'HEAD']);

export interface AuthOptions {
  readonly live: LiveStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly apiToken: string | null;
  readonly secureCookie: boolean;
}

export class Auth {
  readonly tokens: Tokens;
  readonly users: Users;
  readonly sessions: Sessions;
  readonly audit: Audit;
  readonly #limiter: LoginLimiter;
  readonly #clock: Clock;
  readonly #log: Log;
  #cancel: (() => void) | null = null;
  #closed = false;

  constructor(options: AuthOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.tokens = new Tokens(options.live, options.clock, options.apiToken);
    this.users = new Users(options.live, options.clock);
    this.sessions = new Sessions(options.live, options.clock, this.users, options.secureCookie);
    this.#limiter = new LoginLimiter(options.clock);
    this.audit = new Audit(options.log, options.clock);
  }

  /** Learns tokens and users now, and writes down uses every minute. */
  start(): void {
    void this.#tend();
  }

  /** Who makes this request. Throws `unauthorized` or `csrf`; `store_unavailable` when it cannot be told. */
  async identify(request: IncomingMessage): Promise<Caller> {
    const authorization = request.headers.authorization;
    if (authorization !== undefined) {
      const token = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization)?.[1];
      const caller = token === undefined ? null : await this.tokens.identify(token);
      if (caller !== null) {
        const address = canonicalAddress(request.socket.remoteAddress ?? '');
        this.audit.noteOnce('token_used', { by: caller.name, address });
        return caller;
      }
      throw new KontrolError('unauthorized', 'The token is unknown or has ended; ask an admin for a new one');
    }
    const session = sessionIdOf(request.headers.cookie);
    const user = session === null ? null : await this.sessions.userOf(session);
    if (session === null || user === null) {
      throw new KontrolError(
        'unauthorized',
        'Send Authorization: Bearer with a token, or log in with POST /v1/session',
      );
    }
    const csrf = request.headers['x-csrf-token'];
    if (!SAFE_METHODS.has(request.method ?? '') && !csrfMatches(session, csrf as string | undefined)) {
      throw new KontrolError('csrf');
    }
    return { name: user.name, role: user.role, service: null, user: user.name };
  }

  /**
   * The user when the password is right. Throws `unauthorized` with `wrong`, `rate_limited` after too many failures,
   * `store_unavailable`; what the store or a rush prevents is no failure.
   */
  async logIn(name: string, password: string, address: string, wrong: string): Promise<User> {
    try {
      this.#limiter.attempt(name, address);
    } catch (error) {
      this.audit.noteOnce('login_refused', { by: name, address });
      throw error;
    }
    let user: User | null;
    try {
      user = await this.users.logIn(name, password);
    } catch (error) {
      this.#limiter.withdrawn(name, address);
      throw error;
    }
    if (user === null) {
      this.audit.note('login_failed', { by: name, address });
      throw new KontrolError('unauthorized', wrong);
    }
    this.#limiter.succeeded(name, address);
    this.audit.note('login', { by: user.name, address });
    return user;
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  async #tend(): Promise<void> {
    await this.tokens.preload();
    await this.users.preload();
    try {
      await this.tokens.writeUses();
      await this.sessions.sweep();
    } catch (error) {
      this.#log.debug('auth_upkeep_failed', 'tokens and sessions are tended at the next turn', {
        reason: (error as Error).message,
      });
    }
    if (!this.#closed) this.#cancel = this.#clock.after(WRITE_USES_MS, () => void this.#tend());
  }
}

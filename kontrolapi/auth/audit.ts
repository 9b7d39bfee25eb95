/**
 * The audit trail of people and machines, as lines of the log: logins and failed ones, changes of users and tokens,
 * and from where a token is used. Never a password or the text of a token. What comes again and again (the use of a
 * token, refusals of an address that guesses) is told once an hour, so that nobody can flood the log with it.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';

const AGAIN_MS = 3_600_000;
const MAX_TOLD = 10_000;

export type AuditEvent =
  | 'login'
  | 'login_failed'
  | 'login_refused'
  | 'logout'
  | 'password_changed'
  | 'user_created'
  | 'user_changed'
  | 'user_removed'
  | 'token_created'
  | 'token_revoked'
  | 'token_used';

export interface AuditDetails {
  /** Who did it: `token/NAME` or the name of a user; of a login, who it was tried for. */
  readonly by: string;
  /** Address of the caller. */
  readonly address: string;
  /** The user or token that it was done to. */
  readonly subject?: string;
}

export class Audit {
  readonly #log: Log;
  readonly #clock: Clock;
  /** When something that repeats was last told, on the monotonic clock; oldest first. */
  readonly #told = new Map<string, number>();

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  note(event: AuditEvent, { by, address, subject }: AuditDetails): void {
    const text = `audit: ${event} by ${by} from ${address}${subject === undefined ? '' : `: ${subject}`}`;
    this.#log.info(`audit_${event}`, text, { by, address, ...(subject === undefined ? {} : { subject }) });
  }

  /** The same, at most once an hour for these details. */
  noteOnce(event: AuditEvent, details: AuditDetails): void {
    const key = `${event} ${details.by} ${details.address}`;
    const now = this.#clock.monotonic();
    const told = this.#told.get(key);
    if (told !== undefined && now - told < AGAIN_MS) return;
    this.#told.delete(key);
    if (this.#told.size >= MAX_TOLD) {
      const oldest = this.#told.keys().next().value;
      if (oldest !== undefined) this.#told.delete(oldest);
    }
    this.#told.set(key, now);
    this.note(event, details);
  }
}

/** Watches the body of a request: its size, and the mean rate at which it comes, without the time it was held back. */
import type { CauseCode } from '../../shared/causes.ts';

export interface BodyLimits {
  /** Bytes of data; 0 = no limit. */
  readonly body: number;
  /** Mean bytes per second; 0 = no limit. */
  readonly bodyRate: number;
}

/** The mean rate is first looked at after this time. */
const RATE_GRACE_MS = 60_000;

/** All times on the wheel's clock. */
export class BodyWatch {
  limits: BodyLimits = { body: 0, bodyRate: 0 };
  /** When the first of it came, below 0 before: nobody is slow who has not been asked for it yet (RFC 9110 §10.1.1). */
  #beganAt = -1;
  #heldSince = -1;
  #heldMs = 0;

  start(limits: BodyLimits): void {
    this.limits = limits;
    this.#beganAt = -1;
    this.#heldSince = -1;
    this.#heldMs = 0;
  }

  /** What is wrong with a body of which `dataBytes` have come, or null; asked whenever some of it has come. */
  violation(dataBytes: number, done: boolean, now: number): CauseCode | null {
    const { body, bodyRate } = this.limits;
    if (this.#beganAt < 0) this.#beganAt = now;
    if (body > 0 && dataBytes > body) return 'body_too_large';
    const elapsed = now - this.#beganAt - this.#heldMs;
    if (bodyRate === 0 || elapsed < RATE_GRACE_MS || done) return null;
    return dataBytes < (elapsed / 1_000) * bodyRate ? 'body_timeout' : null;
  }

  /** We hold the client back from now on: that time is not its fault. */
  hold(now: number): void {
    if (this.#heldSince < 0) this.#heldSince = now;
  }

  letFlow(now: number): void {
    if (this.#heldSince >= 0) this.#heldMs += now - this.#heldSince;
    this.#heldSince = -1;
  }
}

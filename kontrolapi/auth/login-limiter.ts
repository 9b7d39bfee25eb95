/**
 * Slows down guessing of passwords: five failures per user and address, and thirty per address, in fifteen minutes;
 * then 429. Keyed by address too, so that nobody can lock someone else out. Kept in memory, bounded.
 */
import ipaddr from 'ipaddr.js';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';

const WINDOW_MS = 15 * 60_000;
const PER_USER_AND_ADDRESS = 5;
const PER_ADDRESS = 30;
const MAX_COUNTERS = 20_000;

interface Counter {
  failures: number;
  /** When the window ends, on the monotonic clock. */
  until: number;
}

export class LoginLimiter {
  readonly #clock: Clock;
  readonly #counters = new Map<string, Counter>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Throws `rate_limited` when there were too many failures. Counts the attempt as failed until `succeeded`. */
  attempt(user: string, address: string): void {
    const client = clientOf(address);
    const limits: [string, number][] = [
      [`${client} ${user}`, PER_USER_AND_ADDRESS],
      [client, PER_ADDRESS],
    ];
    for (const [key, limit] of limits) {
      // Only looked at: an attempt that is refused must not push out what is counted, its own address first.
      const counter = this.#running(key);
      if (counter === undefined || counter.failures < limit) continue;
      const retryAfter = Math.ceil((counter.until - this.#clock.monotonic()) / 1_000);
      throw new KontrolError(
        'rate_limited',
        `Too many failed logins; try again in ${Math.ceil(retryAfter / 60)} min`,
        [],
        { retryAfter },
      );
    }
    for (const [key] of limits) this.#counter(key).failures++;
  }

  /** The attempt told nothing about the password: it counts as if it had not been made. */
  withdrawn(user: string, address: string): void {
    const client = clientOf(address);
    for (const key of [`${client} ${user}`, client]) this.#forgive(key);
  }

  succeeded(user: string, address: string): void {
    const client = clientOf(address);
    this.#counters.delete(`${client} ${user}`);
    this.#forgive(client);
  }

  #forgive(key: string): void {
    const counter = this.#running(key);
    if (counter !== undefined) counter.failures = Math.max(0, counter.failures - 1);
  }

  /** The counter whose window has not ended; undefined when there is none. */
  #running(key: string): Counter | undefined {
    const known = this.#counters.get(key);
    return known !== undefined && known.until > this.#clock.monotonic() ? known : undefined;
  }

  #counter(key: string): Counter {
    const known = this.#running(key);
    if (known !== undefined) return known;
    this.#counters.delete(key);
    if (this.#counters.size >= MAX_COUNTERS) {
      const oldest = this.#counters.keys().next().value;
      if (oldest !== undefined) this.#counters.delete(oldest);
    }
    const counter = { failures: 0, until: this.#clock.monotonic() + WINDOW_MS };
    this.#counters.set(key, counter);
    return counter;
  }
}

/** One client: an IPv4 address, or the /64 of an IPv6 one. */
function clientOf(address: string): string {
  if (!ipaddr.IPv6.isValid(address)) return address;
  return ipaddr.IPv6.parse(address).parts.slice(0, 4).join(':');
}

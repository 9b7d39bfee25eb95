/**
 * How many file descriptors this process may still open. Past its limit libuv accepts connections only to drop
 * them, so whoever accepts asks here first and stops in time.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';

/** Share of the limit at which accepting stops; the rest is for connections to backends. */
const SHARE = 0.9;

/** The soft limit of open descriptors; null when the system does not say. */
export function descriptorLimit(): number | null {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return line === null ? null : Number(line[1]);
  } catch {
    return null;
  }
}

export class Descriptors {
  /** Descriptors at which accepting stops; null = unknown. */
  readonly mark: number | null;
  /** How many connections may be accepted between two looks, so that a look costs nothing that counts. */
  readonly stride: number;

  constructor(limit: number | null = descriptorLimit()) {
    this.mark = limit === null ? null : Math.max(1, Math.floor(limit * SHARE));
    this.stride = limit === null ? 64 : Math.min(64, Math.max(1, Math.floor(limit / 200)));
  }

  /** Whether so many are open that no connection should be accepted now. */
  full(): boolean {
    if (this.mark === null) return false;
    try {
      // The kernel gives the lowest free number: one at the mark says that as many are in use.
      const lowestFree = openSync('/dev/null', 'r');
      closeSync(lowestFree);
      return lowestFree >= this.mark;
    } catch {
      return true;
    }
  }
}

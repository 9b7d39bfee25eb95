/**
 * How many file descriptors this process may still open. Past its limit libuv accepts connections only to drop
 * them, so whoever accepts asks here first and stops in time. Who is accepted may ask at once: a descriptor to a
 * backend is kept for each, for at most a thousand of them at one time.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';

/** Share of the limit at which accepting stops, whatever holds the descriptors. */
const SHARE = 0.9;
/** Descriptors that a process opens after its start and that are neither visitors nor backends: listeners, logs. */
const OWN = 16;
/** Most descriptors that are kept for connections to backends. */
const RESERVE = 1_000;

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
  /** Most connections of visitors that there are descriptors for; Infinity = unknown. */
  readonly connections: number;

  constructor(limit: number | null = descriptorLimit()) {
    this.mark = limit === null ? null : Math.max(1, Math.floor(limit * SHARE));
    this.stride = limit === null ? 64 : Math.min(64, Math.max(1, Math.floor(limit / 200)));
    this.connections = this.mark === null ? Number.POSITIVE_INFINITY : connectionsWithin(this.mark);
  }

  /** Whether so many are open that no connection should be accepted now. */
  full(): boolean {
    if (this.mark === null) return false;
    try {
      // The kernel gives the lowest free number: one at the mark says that as many are in use.
      return lowestFree() >= this.mark;
    } catch {
      return true;
    }
  }
}

function lowestFree(): number {
  const fd = openSync('/dev/null', 'r');
  closeSync(fd);
  return fd;
}

function connectionsWithin(mark: number): number {
  try {
    const room = mark - lowestFree() - OWN;
    return Math.max(1, Math.floor(room / 2), room - RESERVE);
  } catch {
    return 1;
  }
}

let resident = 0;
/** Bytes of memory that this process holds; what they were last when no descriptor is free to read them with. */
export function residentBytes(): number {
  try {
    resident = process.memoryUsage.rss();
  } catch {
    // EMFILE: the number is read from a file.
  }
  return resident;
}

/**
 * Decides when this process accepts. It stops while it is nearly out of descriptors or at the configured number of
 * connections, and for a moment when it holds well more than its share: processes that accept on one socket without
 * a dispatcher share unevenly, and the kernel wakes whom it likes.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Descriptors } from './descriptors.ts';

/**
 * How long a process above its share leaves newcomers to the others. Until the mean is told anew each pause is twice the
 * one before: where processors are short, the others may not have had one in the first.
 */
const SHARE_PAUSE_MS = 20;
const LONGEST_SHARE_PAUSE_MS = 80;
/** Above the mean by this factor and this number is "well above". */
const SHARE_FACTOR = 1.25;
const SHARE_FLOOR = 16;
/** How often a process that is full looks whether it still is. */
const FULL_CHECK_MS = 100;
/** One line about being full per this time. */
const LOG_INTERVAL_MS = 60_000;

export interface Gate {
  /** False when it cannot be paused now. */
  pause(): boolean;
  resume(): void;
}

export interface AdmissionOptions {
  readonly gate: Gate;
  readonly descriptors: Pick<Descriptors, 'full' | 'stride' | 'connections'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Most connections of this process; 0 = no limit. */
  maxConnections(): number;
}

export class Admission {
  readonly #options: AdmissionOptions;
  #open = 0;
  #sinceLook = 0;
  /** Open connections above which this process steps back; Infinity when it is alone. */
  #allowance = Number.POSITIVE_INFINITY;
  #sharePauseMs = SHARE_PAUSE_MS;
  #cancel: (() => void) | null = null;
  #full = false;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#open;
  }

  opened(): void {
    this.#open++;
    if (this.#closed || this.#cancel !== null) return;
    if (++this.#sinceLook >= this.#options.descriptors.stride) {
      this.#sinceLook = 0;
      if (this.#scarce()) {
        this.#stop('descriptors');
        return;
      }
    }
    const max = this.#options.maxConnections();
    if (max > 0 && this.#open >= max) this.#stop('connections');
    else if (this.#open > this.#allowance) this.#stepBack();
  }

  closed(): void {
    this.#open--;
  }

  /** What the primary knows: open connections per process on average; null when this process is alone. */
  setMean(mean: number | null): void {
    this.#allowance = mean === null ? Number.POSITIVE_INFINITY : mean * SHARE_FACTOR + SHARE_FLOOR;
    this.#sharePauseMs = SHARE_PAUSE_MS;
  }

  /** The kernel gave an error instead of a connection. */
  failed(): void {
    if (!this.#closed && this.#cancel === null) this.#stop('descriptors');
  }

  /** Nothing is paused or resumed any more. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#cancel = null;
  }

  #stepBack(): void {
    // In a rush everybody is above an old mean: each further pause comes after twice as many connections.
    this.#allowance = this.#open * 2;
    if (!this.#options.gate.pause()) return;
    this.#cancel = this.#options.clock.after(this.#sharePauseMs, () => this.#go());
    this.#sharePauseMs = Math.min(this.#sharePauseMs * 2, LONGEST_SHARE_PAUSE_MS);
  }

  #stop(why: 'descriptors' | 'connections'): void {
    if (!this.#options.gate.pause()) return;
    this.#full = true;
    const now = this.#options.clock.monotonic();
    if (now - this.#loggedAt >= LOG_INTERVAL_MS) {
      this.#loggedAt = now;
      this.#options.log.warn('accepting_paused', adviceFor(why), { why, connections: this.#open });
    }
    this.#check();
  }

  #check(): void {
    this.#cancel = this.#options.clock.after(FULL_CHECK_MS, () => {
      const max = this.#options.maxConnections();
      if (this.#scarce() || (max > 0 && this.#open >= max)) this.#check();
      else this.#go();
    });
  }

  /** Whether the descriptors are needed for what is open. */
  #scarce(): boolean {
    const { descriptors } = this.#options;
    return this.#open >= descriptors.connections || descriptors.full();
  }

  #go(): void {
    this.#cancel = null;
    this.#full = false;
    this.#options.gate.resume();
  }

  /** Whether it is full, as opposed to stepping back for a moment. */
  get full(): boolean {
    return this.#full;
  }
}

function adviceFor(why: 'descriptors' | 'connections'): string {
  return why === 'descriptors'
    ? 'Nearly out of file descriptors: new connections wait until some are closed; raise the limit (ulimit -n)'
    : 'At settings.limits.connections: new connections wait until some are closed';
}

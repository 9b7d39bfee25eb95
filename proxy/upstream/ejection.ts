/**
 * Ejection of one backend by what it answers (`eject`): so many 5xx in a row, or first bytes that take too long, on
 * average and compared with the others. It is out for `passive.offline`, longer each time it happens again, and comes
 * back by time alone: a connection that it accepts proves nothing about its answers.
 */
import type { Log } from '../../shared/log.ts';
import type { ResolvedEject } from '../../shared/model/service.ts';
import type { Timed, TimerWheel } from '../stream/timer-wheel.ts';
import type { AnswerSignals } from './contract.ts';
import type { FailureReport } from './failure-report.ts';
import { MAX_OFFLINE_MS } from './passive-health.ts';

/** The mean is of about so many answers, and says nothing before there were as many. */
const MEAN_OF = 8;
/** An outlier takes this many times as long as the others. */
const OUTLIER = 2;
/** Comparing with the others, and telling other processes, happens at most this often. */
const EVERY_MS = 100;
/** One that was back for this many times as long as it was out begins again with the shortest time. */
const FORGIVEN = 2;

/** What it needs of its process; a part of `UpstreamContext`. */
interface EjectionContext {
  readonly timers: TimerWheel;
  readonly log: Log;
  /** For the other processes of the node. */
  onFailures(failures: readonly FailureReport[]): void;
}

/** What it needs of its endpoint. */
export interface EjectionOwner {
  readonly service: string;
  readonly address: string;
  readonly context: EjectionContext;
  /** `passive.offline` as it is now. */
  offlineMs(): number;
  /** Whether so many others are alive that this one may be out. */
  maySpare(maxShare: number): boolean;
  /** Mean milliseconds to the first byte of the others that are alive; null when there is nothing to compare with. */
  meanOfOthers(): number | null;
  /** It is out, or back. */
  ejectionChanged(): void;
}

export class Ejection implements AnswerSignals, Timed {
  timerDue = 0;
  timerQueued = false;
  config: ResolvedEject;
  /** Why it is out; null while it is not. */
  reason: string | null = null;
  #closed = false;
  readonly #owner: EjectionOwner;
  /** 5xx in a row, here and in other processes of the node. */
  #failures = 0;
  /** Of those, what other processes have not been told. */
  #untold = 0;
  /** Others count 5xx of this process: they have to hear of the answer that ends the row. */
  #told = false;
  #toldAt = Number.NEGATIVE_INFINITY;
  #meanMs = 0;
  #answers = 0;
  #comparedAt = Number.NEGATIVE_INFINITY;
  #periods = 0;
  #lastMs = 0;
  #backAt = Number.NEGATIVE_INFINITY;

  constructor(config: ResolvedEject, owner: EjectionOwner) {
    this.config = config;
    this.#owner = owner;
  }

  get ejected(): boolean {
    return this.reason !== null;
  }

  /** Mean milliseconds to the first byte; null while too few answers came. */
  get meanMs(): number | null {
    return this.#answers < MEAN_OF ? null : this.#meanMs;
  }

  answered(status: number, firstByteMs: number): void {
    if (this.reason !== null || this.#closed) return;
    const { status5xx, latencyMs } = this.config;
    if (status5xx > 0) this.#count(status);
    if (latencyMs !== null && firstByteMs >= 0 && this.reason === null) this.#time(firstByteMs, latencyMs);
  }

  /** `count` answers 5xx in another process of the node; 0: there it was well again, so they are no longer in a row. */
  remoteAnswered(count: number): void {
    if (this.reason !== null || this.config.status5xx === 0) return;
    this.#failures = count === 0 ? 0 : this.#failures + count;
    if (count > 0) this.#judge();
  }

  /**
   * Another process has taken it out for this time. Several may take out another one each at the same moment; what
   * one of them keeps is asked here again, or together they would leave nobody.
   */
  remoteEjected(ms: number): void {
    if (this.reason !== null || !this.#owner.maySpare(this.config.maxShare)) return;
    this.#out(Math.min(ms, MAX_OFFLINE_MS), 'as in another process of this node');
  }

  /** Back before its time: an answer that may be bad is better than none. */
  pardon(): void {
    if (this.reason === null) return;
    this.#backAt = this.#owner.context.timers.now;
    this.#back();
    this.#owner.ejectionChanged();
  }

  /** All is forgiven: somebody else is at the address. */
  reset(): void {
    this.#periods = 0;
    this.#backAt = Number.NEGATIVE_INFINITY;
    this.#back();
  }

  onTimeout(): void {
    this.#backAt = this.#owner.context.timers.now;
    this.#back();
    this.#owner.ejectionChanged();
  }

  /** Answers that are still under way do not count any more. */
  close(): void {
    this.#closed = true;
    this.#owner.context.timers.remove(this);
  }

  #count(status: number): void {
    if (status < 500) {
      this.#failures = 0;
      this.#untold = 0;
      if (this.#told) this.#tell({ count: 0, status5xx: 0 });
      this.#told = false;
      return;
    }
    this.#failures++;
    this.#untold++;
    if (this.#judge()) return;
    const { now } = this.#owner.context.timers;
    if (now - this.#toldAt < EVERY_MS) return;
    this.#toldAt = now;
    this.#tell({ count: 0, status5xx: this.#untold });
    this.#untold = 0;
    this.#told = true;
  }

  #judge(): boolean {
    const { status5xx, maxShare } = this.config;
    if (this.#failures < status5xx || !this.#owner.maySpare(maxShare)) return false;
    this.#eject(`it answered ${this.#failures} times in a row with 5xx`);
    return true;
  }

  #time(ms: number, limitMs: number): void {
    this.#answers++;
    this.#meanMs += (ms - this.#meanMs) / Math.min(this.#answers, MEAN_OF);
    if (this.#answers < MEAN_OF || this.#meanMs <= limitMs) return;
    const { now } = this.#owner.context.timers;
    if (now - this.#comparedAt < EVERY_MS) return;
    this.#comparedAt = now;
    const others = this.#owner.meanOfOthers();
    if (others === null || this.#meanMs < others * OUTLIER || !this.#owner.maySpare(this.config.maxShare))
      return;
    this.#eject(`its first bytes take ${Math.round(this.#meanMs)} ms, the others' ${Math.round(others)} ms`);
  }

  #eject(reason: string): void {
    const { context } = this.#owner;
    const offlineMs = this.#owner.offlineMs();
    if (context.timers.now - this.#backAt > this.#lastMs * FORGIVEN) this.#periods = 0;
    this.#periods++;
    const grown = Math.min(offlineMs * 2 ** Math.min(this.#periods - 1, 30), MAX_OFFLINE_MS);
    const ms = Math.max(offlineMs, grown);
    this.#out(ms, reason);
    this.#tell({ count: 0, ejectedMs: ms });
  }

  #out(ms: number, reason: string): void {
    const { service, address, context } = this.#owner;
    this.reason = reason;
    this.#lastMs = ms;
    context.timers.set(this, ms);
    context.log.warn('backend_ejected', `backend ${address} is out: ${reason}`, {
      service,
      address,
      offlineMs: ms,
    });
    this.#owner.ejectionChanged();
  }

  #back(): void {
    this.#owner.context.timers.clear(this);
    this.reason = null;
    this.#failures = 0;
    this.#untold = 0;
    this.#told = false;
    this.#answers = 0;
    this.#meanMs = 0;
  }

  #tell(report: Omit<FailureReport, 'service' | 'address'>): void {
    const { service, address, context } = this.#owner;
    context.onFailures([{ service, address, ...report }]);
  }
}

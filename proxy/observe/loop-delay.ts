/**
 * How late the timers of this process are: what everything else in it waits for, too. Sampled by libuv itself, without
 * JavaScript, and added to the buckets of `histogram.ts` whenever a snapshot is taken.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { BUCKETS, bucketOf, pairsOf } from './histogram.ts';

/** Milliseconds between two samples. */
const EVERY_MS = 20;
const NS_PER_MS = 1e6;

export class LoopDelay {
  readonly #sampled: Pick<IntervalHistogram, 'count' | 'percentiles' | 'reset' | 'disable'>;
  readonly #counts = new Float64Array(BUCKETS);

  constructor(sampled?: Pick<IntervalHistogram, 'count' | 'percentiles' | 'reset' | 'disable'>) {
    if (sampled !== undefined) {
      this.#sampled = sampled;
      return;
    }
    const own = monitorEventLoopDelay({ resolution: EVERY_MS });
    own.enable();
    this.#sampled = own;
  }

  /** Samples since the start as pairs of bucket and count, without the empty ones. */
  totals(): number[] {
    this.#take();
    return pairsOf(this.#counts);
  }

  close(): void {
    this.#sampled.disable();
  }

  /** The share below each percentile is turned back into how many samples lie between it and the one before. */
  #take(): void {
    const { count, percentiles } = this.#sampled;
    let below = 0;
    for (const [percentile, ns] of percentiles) {
      const upTo = Math.round((percentile / 100) * count);
      if (upTo <= below) continue;
      const bucket = bucketOf(Math.max(0, ns / NS_PER_MS - EVERY_MS));
      this.#counts[bucket] = (this.#counts[bucket] as number) + upTo - below;
      below = upTo;
    }
    this.#sampled.reset();
  }
}

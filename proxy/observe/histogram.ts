/**
 * Buckets for durations: ten per decade from 0.1 ms to 100 s, so any quantile is right to within a quarter, and every
 * bound that Prometheus users expect (1, 2.5 and 5 of each decade) is exactly a bound here.
 */
const STEPS = [1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8] as const;
const FIRST_DECADE = -1;
const LAST_DECADE = 4;

/** Upper bounds in milliseconds, inclusive and growing; one more bucket holds what is above the last. */
export const BOUNDS_MS: Float64Array = Float64Array.from(
  Array.from({ length: LAST_DECADE - FIRST_DECADE + 1 }, (_, i) => FIRST_DECADE + i)
    .flatMap((decade) => STEPS.map((step) => Number(`${step}e${decade}`)))
    .concat(10 ** (LAST_DECADE + 1)),
);
export const BUCKETS = BOUNDS_MS.length + 1;

/** Counts by bucket as pairs of bucket and count, without the empty ones: how they travel between processes. */
export function pairsOf(counts: Float64Array): number[] {
  const pairs: number[] = [];
  counts.forEach((count, bucket) => {
    if (count > 0) pairs.push(bucket, count);
  });
  return pairs;
}

/** The bucket that `ms` belongs to, 0 … BUCKETS - 1. */
export function bucketOf(ms: number): number {
  let low = 0;
  let high = BOUNDS_MS.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    // In range: 0 <= low <= middle < high <= length.
    if ((BOUNDS_MS[middle] as number) < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The duration in milliseconds below which the share `q` (0…1) of the counts lies, interpolated within its bucket; null
 * without counts. `counts` has BUCKETS entries.
 */
export function quantile(counts: ArrayLike<number>, q: number): number | null {
  let total = 0;
  for (let i = 0; i < BUCKETS; i++) total += counts[i] ?? 0;
  if (total === 0) return null;
  let rest = Math.min(1, Math.max(0, q)) * total;
  for (let i = 0; i < BUCKETS; i++) {
    const count = counts[i] ?? 0;
    if (count > 0 && rest <= count) {
      const from = i === 0 ? 0 : (BOUNDS_MS[i - 1] as number);
      return from + ((BOUNDS_MS[i] ?? from) - from) * (rest / count);
    }
    rest -= count;
  }
  return BOUNDS_MS[BOUNDS_MS.length - 1] as number;
}

/**
 * Requests by domain, for the figures of the last minutes: what grew since the last snapshot, and nothing else is kept,
 * so that domains that are gone leave nothing behind. Bounded: domains beyond the limit count as `(other)`. A request
 * for the domain of the one before costs a comparison and four additions.
 */
import type { RequestRecord } from './record.ts';

/** Label values that no domain can have. */
export const NO_DOMAIN = '(none)';
export const OTHER_DOMAINS = '(other)';
/** Domains that are counted apart between two snapshots of one process. */
const MAX_DOMAINS = 2_000;
/** Domains in one snapshot; the rest follow in the next ones. */
const MAX_PER_SNAPSHOT = 500;

/** Places in the counts of one domain. */
export const DOMAIN_COUNT = { requests: 0, errors: 1, bytesOut: 2, timeMs: 3 } as const;
export const DOMAIN_COUNTS = 4;

/** What grew since the snapshot before, by domain. */
export type DomainGrowth = readonly (readonly [name: string, ...counts: number[]])[];

interface Counted {
  readonly name: string;
  readonly counts: Float64Array;
}

export class DomainCounts {
  readonly #domains = new Map<string, Counted>();
  #last: Counted = this.#find(NO_DOMAIN);

  count(record: RequestRecord): void {
    const name = record.domain ?? NO_DOMAIN;
    if (name !== this.#last.name) this.#last = this.#find(name);
    const { counts } = this.#last;
    // All places are below DOMAIN_COUNTS.
    counts[DOMAIN_COUNT.requests] = (counts[DOMAIN_COUNT.requests] as number) + 1;
    if (record.status >= 500) counts[DOMAIN_COUNT.errors] = (counts[DOMAIN_COUNT.errors] as number) + 1;
    counts[DOMAIN_COUNT.bytesOut] = (counts[DOMAIN_COUNT.bytesOut] as number) + record.bytesOut;
    counts[DOMAIN_COUNT.timeMs] = (counts[DOMAIN_COUNT.timeMs] as number) + record.totalMs;
  }

  /** Takes what was counted since it was last called, of at most 500 domains. */
  take(): DomainGrowth {
    const taken: [string, ...number[]][] = [];
    for (const { name, counts } of this.#domains.values()) {
      if (taken.length >= MAX_PER_SNAPSHOT) break;
      this.#domains.delete(name);
      // The one of the last request may have nothing new.
      if (counts[DOMAIN_COUNT.requests] !== 0) taken.push([name, ...counts]);
    }
    // What was taken must not be counted on through the short cut.
    this.#last = this.#find(NO_DOMAIN);
    return taken;
  }

  #find(name: string): Counted {
    const known = this.#domains.get(name);
    if (known !== undefined) return known;
    if (this.#domains.size >= MAX_DOMAINS && name !== OTHER_DOMAINS && name !== NO_DOMAIN)
      return this.#find(OTHER_DOMAINS);
    const domain = { name, counts: new Float64Array(DOMAIN_COUNTS) };
    this.#domains.set(name, domain);
    return domain;
  }
}

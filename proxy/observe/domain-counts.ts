/**
 * Requests by domain, for the figures of the last minutes. Bounded: domains beyond the limit count as `(other)`. A
 * request for the domain of the one before costs a comparison and four additions.
 */
import type { RequestRecord } from './record.ts';

/** Label values that no domain can have. */
export const NO_DOMAIN = '(none)';
export const OTHER_DOMAINS = '(other)';
/** Domains that are counted apart in one process. */
const MAX_DOMAINS = 2_000;
/** Domains in one snapshot; the rest follow in the next ones. */
const MAX_PER_SNAPSHOT = 500;

/** Places in the counts of one domain. */
export const DOMAIN_COUNT = { requests: 0, errors: 1, bytesOut: 2, timeMs: 3 } as const;
export const DOMAIN_COUNTS = 4;

/** Totals since the process started, of the domains that changed. */
export type DomainTotals = readonly (readonly [name: string, ...counts: number[]])[];

interface Counted {
  readonly name: string;
  readonly counts: Float64Array;
  changed: boolean;
}

export class DomainCounts {
  readonly #domains = new Map<string, Counted>();
  #last: Counted = this.#find(NO_DOMAIN);

  count(record: RequestRecord): void {
    const name = record.domain ?? NO_DOMAIN;
    if (name !== this.#last.name) this.#last = this.#find(name);
    const { counts } = this.#last;
    this.#last.changed = true;
    // All places are below DOMAIN_COUNTS.
    counts[DOMAIN_COUNT.requests] = (counts[DOMAIN_COUNT.requests] as number) + 1;
    if (record.status >= 500) counts[DOMAIN_COUNT.errors] = (counts[DOMAIN_COUNT.errors] as number) + 1;
    counts[DOMAIN_COUNT.bytesOut] = (counts[DOMAIN_COUNT.bytesOut] as number) + record.bytesOut;
    counts[DOMAIN_COUNT.timeMs] = (counts[DOMAIN_COUNT.timeMs] as number) + record.totalMs;
  }

  /** `full`: all of them, for a sync that is new. */
  totals(full: boolean): DomainTotals {
    const totals: [string, ...number[]][] = [];
    for (const domain of this.#domains.values()) {
      if (!full && (!domain.changed || totals.length >= MAX_PER_SNAPSHOT)) continue;
      domain.changed = false;
      totals.push([domain.name, ...domain.counts]);
    }
    return totals;
  }

  #find(name: string): Counted {
    const known = this.#domains.get(name);
    if (known !== undefined) return known;
    if (this.#domains.size >= MAX_DOMAINS && name !== OTHER_DOMAINS) return this.#find(OTHER_DOMAINS);
    const domain = { name, counts: new Float64Array(DOMAIN_COUNTS), changed: false };
    this.#domains.set(name, domain);
    return domain;
  }
}

/**
 * What a serving process counts of its traffic. Counting is a few additions in typed arrays; once a second a snapshot
 * with totals since the start goes to sync, where `merged-stats.ts` adds up the processes.
 */
import { CAUSES, type CauseCode } from '../../shared/causes.ts';
import type { DryRunTotals } from './dry-runs.ts';
import { BUCKETS, bucketOf, pairsOf } from './histogram.ts';
import type { RequestRecord } from './record.ts';

/** Label values that no service can have: requests that reached none, and those beyond MAX_SERVICES. */
export const NO_SERVICE = '(none)';
export const OTHER_SERVICES = '(other)';
/** Services that are counted apart in one process. */
export const MAX_SERVICES = 5_000;
/** Services in one snapshot; the rest follow in the next ones. */
const MAX_PER_SNAPSHOT = 500;

export const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;

/** Places in the counts of one service. HTTP requests are those with a status; tunnels are WebSockets and TCP. */
export const COUNT = {
  /** First of five: requests by class of the status that the visitor got. */
  status: 0,
  /** Requests whose duration counts, and its sum in milliseconds: all but tunnels. */
  timed: 5,
  timeMs: 6,
  bytesIn: 7,
  bytesOut: 8,
  retries: 9,
  websockets: 10,
  tcp: 11,
  /** First of six: requests by CACHE_OUTCOMES. */
  cache: 12,
  /** Bytes of bodies that no backend sent for their request. */
  cacheBytes: 18,
} as const;
export const COUNTS = 19;

export const CACHE_OUTCOMES = ['hit', 'stale', 'revalidated', 'miss', 'collapsed', 'bypass'] as const;

/** One service in a snapshot. All numbers are totals since `born`. */
export interface ServiceStats {
  readonly name: string;
  /** Another number than before: it was forgotten in between and counts from zero again. */
  readonly born: number;
  /** By place, see COUNT. */
  readonly counts: readonly number[];
  /** Pairs of bucket and count, without the empty ones. */
  readonly times: readonly number[];
}

/** What the message `stats` carries. Totals since the process started; only services that changed are in it. */
export interface StatsSnapshot {
  readonly version: 1;
  /** Unique for each process that ever ran. */
  readonly process: string;
  readonly connectionsActive: number;
  readonly connectionsTotal: number;
  /** Records that could not be counted or logged. */
  readonly failures: number;
  readonly logLinesDropped: number;
  /** Memory that stored answers take now. */
  readonly cacheBytes?: number;
  /** How late timers came, as pairs of bucket and count; see `loop-delay.ts`. */
  readonly loopDelays?: readonly number[];
  /** Memory of the process now. */
  readonly residentBytes?: number;
  readonly causes: Readonly<Partial<Record<CauseCode, number>>>;
  readonly services: readonly ServiceStats[];
  readonly dryRuns?: DryRunTotals;
  /** Requests that wait for a backend now, of services where any does. */
  readonly queues?: Readonly<Record<string, number>>;
  /** Requests over the limit of each rate rule. */
  readonly limited?: Readonly<Record<string, number>>;
}

class ServiceCounts {
  readonly name: string;
  readonly born: number;
  readonly counts = new Float64Array(COUNTS);
  readonly times = new Float64Array(BUCKETS);
  changed = false;

  constructor(name: string, born: number) {
    this.name = name;
    this.born = born;
  }
}

const CAUSE_CODES = Object.keys(CAUSES) as CauseCode[];
const CAUSE_PLACES = new Map(CAUSE_CODES.map((code, place) => [code, place]));

export class Counters {
  connectionsActive = 0;
  connectionsTotal = 0;
  failures = 0;
  readonly #process = `${process.pid}-${Date.now()}-${Math.random().toString(36).slice(2, 8)}`;
  readonly #causes = new Float64Array(CAUSE_CODES.length);
  readonly #services = new Map<string, ServiceCounts>();
  readonly #knowsService: (name: string) => boolean;
  #born = 1;
  /** Most requests are for the service of the one before. */
  #last: ServiceCounts;

  /** `knowsService`: whether the table has it. Others are counted as `(other)`, and forgotten at the next snapshot. */
  constructor(knowsService: (name: string) => boolean = () => true) {
    this.#knowsService = knowsService;
    this.#last = this.#add(NO_SERVICE);
    this.#add(OTHER_SERVICES);
  }

  count(record: RequestRecord): void {
    const name = record.service ?? NO_SERVICE;
    if (name !== this.#last.name) this.#last = this.#find(name);
    const service = this.#last;
    const counts = service.counts;
    service.changed = true;
    // All places are below COUNTS, and bucketOf answers below BUCKETS.
    counts[COUNT.bytesIn] = (counts[COUNT.bytesIn] as number) + record.bytesIn;
    counts[COUNT.bytesOut] = (counts[COUNT.bytesOut] as number) + record.bytesOut;
    counts[COUNT.retries] = (counts[COUNT.retries] as number) + record.retries;
    if (record.protocol === 'tcp') {
      counts[COUNT.tcp] = (counts[COUNT.tcp] as number) + 1;
    } else {
      const place = COUNT.status + Math.min(4, Math.max(0, ((record.status / 100) | 0) - 1));
      counts[place] = (counts[place] as number) + 1;
      if (record.protocol === 'websocket' && record.status === 101) {
        counts[COUNT.websockets] = (counts[COUNT.websockets] as number) + 1;
      } else {
        counts[COUNT.timed] = (counts[COUNT.timed] as number) + 1;
        counts[COUNT.timeMs] = (counts[COUNT.timeMs] as number) + record.totalMs;
        const bucket = bucketOf(record.totalMs);
        service.times[bucket] = (service.times[bucket] as number) + 1;
      }
    }
    if (record.cache !== null) {
      const place = COUNT.cache + CACHE_OUTCOMES.indexOf(record.cache);
      counts[place] = (counts[place] as number) + 1;
      if (record.cache !== 'miss' && record.cache !== 'bypass') {
        counts[COUNT.cacheBytes] = (counts[COUNT.cacheBytes] as number) + record.bytesOut;
      }
    }
    if (record.cause !== null) {
      const place = CAUSE_PLACES.get(record.cause);
      if (place !== undefined) this.#causes[place] = (this.#causes[place] as number) + 1;
    }
  }

  /**
   * Totals for sync; forgets services that the table lost. `full` puts in all services, for a sync that is new;
   * otherwise those that changed, at most 500.
   */
  snapshot(full = false, logLinesDropped = 0): StatsSnapshot {
    const causes: Partial<Record<CauseCode, number>> = {};
    CAUSE_CODES.forEach((code, place) => {
      const count = this.#causes[place] as number;
      if (count > 0) causes[code] = count;
    });
    return {
      version: 1,
      process: this.#process,
      connectionsActive: this.connectionsActive,
      connectionsTotal: this.connectionsTotal,
      failures: this.failures,
      logLinesDropped,
      causes,
      services: this.#servicesFor(full),
    };
  }

  #servicesFor(full: boolean): ServiceStats[] {
    const stats: ServiceStats[] = [];
    for (const service of this.#services.values()) {
      if (!this.#counted(service.name)) {
        this.#services.delete(service.name);
        continue;
      }
      if (!full && (!service.changed || stats.length >= MAX_PER_SNAPSHOT)) continue;
      service.changed = false;
      stats.push(statsOf(service));
    }
    // A forgotten service must not be counted on through the short cut.
    this.#last = this.#find(NO_SERVICE);
    return stats;
  }

  #counted(name: string): boolean {
    return name === NO_SERVICE || name === OTHER_SERVICES || this.#knowsService(name);
  }

  #find(name: string): ServiceCounts {
    const found = this.#services.get(name);
    if (found !== undefined) return found;
    const room = this.#services.size < MAX_SERVICES && this.#counted(name);
    return room || name === OTHER_SERVICES ? this.#add(name) : this.#find(OTHER_SERVICES);
  }

  #add(name: string): ServiceCounts {
    const service = new ServiceCounts(name, this.#born++);
    this.#services.set(name, service);
    return service;
  }
}

function statsOf(service: ServiceCounts): ServiceStats {
  const { name, born, counts, times } = service;
  return { name, born, counts: [...counts], times: pairsOf(times) };
}

/**
 * What a node did in its last minutes: whole, per service and per domain. Fed with the snapshots of its serving
 * processes; each adds what grew since its process's one before. Bounded in minutes, names, and the size of an answer.
 */
import type { Clock } from '../../shared/clock.ts';
import { COUNT, COUNTS, MAX_SERVICES, OTHER_SERVICES, type StatsSnapshot } from './counters.ts';
import { DOMAIN_COUNT, DOMAIN_COUNTS, type DomainGrowth, OTHER_DOMAINS } from './domain-counts.ts';

const MINUTES = 15;
const MINUTE_MS = 60_000;
const MAX_DOMAINS = 4_000;
/** Processes whose totals are remembered; one that was forgotten would be counted from zero again. */
const MAX_PROCESSES = 512;
/** Services and domains that an answer names, and its size in characters: the bus takes 64 KB. */
const MAX_NAMED = 200;
const MAX_ANSWER = 56_000;
/** Minutes over which services and domains are told. */
const RECENT_MINUTES = 5;

interface Minute {
  /** Milliseconds since 1970 of its beginning. */
  readonly at: number;
  readonly total: Float64Array;
  readonly services: Map<string, Float64Array>;
  readonly domains: Map<string, Float64Array>;
}

interface Baseline {
  readonly services: Map<string, { readonly born: number; readonly counts: readonly number[] }>;
}

export interface MinuteReport {
  readonly at: number;
  readonly requests: number;
  /** Answers 5xx. */
  readonly errors: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly timeMs: number;
  readonly websockets: number;
  readonly tcp: number;
}

export interface NamedReport {
  readonly name: string;
  readonly requests: number;
  readonly errors: number;
  readonly bytesOut: number;
  readonly timeMs: number;
}

export interface MinutesReport {
  /** Oldest first; the last one is the present minute. Others without traffic are left out. */
  readonly minutes: readonly MinuteReport[];
  /** Of the last five minutes, those with most requests first. */
  readonly services: readonly NamedReport[];
  readonly domains: readonly NamedReport[];
}

export class Minutes {
  readonly #clock: Clock;
  #minutes: Minute[] = [];
  readonly #processes = new Map<string, Baseline>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  report(stats: unknown): void {
    const snapshot = stats as (StatsSnapshot & { readonly domainGrowth?: DomainGrowth }) | null;
    if (typeof snapshot !== 'object' || snapshot === null || snapshot.version !== 1) return;
    if (!Array.isArray(snapshot.services) || typeof snapshot.process !== 'string') return;
    const { baseline, fresh } = this.#baseline(snapshot.process);
    const minute = this.#present();
    for (const { name, born, counts } of snapshot.services) {
      const before = baseline.services.get(name);
      remember(baseline.services, name, { born, counts });
      // A sync that is new gets totals of hours: they are where counting begins, not traffic of this minute.
      if (fresh) continue;
      const since = before !== undefined && before.born === born ? before.counts : undefined;
      add(minute.total, counts, since);
      add(place(minute.services, name, COUNTS, MAX_SERVICES, OTHER_SERVICES), counts, since);
    }
    // What grew before this sync was there is not of this minute.
    if (fresh || !Array.isArray(snapshot.domainGrowth)) return;
    for (const [name, ...counts] of snapshot.domainGrowth as DomainGrowth) {
      if (typeof name !== 'string') continue;
      add(place(minute.domains, name, DOMAIN_COUNTS, MAX_DOMAINS, OTHER_DOMAINS), counts, undefined);
    }
  }

  /** `service`: only this one is named, however little traffic it has. */
  answer(service: string | null = null): MinutesReport {
    const oldest = this.#present().at - (MINUTES - 1) * MINUTE_MS;
    this.#minutes = this.#minutes.filter(({ at }) => at >= oldest);
    const recent = this.#minutes.filter(({ at }) => at > this.#present().at - RECENT_MINUTES * MINUTE_MS);
    const minutes = this.#minutes.map(minuteReport);
    const all = named(
      recent.map((minute) => minute.services),
      serviceReport,
    );
    const services = service === null ? all : all.filter(({ name }) => name === service);
    const domains = named(service === null ? recent.map((minute) => minute.domains) : [], domainReport);
    for (let most = MAX_NAMED; ; most >>= 1) {
      const report = { minutes, services: services.slice(0, most), domains: domains.slice(0, most) };
      if (most === 0 || JSON.stringify(report).length <= MAX_ANSWER) return report;
    }
  }

  #present(): Minute {
    const at = Math.floor(this.#clock.now() / MINUTE_MS) * MINUTE_MS;
    const last = this.#minutes.at(-1);
    // A clock that was set back goes on in the minute that it was in.
    if (last !== undefined && at <= last.at) return last;
    const minute = { at, total: new Float64Array(COUNTS), services: new Map(), domains: new Map() };
    this.#minutes.push(minute);
    if (this.#minutes.length > MINUTES) this.#minutes.shift();
    return minute;
  }

  #baseline(process: string): { readonly baseline: Baseline; readonly fresh: boolean } {
    const known = this.#processes.get(process);
    if (known !== undefined) return { baseline: known, fresh: false };
    const baseline = { services: new Map() };
    this.#processes.set(process, baseline);
    for (const oldest of this.#processes.keys()) {
      if (this.#processes.size <= MAX_PROCESSES) break;
      this.#processes.delete(oldest);
    }
    return { baseline, fresh: true };
  }
}

/** Names that were not heard of the longest go: a process counts fewer, and counts one that comes back from zero. */
function remember<T>(known: Map<string, T>, name: string, value: T): void {
  known.delete(name);
  known.set(name, value);
  const [oldest] = known.keys();
  if (known.size > 2 * MAX_SERVICES && oldest !== undefined) known.delete(oldest);
}

function place(
  map: Map<string, Float64Array>,
  name: string,
  places: number,
  most: number,
  other: string,
): Float64Array {
  const key = map.has(name) || map.size < most ? name : other;
  const counts = map.get(key) ?? new Float64Array(places);
  map.set(key, counts);
  return counts;
}

/** Adds to `total` by how much `now` is more than `before`. */
function add(total: Float64Array, now: readonly number[], before: readonly number[] | undefined): void {
  for (let i = 0; i < total.length; i++) {
    const grown = Number(now[i] ?? 0) - Number(before?.[i] ?? 0);
    if (grown > 0) total[i] = (total[i] as number) + grown;
  }
}

function named(
  maps: readonly ReadonlyMap<string, Float64Array>[],
  report: (name: string, counts: readonly number[]) => NamedReport,
): NamedReport[] {
  const sums = new Map<string, number[]>();
  for (const map of maps) {
    for (const [name, counts] of map) {
      const sum = sums.get(name);
      sums.set(name, sum === undefined ? [...counts] : sum.map((value, i) => value + (counts[i] ?? 0)));
    }
  }
  return [...sums]
    .map(([name, counts]) => report(name, counts))
    .sort((a, b) => b.requests - a.requests || (a.name < b.name ? -1 : 1));
}

function minuteReport({ at, total }: Minute): MinuteReport {
  const of = (index: number) => total[index] ?? 0;
  return {
    at,
    requests: requestsOf(total),
    errors: of(COUNT.status + 4),
    bytesIn: of(COUNT.bytesIn),
    bytesOut: of(COUNT.bytesOut),
    timeMs: Math.round(of(COUNT.timeMs)),
    websockets: of(COUNT.websockets),
    tcp: of(COUNT.tcp),
  };
}

function serviceReport(name: string, counts: readonly number[]): NamedReport {
  const of = (index: number) => counts[index] ?? 0;
  return {
    name,
    requests: requestsOf(counts),
    errors: of(COUNT.status + 4),
    bytesOut: of(COUNT.bytesOut),
    timeMs: Math.round(of(COUNT.timeMs)),
  };
}

function domainReport(name: string, counts: readonly number[]): NamedReport {
  const of = (index: number) => counts[index] ?? 0;
  return {
    name,
    requests: of(DOMAIN_COUNT.requests),
    errors: of(DOMAIN_COUNT.errors),
    bytesOut: of(DOMAIN_COUNT.bytesOut),
    timeMs: Math.round(of(DOMAIN_COUNT.timeMs)),
  };
}

function requestsOf(counts: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < 5; i++) sum += counts[COUNT.status + i] ?? 0;
  return sum;
}

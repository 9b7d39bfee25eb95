/**
 * The counts of a node: the snapshots of its serving processes added up. Totals never go backwards, also when a process
 * dies, is replaced, or two with one number live side by side for a while. Snapshots that are not understood are ignored.
 */
import { CAUSES, type CauseCode } from '../../shared/causes.ts';
import { COUNTS, MAX_SERVICES, NO_SERVICE, OTHER_SERVICES, type StatsSnapshot } from './counters.ts';
import { OTHER_RULES } from './dry-runs.ts';
import { BUCKETS } from './histogram.ts';

/** A key of DryRunTotals: rule and outcome. */
const DRY_RUN = /^(\S+) (\w+)$/;
/** Ended processes whose totals are remembered, in case a late snapshot of theirs comes. */
const MAX_ENDED = 8;

export interface MergedService {
  readonly counts: Float64Array;
  readonly times: Float64Array;
}

/** What one process last reported; the difference to its next report is what is added. */
interface Baseline {
  from: number;
  ended: boolean;
  connectionsActive: number;
  cacheBytes: number;
  residentBytes: number;
  queues: ReadonlyMap<string, number>;
  readonly totals: Map<string, number>;
  readonly services: Map<string, { readonly born: number; readonly merged: MergedService }>;
}

export class MergedStats {
  readonly #knowsService: (name: string) => boolean;
  readonly #knowsRule: (name: string) => boolean;
  readonly #processes = new Map<string, Baseline>();
  readonly #totals = new Map<string, number>();
  readonly #services = new Map<string, MergedService>();
  /** Services of which requests ever waited. */
  readonly #queued = new Set<string>();
  /** By place, of services that were removed: the totals of the node must not go backwards with them. */
  readonly #removed = new Float64Array(COUNTS);

  /** What is known is what the configuration has; counts of others are dropped when they are next read. */
  constructor(
    knowsService: (name: string) => boolean = () => true,
    knowsRule: (name: string) => boolean = () => true,
  ) {
    this.#knowsService = knowsService;
    this.#knowsRule = knowsRule;
  }

  /** Takes the `stats` of serving process number `from`. */
  report(from: number, stats: unknown): void {
    if (!isSnapshot(stats)) return;
    const baseline = this.#baseline(stats.process);
    baseline.from = from;
    baseline.ended = false;
    baseline.connectionsActive = stats.connectionsActive;
    baseline.cacheBytes = amount(stats.cacheBytes);
    baseline.residentBytes = amount(stats.residentBytes);
    this.#queues(baseline, stats.queues);
    this.#loopDelays(baseline, stats.loopDelays);
    this.#advance(baseline, 'connections', stats.connectionsTotal);
    this.#advance(baseline, 'failures', stats.failures);
    this.#advance(baseline, 'logLinesDropped', stats.logLinesDropped);
    for (const [cause, count] of Object.entries(stats.causes)) {
      if (Object.hasOwn(CAUSES, cause)) this.#advance(baseline, `cause:${cause}`, count ?? 0);
    }
    for (const [key, count] of Object.entries(stats.dryRuns ?? {})) {
      const [, rule] = DRY_RUN.exec(key) ?? [];
      if (rule !== undefined && this.#ruleCounted(rule)) this.#advance(baseline, `dryRun:${key}`, count);
    }
    for (const [rule, count] of Object.entries(stats.limited ?? {})) {
      if (this.#ruleCounted(rule)) this.#advance(baseline, `limited:${rule}`, count);
    }
    for (const service of stats.services) {
      if (!this.#counted(service.name)) continue;
      const before = baseline.services.get(service.name);
      const reported = newMerged();
      for (let i = 0; i < COUNTS; i++) reported.counts[i] = amount(service.counts[i]);
      for (let i = 0; i + 1 < service.times.length; i += 2) {
        const bucket = service.times[i] as number;
        if (bucket >= 0 && bucket < BUCKETS) reported.times[bucket] = amount(service.times[i + 1]);
      }
      const total = this.#service(service.name);
      const same = before?.born === service.born ? before.merged : undefined;
      addDifference(total.counts, reported.counts, same?.counts);
      addDifference(total.times, reported.times, same?.times);
      baseline.services.set(service.name, { born: service.born, merged: reported });
    }
  }

  /** Serving process number `from` ended: its connections are closed, its totals stay. */
  gone(from: number): void {
    for (const baseline of this.#processes.values()) {
      if (baseline.from !== from) continue;
      baseline.ended = true;
      baseline.connectionsActive = 0;
      baseline.cacheBytes = 0;
      baseline.residentBytes = 0;
      baseline.queues = new Map();
    }
    const ended = [...this.#processes].filter(([, baseline]) => baseline.ended);
    for (const [process] of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) {
      this.#processes.delete(process);
    }
  }

  get connectionsActive(): number {
    let sum = 0;
    for (const baseline of this.#processes.values()) sum += baseline.connectionsActive;
    return sum;
  }

  get cacheBytes(): number {
    let sum = 0;
    for (const baseline of this.#processes.values()) sum += baseline.cacheBytes;
    return sum;
  }

  /** Memory of each serving process that lives, by its number. */
  residentBytes(): ReadonlyMap<number, number> {
    const bytes = new Map<number, number>();
    for (const { from, ended, residentBytes } of this.#processes.values()) {
      if (!ended && residentBytes > 0) bytes.set(from, residentBytes);
    }
    return bytes;
  }

  /** By bucket: how late timers came, in all serving processes. */
  loopDelays(): Float64Array {
    return Float64Array.from({ length: BUCKETS }, (_, bucket) => this.#totals.get(`loop:${bucket}`) ?? 0);
  }

  /** Requests that wait for a backend, by service; 0 for those where some did before. */
  queues(): ReadonlyMap<string, number> {
    const queues = new Map<string, number>();
    for (const name of this.#queued) {
      if (this.#counted(name)) queues.set(name, 0);
      else this.#queued.delete(name);
    }
    for (const baseline of this.#processes.values()) {
      for (const [name, waiting] of baseline.queues) {
        const sum = queues.get(name);
        if (sum !== undefined) queues.set(name, sum + waiting);
      }
    }
    return queues;
  }

  get connectionsTotal(): number {
    return this.#totals.get('connections') ?? 0;
  }

  get failures(): number {
    return this.#totals.get('failures') ?? 0;
  }

  get logLinesDropped(): number {
    return this.#totals.get('logLinesDropped') ?? 0;
  }

  /** How many requests ended with each cause, also those with none. */
  causes(): readonly (readonly [CauseCode, number])[] {
    return (Object.keys(CAUSES) as CauseCode[]).map((cause) => [
      cause,
      this.#totals.get(`cause:${cause}`) ?? 0,
    ]);
  }

  /** How often each rule under dry run would have decided, and how. */
  dryRuns(): readonly { readonly rule: string; readonly outcome: string; readonly count: number }[] {
    const runs: { rule: string; outcome: string; count: number }[] = [];
    for (const [key, count] of this.#totals) {
      const [, rule, outcome] = DRY_RUN.exec(key.replace(/^dryRun:/, '')) ?? [];
      if (rule === undefined || outcome === undefined) continue;
      if (this.#ruleCounted(rule)) {
        runs.push({ rule, outcome, count });
        continue;
      }
      this.#totals.delete(key);
      for (const baseline of this.#processes.values()) baseline.totals.delete(key);
    }
    return runs;
  }

  /** How many requests each rate rule has refused. */
  limited(): readonly { readonly rule: string; readonly count: number }[] {
    const limited: { rule: string; count: number }[] = [];
    for (const [key, count] of this.#totals) {
      if (!key.startsWith('limited:')) continue;
      const rule = key.slice('limited:'.length);
      if (this.#ruleCounted(rule)) {
        limited.push({ rule, count });
        continue;
      }
      this.#totals.delete(key);
      for (const baseline of this.#processes.values()) baseline.totals.delete(key);
    }
    return limited;
  }

  /** The counts of each service that exists, and of `(none)` and `(other)`. Not to be changed. */
  services(): ReadonlyMap<string, MergedService> {
    for (const [name, { counts }] of this.#services) {
      if (this.#counted(name)) continue;
      addTo(this.#removed, counts);
      this.#services.delete(name);
      for (const baseline of this.#processes.values()) baseline.services.delete(name);
    }
    return this.#services;
  }

  /** By place (COUNT), over all services that exist or ever did. */
  totals(): Float64Array {
    const totals = this.#removed.slice();
    for (const { counts } of this.#services.values()) addTo(totals, counts);
    return totals;
  }

  #counted(name: string): boolean {
    return name === NO_SERVICE || name === OTHER_SERVICES || this.#knowsService(name);
  }

  #ruleCounted(name: string): boolean {
    return name === OTHER_RULES || this.#knowsRule(name);
  }

  #baseline(process: string): Baseline {
    let baseline = this.#processes.get(process);
    if (baseline === undefined) {
      baseline = {
        from: 0,
        ended: false,
        connectionsActive: 0,
        cacheBytes: 0,
        residentBytes: 0,
        queues: new Map(),
        totals: new Map(),
        services: new Map(),
      };
      this.#processes.set(process, baseline);
    }
    return baseline;
  }

  #service(name: string): MergedService {
    const known = this.#services.has(name) || this.#services.size < MAX_SERVICES || name === OTHER_SERVICES;
    const key = known ? name : OTHER_SERVICES;
    let service = this.#services.get(key);
    if (service === undefined) {
      service = newMerged();
      this.#services.set(key, service);
    }
    return service;
  }

  #queues(baseline: Baseline, reported: unknown): void {
    const queues = new Map<string, number>();
    for (const [name, waiting] of Object.entries(reported ?? {})) {
      if (!this.#counted(name)) continue;
      if (!this.#queued.has(name) && this.#queued.size >= MAX_SERVICES) continue;
      this.#queued.add(name);
      queues.set(name, amount(waiting));
    }
    baseline.queues = queues;
  }

  #loopDelays(baseline: Baseline, pairs: readonly number[] = []): void {
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const bucket = pairs[i] as number;
      if (Number.isInteger(bucket) && bucket >= 0 && bucket < BUCKETS)
        this.#advance(baseline, `loop:${bucket}`, pairs[i + 1] as number);
    }
  }

  #advance(baseline: Baseline, name: string, value: number): void {
    const total = amount(value);
    const difference = total - (baseline.totals.get(name) ?? 0);
    if (difference <= 0) return;
    baseline.totals.set(name, total);
    this.#totals.set(name, (this.#totals.get(name) ?? 0) + difference);
  }
}

function newMerged(): MergedService {
  return { counts: new Float64Array(COUNTS), times: new Float64Array(BUCKETS) };
}

function amount(value: number | undefined): number {
  return typeof value === 'number' && value >= 0 && value < Number.MAX_SAFE_INTEGER ? value : 0;
}

function addTo(total: Float64Array, counts: Float64Array): void {
  for (let i = 0; i < total.length; i++) total[i] = (total[i] as number) + (counts[i] as number);
}

/** Adds to `total` by how much `now` is more than `before`; where it is less, `now` becomes `before`. */
function addDifference(total: Float64Array, now: Float64Array, before: Float64Array | undefined): void {
  for (let i = 0; i < total.length; i++) {
    // All three have the same length.
    const then = before === undefined ? 0 : (before[i] as number);
    const difference = (now[i] as number) - then;
    if (difference > 0) total[i] = (total[i] as number) + difference;
    else now[i] = then;
  }
}

function isSnapshot(stats: unknown): stats is StatsSnapshot {
  const snapshot = stats as StatsSnapshot | null;
  return (
    typeof snapshot === 'object' &&
    snapshot !== null &&
    snapshot.version === 1 &&
    typeof snapshot.process === 'string' &&
    typeof snapshot.causes === 'object' &&
    Array.isArray(snapshot.services)
  );
}

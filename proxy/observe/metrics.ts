/**
 * The text that Prometheus scrapes, made only when it asks. Counters never go backwards, units are seconds and bytes, and
 * the only labels that grow are services and rules, bounded and removed with them. The four names of Go reverse proxy stand first.
 */
import { type Metric, Registry } from 'prom-client';
import { CACHE_OUTCOMES, COUNT, STATUS_CLASSES } from './counters.ts';
import { BOUNDS_MS } from './histogram.ts';
import type { MergedService, MergedStats } from './merged-stats.ts';

export interface MetricSample {
  readonly labels?: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** Only within a histogram: the family's name with `_bucket`, `_sum` or `_count`. */
  readonly metricName?: string;
}

/** One family as it is written: HELP, TYPE and its samples. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: readonly MetricSample[];
}

export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** Bounds of the buckets that are shown, in milliseconds; each is also a bound of the histogram. */
const SHOWN_BOUNDS_MS = [
  1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000,
] as const;

/** The families of a node's traffic. */
export function trafficFamilies(stats: MergedStats): MetricFamily[] {
  const services = [...stats.services()].filter(([, service]) => isUsed(service));
  const totals = stats.totals();
  const total = (place: number) => totals[place] ?? 0;
  const requests = STATUS_CLASSES.reduce((sum, _class, i) => sum + total(COUNT.status + i), 0);
  const timed = total(COUNT.timed);
  const perService = (place: number): MetricSample[] =>
    services.map(([service, { counts }]) => ({ labels: { service }, value: counts[place] ?? 0 }));
  return [
    gauge('tcp_connections_active_count', 'Connections of visitors that are open', stats.connectionsActive),
    counter('tcp_connections_total_count', 'Connections of visitors accepted so far', stats.connectionsTotal),
    gauge(
      'http_request_time_avg_milliseconds',
      'Mean duration of all HTTP requests so far, without WebSockets',
      timed === 0 ? 0 : total(COUNT.timeMs) / timed,
    ),
    counter('http_request_total_count', 'HTTP requests so far, with WebSocket handshakes', requests),
    gauge('kontrol_connections_active', 'Connections of visitors that are open', stats.connectionsActive),
    counter('kontrol_connections_total', 'Connections of visitors accepted', stats.connectionsTotal),
    {
      name: 'kontrol_http_requests_total',
      help: 'HTTP requests that ended, by service and class of the status that the visitor got',
      type: 'counter',
      samples: services.flatMap(([service, { counts }]) =>
        STATUS_CLASSES.map((status, i) => ({
          labels: { service, status },
          value: counts[COUNT.status + i] ?? 0,
        })).filter((sample) => sample.value > 0),
      ),
    },
    {
      name: 'kontrol_http_request_duration_seconds',
      help: 'From the complete request head to the end of the answer, without WebSockets',
      type: 'histogram',
      samples: services.flatMap(([service, merged]) => histogramSamples(service, merged)),
    },
    {
      name: 'kontrol_request_causes_total',
      help: 'Requests that the proxy answered or cut itself, by cause; the codes are those of the access log',
      type: 'counter',
      samples: stats.causes().map(([cause, value]) => ({ labels: { cause }, value })),
    },
    family('kontrol_received_bytes_total', 'Bytes of bodies and tunnels from visitors', COUNT.bytesIn),
    family('kontrol_sent_bytes_total', 'Bytes of bodies and tunnels to visitors', COUNT.bytesOut),
    family('kontrol_retries_total', 'Requests sent to a backend once more', COUNT.retries),
    family('kontrol_websockets_total', 'WebSockets that were opened and have ended', COUNT.websockets),
    family('kontrol_tcp_tunnels_total', 'Connections through TCP listeners that have ended', COUNT.tcp),
    {
      name: 'kontrol_cache_requests_total',
      help: 'Requests to services with a cache or coalescing, by where the answer came from',
      type: 'counter',
      samples: services.flatMap(([service, { counts }]) =>
        CACHE_OUTCOMES.map((outcome, i) => ({
          labels: { service, outcome },
          value: counts[COUNT.cache + i] ?? 0,
        })).filter((sample) => sample.value > 0),
      ),
    },
    family('kontrol_cache_sent_bytes_total', 'Bytes of bodies that came from memory', COUNT.cacheBytes),
    gauge('kontrol_cache_bytes', 'Memory that stored answers take', stats.cacheBytes),
    {
      name: 'kontrol_queue_waiting',
      help: 'Requests that wait because every backend is at its pool limit, by service',
      type: 'gauge',
      samples: [...stats.queues()].map(([service, value]) => ({ labels: { service }, value })),
    },
    {
      name: 'kontrol_rule_dry_runs_total',
      help: 'Requests and connections that a rule under dry run would have decided, by outcome',
      type: 'counter',
      samples: stats
        .dryRuns()
        .map(({ rule, outcome, count }) => ({ labels: { rule, outcome }, value: count })),
    },
    {
      name: 'kontrol_rate_limited_total',
      help: 'Requests refused by a rate rule because its limit was used up',
      type: 'counter',
      samples: stats.limited().map(({ rule, count }) => ({ labels: { rule }, value: count })),
    },
    counter(
      'kontrol_log_lines_dropped_total',
      'Lines of the access log lost because its destination was stuck, full or gone',
      stats.logLinesDropped,
    ),
    {
      name: 'kontrol_event_loop_delay_seconds',
      help: 'How late timers of the serving processes came: what every connection of them waits, too',
      type: 'histogram',
      samples: loopSamples(stats.loopDelays()),
    },
    {
      name: 'kontrol_serving_resident_bytes',
      help: 'Resident memory of each serving process',
      type: 'gauge',
      samples: [...stats.residentBytes()].map(([process, value]) => ({ labels: { process }, value })),
    },
    counter('kontrol_record_failures_total', 'Requests that could not be counted or logged', stats.failures),
  ];

  function family(name: string, help: string, place: number): MetricFamily {
    return { name, help, type: 'counter', samples: perService(place) };
  }
}

/** The text of families; content type METRICS_CONTENT_TYPE. A name may stand there only once. */
export async function renderMetrics(families: readonly MetricFamily[]): Promise<string> {
  const registry = new Registry();
  for (const { name, help, type, samples } of families) {
    const rendered = { name, help, type, aggregator: 'sum', values: samples };
    // A registry only ever asks a metric for its name and `get()`; the declared type lists the counting methods, too.
    registry.registerMetric({ name, get: async () => rendered } as unknown as Metric);
  }
  return registry.metrics();
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: 'counter', samples: [{ value }] };
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: 'gauge', samples: [{ value }] };
}

function isUsed({ counts }: MergedService): boolean {
  return counts.some((count) => count > 0);
}

function histogramSamples(service: string, { counts, times }: MergedService): MetricSample[] {
  const name = 'kontrol_http_request_duration_seconds';
  return distribution(name, { service }, times, counts[COUNT.timed] ?? 0, counts[COUNT.timeMs] ?? 0);
}

/** How late timers came; the sum is of the buckets' upper bounds, since only those are known. */
function loopSamples(times: Float64Array): MetricSample[] {
  const name = 'kontrol_event_loop_delay_seconds';
  let total = 0;
  let sumMs = 0;
  times.forEach((count, bucket) => {
    total += count;
    sumMs += count * (BOUNDS_MS[Math.min(bucket, BOUNDS_MS.length - 1)] as number);
  });
  return distribution(name, {}, times, total, sumMs);
}

function distribution(
  name: string,
  labels: Readonly<Record<string, string>>,
  times: Float64Array,
  total: number,
  sumMs: number,
): MetricSample[] {
  const samples: MetricSample[] = [];
  let below = 0;
  let bucket = 0;
  for (const bound of SHOWN_BOUNDS_MS) {
    // The buckets are sums of our finer ones, so each shown bound is met exactly.
    for (; bucket < BOUNDS_MS.length && (BOUNDS_MS[bucket] as number) <= bound; bucket++) {
      below += times[bucket] ?? 0;
    }
    samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le: bound / 1_000 }, value: below });
  }
  samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: total });
  samples.push({ metricName: `${name}_sum`, labels, value: sumMs / 1_000 });
  samples.push({ metricName: `${name}_count`, labels, value: total });
  return samples;
}

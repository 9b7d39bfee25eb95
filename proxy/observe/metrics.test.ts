import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counters } from './counters.ts';
import { exampleRecord } from './example.ts';
import { MergedStats } from './merged-stats.ts';
import { METRICS_CONTENT_TYPE, type MetricFamily, renderMetrics, trafficFamilies } from './metrics.ts';

async function scrape(prepare: (counters: Counters) => void, more: readonly MetricFamily[] = []) {
  const counters = new Counters();
  prepare(counters);
  const stats = new MergedStats();
  stats.report(1, JSON.parse(JSON.stringify(counters.snapshot(true))));
  const text = await renderMetrics([...trafficFamilies(stats), ...more]);
  const samples = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name = '', value = ''] = /^([a-zA-Z_:][\w:]*(?:\{[^{}]*\})?) (\S+)$/.exec(line) ?? [];
    assert.ok(name !== '' && !samples.has(name), line);
    samples.set(name, Number(value));
  }
  return { text, samples };
}

test('the four names of Go reverse proxy are there with their meaning', async () => {
  const { samples } = await scrape((counters) => {
    counters.connectionsActive = 2;
    counters.connectionsTotal = 7;
    counters.count(exampleRecord({ totalMs: 10 }));
    counters.count(exampleRecord({ totalMs: 30, service: null, status: 404 }));
    counters.count(exampleRecord({ protocol: 'tcp', totalMs: 9_999 }));
  });
  assert.equal(samples.get('tcp_connections_active_count'), 2);
  assert.equal(samples.get('tcp_connections_total_count'), 7);
  assert.equal(samples.get('http_request_time_avg_milliseconds'), 20);
  assert.equal(samples.get('http_request_total_count'), 2);
});

test('without traffic every node-wide number is 0 and nothing is missing', async () => {
  const { samples } = await scrape(() => {});
  assert.equal(samples.get('http_request_time_avg_milliseconds'), 0);
  assert.equal(samples.get('http_request_total_count'), 0);
  assert.equal(samples.get('kontrol_request_causes_total{cause="all_dead"}'), 0);
});

test('every family has HELP and TYPE once, and a unit as Prometheus has it', async () => {
  const { text, samples } = await scrape((counters) => counters.count(exampleRecord()));
  for (const name of samples.keys()) {
    const family = name
      .replace(/\{.*/, '')
      .replace(/_(bucket|sum|count)$/, (end) => (/duration|event_loop/.test(name) ? '' : end));
    assert.equal(text.split(`# HELP ${family} `).length, 2, family);
    assert.equal(text.split(`# TYPE ${family} `).length, 2, family);
  }
  const own = [...text.matchAll(/^# TYPE (kontrol_\w+) (\w+)$/gm)];
  assert.ok(own.length >= 8);
  for (const [, name = '', type] of own) {
    if (type === 'counter') assert.match(name, /_total$/);
    assert.doesNotMatch(name, /milliseconds|_ms/);
  }
  assert.match(METRICS_CONTENT_TYPE, /^text\/plain; version=0\.0\.4/);
});

test('the histogram is cumulative, in seconds, and its last bucket is its count', async () => {
  const durations = [0.05, 1, 1.0001, 99, 100, 101, 60_000, 500_000];
  const { samples } = await scrape((counters) => {
    for (const totalMs of durations) counters.count(exampleRecord({ totalMs }));
  });
  const bucket = (le: string) =>
    samples.get(`kontrol_http_request_duration_seconds_bucket{service="shop",le="${le}"}`);
  assert.deepEqual(
    ['0.001', '0.0025', '0.05', '0.1', '0.25', '100', '+Inf'].map(bucket),
    [2, 3, 3, 5, 6, 7, 8],
  );
  assert.equal(samples.get('kontrol_http_request_duration_seconds_count{service="shop"}'), 8);
  const sum = durations.reduce((all, ms) => all + ms / 1_000, 0);
  assert.ok(
    Math.abs((samples.get('kontrol_http_request_duration_seconds_sum{service="shop"}') ?? 0) - sum) < 1e-9,
  );
});

test('requests, bytes and causes are told by their labels', async () => {
  const { samples } = await scrape((counters) => {
    counters.count(exampleRecord({ status: 503, cause: 'all_dead', bytesIn: 3, bytesOut: 4, retries: 2 }));
  });
  assert.equal(samples.get('kontrol_http_requests_total{service="shop",status="5xx"}'), 1);
  assert.equal(samples.get('kontrol_request_causes_total{cause="all_dead"}'), 1);
  assert.equal(samples.get('kontrol_received_bytes_total{service="shop"}'), 3);
  assert.equal(samples.get('kontrol_sent_bytes_total{service="shop"}'), 4);
  assert.equal(samples.get('kontrol_retries_total{service="shop"}'), 2);
});

test('families of others are written beside, with their labels escaped', async () => {
  const family: MetricFamily = {
    name: 'kontrol_backend_alive',
    help: 'Whether a backend is alive',
    type: 'gauge',
    samples: [{ labels: { address: 'unix:/a"b\\c\nd' }, value: 1 }],
  };
  const { text } = await scrape(() => {}, [family]);
  assert.ok(text.includes('kontrol_backend_alive{address="unix:/a\\"b\\\\c\\nd"} 1'));
});

test('a name that stands there twice is refused instead of written wrongly', async () => {
  const family: MetricFamily = { name: 'kontrol_connections_total', help: '', type: 'gauge', samples: [] };
  await assert.rejects(() => scrape(() => {}, [family]), /already been registered/);
});

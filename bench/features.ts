/**
 * What each feature of a service costs where it is on: CPU microseconds per request of a whole node (primary, sync and
 * one serving process), beside a node whose service has none of them, in alternating rounds. off = 1.0; the ratio is
 * the median of the rounds' ratios. Each feature has a node of its own, so that what is off has never run in it.
 *
 * BENCH_ROUNDS (default 5), BENCH_SECONDS per measurement (default 2), BENCH_FEATURES (names, separated by semicolons).
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { call, firstToken, type KontrolPeer, startKontrol } from './kontrol-peer.ts';
import { type WrkLoad, wrk } from './load.ts';
import { median } from './median.ts';
import { cpuSeconds, end } from './processes.ts';
import { openStage, type Stage, startBackend } from './stage.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 2);
/** Until compilers are through with the hot paths: so many requests, or as many as come in so many turns of 3 s. */
const WARM_UP_REQUESTS = 100_000;
const WARM_UP_TURNS = 5;
const WARM_UP_SECONDS = 3;

interface Feature {
  readonly name: string;
  /** Fields of the service. */
  readonly service: Record<string, unknown>;
  /** A limit that nobody reaches. */
  readonly rated?: boolean;
  readonly load?: WrkLoad;
  /** A field that answers have where the feature is on. */
  readonly shows?: string;
}

const SAME: WrkLoad = { path: '/1k' };
/** No two requests ask for the same: nothing is shared, and nothing is found in the cache. */
const DIFFERENT: WrkLoad = {
  path: '/1k',
  script: `local n = 0; request = function() n = n + 1; return wrk.format(nil, "/1k?" .. n) end`,
};
const EVERYTHING = {
  balance: 'least-connections',
  health: { type: 'http', path: '/1k', interval: '1s' },
  coalesce: {},
  slowStart: '1h',
  eject: { status5xx: 5, latency: '10s' },
};

const FEATURES: readonly Feature[] = [
  // How far two nodes without any feature are apart: what is nearer to 1 than this is noise.
  { name: 'nothing', service: {} },
  { name: 'least connections', service: { balance: EVERYTHING.balance } },
  { name: 'rendezvous by uri', service: { balance: 'rendezvous', hash: { by: 'uri' } } },
  { name: 'active health', service: { health: EVERYTHING.health } },
  { name: 'slow start', service: { slowStart: EVERYTHING.slowStart } },
  { name: 'outlier ejection', service: { eject: EVERYTHING.eject } },
  { name: 'sticky, visitors without cookie', service: { sticky: {} }, shows: 'set-cookie' },
  { name: 'rate rule', service: {}, rated: true, shows: 'ratelimit' },
  { name: 'coalescing, none the same', service: { coalesce: EVERYTHING.coalesce }, load: DIFFERENT },
  { name: 'coalescing, all the same', service: { coalesce: EVERYTHING.coalesce } },
  {
    name: 'cache, misses',
    service: { cache: { ttl: '1h', size: '16MB' } },
    load: DIFFERENT,
    shows: 'cache-status',
  },
  { name: 'cache, hits', service: { cache: { ttl: '1h', size: '16MB' } }, shows: 'cache-status' },
  { name: 'everything', service: EVERYTHING, rated: true, load: DIFFERENT, shows: 'ratelimit' },
];

const stage = await openStage();
const second = join(stage.folder, 'second');
mkdirSync(second);
const other = await startBackend(second);
const ports = [stage.backendPort, other.port];
let plain: KontrolPeer | null = null;
try {
  const wanted = process.env['BENCH_FEATURES']?.split(';');
  plain = await nodeWith(stage, 'plain', { name: 'plain', service: {} });
  process.stdout.write(
    `CPU µs per request, medians of ${ROUNDS} rounds of ${SECONDS} s: off, on, and on beside off (least to most)\n`,
  );
  for (const [index, feature] of FEATURES.entries()) {
    if (wanted !== undefined && !wanted.includes(feature.name)) continue;
    const node = await nodeWith(stage, `feature-${index}`, feature);
    try {
      process.stdout.write(
        `  ${feature.name.padEnd(34)}${await compared(plain, node, feature.load ?? SAME)}\n`,
      );
    } finally {
      await stop(node);
    }
  }
} finally {
  if (plain !== null) await stop(plain);
  await end(other.process);
  await stage.close();
}

/** A node whose service has two backends, no active checks, and what the feature asks for. */
async function nodeWith(at: Stage, name: string, feature: Feature): Promise<KontrolPeer> {
  const node = await startKontrol(at, { domains: 100, services: 100, name });
  try {
    const token = await firstToken(node.apiPort, node.data);
    const change = async (method: string, path: string, body: object) => {
      const { status } = await call(node.apiPort, token, method, `${path}?wait=all&timeout=10s`, body);
      if (status === 202) throw new Error(`${path} was not served in time`);
    };
    const backends = ports.map((port) => ({ address: `127.0.0.1:${port}` }));
    const service = { health: { type: 'off' }, keys: { '1': { backends } }, ...feature.service };
    await change('PUT', '/v1/services/bench', service);
    if (feature.rated === true) {
      const rate = { requests: 1_000_000_000, per: 'minute', by: 'client' };
      await change('PUT', '/v1/rules/calm', { list: 'limit', type: 'rate', rate });
      await change('PATCH', '/v1/domains/127.0.0.1', { firewall: ['no-bots', 'calm'] });
    }
    await expectOn(node, feature);
    return node;
  } catch (error) {
    await stop(node);
    throw error;
  }
}

/** A ratio of 1.0 would say the same of a feature that is cheap and of one that was never switched on. */
async function expectOn({ port }: KontrolPeer, { name, shows }: Feature): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/1k`);
  await answer.arrayBuffer();
  if (!answer.ok || (shows !== undefined && !answer.headers.has(shows)))
    throw new Error(`${name} is not on: ${answer.status}, no field ${shows}`);
}

async function compared(off: KontrolPeer, on: KontrolPeer, kind: WrkLoad): Promise<string> {
  const load = wrk(kind);
  for (const { port } of [off, on]) {
    let served = 0;
    for (let turn = 0; turn < WARM_UP_TURNS && served < WARM_UP_REQUESTS; turn++) {
      served += await load({ port, seconds: WARM_UP_SECONDS, folder: stage.folder });
    }
  }
  const micros = { off: [] as number[], on: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    // Each goes first in turn: who goes second finds another machine.
    const turns = round % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const);
    for (const turn of turns) {
      const { port, process: primary } = turn === 'off' ? off : on;
      const before = cpuSeconds(primary.pid as number);
      const served = await load({ port, seconds: SECONDS, folder: stage.folder });
      micros[turn].push(((cpuSeconds(primary.pid as number) - before) / served) * 1e6);
    }
  }
  const ratios = micros.on.map((value, round) => value / (micros.off[round] as number));
  const spread = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`;
  const figures = [median(micros.off), median(micros.on)].map((value) => value.toFixed(1).padStart(7));
  return `${figures.join('')}  ${median(ratios).toFixed(2)}  (${spread})`;
}

async function stop(node: KontrolPeer): Promise<void> {
  for (const child of [node.process, ...node.others]) await end(child);
}

/**
 * Two serving processes beside one: CPU microseconds per request of the whole node, and which share of the kept
 * connections and of the CPU each process has (the kernel spreads connections by itself, unevenly; the primary sees to
 * the rest). Alternating rounds; one process = 1.0. With fewer than four processors the load and the backends take from
 * what is measured, so requests a second are not printed.
 *
 * BENCH_ROUNDS (default 5), BENCH_SECONDS per measurement (default 2).
 */
import { type KontrolPeer, startKontrol } from './kontrol-peer.ts';
import { CONNECTIONS, type WrkLoad, wrk } from './load.ts';
import { median } from './median.ts';
import { connectionsOf, cpuSeconds, end, servingProcesses } from './processes.ts';
import { openStage } from './stage.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 2);
const WARM_UP_SECONDS = 3;
const CASES: readonly (WrkLoad & { readonly name: string })[] = [
  { name: 'GET 1 KB', path: '/1k' },
  { name: 'new connection', path: '/1k', script: 'wrk.headers["Connection"] = "close"' },
];

interface Round {
  readonly micros: number;
  /** The greatest part that one process has, 1 / processes at best; connections NaN when none were kept. */
  readonly connections: number;
  readonly cpu: number;
}

const stage = await openStage();
const nodes: KontrolPeer[] = [];
try {
  for (const processes of [1, 2]) {
    const size = { domains: 100, services: 100 };
    nodes.push(await startKontrol(stage, { ...size, processes, name: `processes-${processes}` }));
  }
  const [one, two] = nodes as [KontrolPeer, KontrolPeer];
  for (const node of nodes) {
    const wanted = node === one ? 1 : 2;
    const found = servingProcesses(node.process.pid as number).length;
    if (found !== wanted) throw new Error(`${found} serving processes instead of ${wanted}`);
  }
  process.stdout.write(
    `CPU µs per request, medians of ${ROUNDS} rounds of ${SECONDS} s, ${CONNECTIONS} connections\n`,
  );
  for (const kind of CASES) await compare(kind, one, two);
} finally {
  for (const node of nodes) for (const child of [node.process, ...node.others]) await end(child);
  await stage.close();
}

async function compare(kind: WrkLoad & { readonly name: string }, one: KontrolPeer, two: KontrolPeer) {
  const load = wrk(kind);
  for (const { port } of [one, two]) await load({ port, seconds: WARM_UP_SECONDS, folder: stage.folder });
  const [ones, twos]: [Round[], Round[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    ones.push(await measure(load, one));
    twos.push(await measure(load, two));
  }
  const ratio = median(twos.map(({ micros }, round) => micros / (ones[round] as Round).micros));
  const [before, after] = [ones, twos].map((rounds) => median(rounds.map(({ micros }) => micros)).toFixed(1));
  process.stdout.write(`  ${kind.name.padEnd(16)} one ${before}, two ${after} (${ratio.toFixed(2)})\n`);
  const kept = twos.map(({ connections }) => connections).filter((share) => share > 0);
  if (kept.length > 0) process.stdout.write(`    busier process: ${percent(kept)} of the connections\n`);
  process.stdout.write(`    busier process: ${percent(twos.map(({ cpu }) => cpu))} of their CPU\n`);
}

async function measure(
  load: ReturnType<typeof wrk>,
  { port, process: primary }: KontrolPeer,
): Promise<Round> {
  const root = primary.pid as number;
  const serving = servingProcesses(root);
  const [before, each] = [cpuSeconds(root), serving.map(cpuSeconds)];
  const running = load({ port, seconds: SECONDS, folder: stage.folder });
  let connections: number[] = [];
  // In the middle of it all connections are there.
  const looking = setTimeout(() => {
    connections = serving.map((pid) => connectionsOf(pid, port));
  }, SECONDS * 500);
  try {
    const served = await running;
    const cpus = serving.map((pid, index) => cpuSeconds(pid) - (each[index] as number));
    return {
      micros: ((cpuSeconds(root) - before) / served) * 1e6,
      connections: greatestPart(connections),
      cpu: greatestPart(cpus),
    };
  } finally {
    clearTimeout(looking);
  }
}

function greatestPart(values: readonly number[]): number {
  return Math.max(...values) / values.reduce((sum, value) => sum + value, 0);
}

function percent(shares: readonly number[]): string {
  const [least, most] = [Math.min(...shares), Math.max(...shares)].map((share) => (100 * share).toFixed(0));
  return `${(100 * median(shares)).toFixed(0)} % (${least} to ${most})`;
}

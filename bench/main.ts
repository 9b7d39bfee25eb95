/**
 * `make bench`: this proxy beside the others, in one run, alternating. Prints CPU microseconds per request (user +
 * system of the proxy's own processes) and the ratio to nginx: the ratio is what carries over to other machines.
 *
 * BENCH_ROUNDS (default 5), BENCH_SECONDS per measurement (default 3), BENCH_CASES and BENCH_PEERS (comma separated).
 */
import { cpus } from 'node:os';
import { CASES, type Case } from './cases.ts';
import { startKontrol } from './kontrol-peer.ts';
import { CONNECTIONS } from './load.ts';
import { median } from './median.ts';
import { PEERS, type Peer } from './peers.ts';
import { cpuSeconds, end, onPath } from './processes.ts';
import { openStage } from './stage.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 3);
/** Until compilers have seen the hot paths. */
const WARM_UP_SECONDS = 3;

/** By case and peer: microseconds of each round, or why there are none. */
type Results = Map<string, Map<string, number[] | string>>;

async function main(): Promise<void> {
  for (const program of ['wrk', 'nginx', 'h2load', 'openssl']) {
    if (!onPath(program))
      throw new Error(`make bench needs ${program} (apt-get install wrk nginx nghttp2-client openssl)`);
  }
  const stage = await openStage();
  const running: Peer[] = [];
  try {
    const wanted = process.env['BENCH_PEERS']?.split(',');
    for (const kind of PEERS) {
      if (wanted !== undefined && !wanted.includes(kind.name) && kind.name !== 'nginx') continue;
      if (kind.installed()) running.push(await kind.start(stage));
      else process.stdout.write(`${kind.name} is not installed: left out\n`);
    }
    running.push(await startKontrol(stage));
    report(await measureAll(stage.folder, running));
  } finally {
    for (const peer of running) for (const child of [peer.process, ...peer.others]) await end(child);
    await stage.close();
  }
}

async function measureAll(folder: string, peers: readonly Peer[]): Promise<Results> {
  const results: Results = new Map();
  const wanted = process.env['BENCH_CASES']?.split(',');
  for (const one of CASES) {
    if (wanted !== undefined && !wanted.includes(one.name)) continue;
    results.set(one.name, await measure(folder, one, peers));
  }
  return results;
}

async function measure(
  folder: string,
  one: Case,
  peers: readonly Peer[],
): Promise<Map<string, number[] | string>> {
  const rows = new Map<string, number[] | string>();
  const taking: Peer[] = [];
  for (const peer of peers) {
    if (one.without?.includes(peer.name) === true) continue;
    // A warm-up, and whether it works at all: a peer that answers with errors is no comparison.
    try {
      await one.load(target(folder, one, peer, WARM_UP_SECONDS));
      taking.push(peer);
      rows.set(peer.name, []);
    } catch (error) {
      if (peer.name === 'nginx') throw error;
      rows.set(peer.name, `fails: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const peer of taking) {
      const before = cpuSeconds(peer.process.pid as number);
      try {
        const served = await one.load(target(folder, one, peer, SECONDS));
        const used = cpuSeconds(peer.process.pid as number) - before;
        const row = rows.get(peer.name);
        if (Array.isArray(row)) row.push((used / served) * 1e6);
      } catch (error) {
        if (peer.name === 'nginx') throw error;
        rows.set(peer.name, `fails: ${(error as Error).message.split('\n')[0]}`);
      }
    }
    process.stderr.write(`${one.name}: round ${round + 1} of ${ROUNDS}\n`);
  }
  return rows;
}

function target(folder: string, one: Case, peer: Peer, seconds: number) {
  return { port: one.on === 'https' ? peer.httpsPort : peer.port, seconds, folder };
}

function report(results: Results): void {
  const [cpu] = cpus();
  process.stdout.write(
    `\nCPU µs per request, median of ${ROUNDS} rounds of ${SECONDS} s, ${CONNECTIONS} connections; in brackets × nginx\n`,
  );
  process.stdout.write(
    `${cpu?.model ?? 'unknown CPU'} × ${cpus().length}, node ${process.version}, ${new Date().toISOString().slice(0, 10)}\n\n`,
  );
  for (const [name, rows] of results) {
    const nginx = rows.get('nginx');
    const base = Array.isArray(nginx) ? median(nginx) : Number.NaN;
    process.stdout.write(`${name}\n`);
    for (const [peer, values] of rows) {
      if (typeof values === 'string') {
        process.stdout.write(`  ${peer.padEnd(12)} ${values}\n`);
        continue;
      }
      const value = median(values);
      const spread = `${Math.min(...values).toFixed(1)}–${Math.max(...values).toFixed(1)}`;
      process.stdout.write(
        `  ${peer.padEnd(12)} ${value.toFixed(1).padStart(8)}  (${(value / base).toFixed(2)})  ${spread}\n`,
      );
    }
  }
}

await main();

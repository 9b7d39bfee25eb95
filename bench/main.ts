/**
 * `make bench`: this proxy beside the others, in one run, alternating. Prints CPU microseconds per request (user +
 * system of the proxy's own processes) and the ratio to nginx: the ratio is what carries over to other machines.
 *
 * BENCH_ROUNDS (default 5), BENCH_SECONDS per measurement (default 3), BENCH_CASES and BENCH_PEERS (comma separated).
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startKontrol } from './kontrol-peer.ts';
import { PEERS, type Peer, startBackend } from './peers.ts';
import { cpuSeconds, end, onPath } from './processes.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 3);
const CONNECTIONS = 64;

interface Case {
  readonly name: string;
  readonly path: string;
  /** Lua for wrk, or null. */
  readonly script: string | null;
}

const CASES: readonly Case[] = [
  { name: 'GET 1 KB', path: '/1k', script: null },
  { name: 'GET 100 KB', path: '/100k', script: null },
  { name: 'new connection', path: '/1k', script: 'wrk.headers["Connection"] = "close"' },
];

async function main(): Promise<void> {
  if (!onPath('wrk') || !onPath('nginx'))
    throw new Error('make bench needs wrk and nginx (apt-get install wrk nginx)');
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-bench-'));
  // The backend's worker runs as another user when this runs as root.
  chmodSync(folder, 0o755);
  const running: Peer[] = [];
  const backend = await startBackend(folder);
  try {
    const wanted = process.env['BENCH_PEERS']?.split(',');
    for (const kind of PEERS) {
      if (wanted !== undefined && !wanted.includes(kind.name) && kind.name !== 'nginx') continue;
      if (kind.installed()) running.push(await kind.start(folder, backend.port));
      else process.stdout.write(`${kind.name} is not installed: left out\n`);
    }
    running.push(await startKontrol(folder, backend.port));
    report(await measureAll(folder, running));
  } finally {
    for (const peer of running) for (const child of [peer.process, ...peer.others]) await end(child);
    await end(backend.process);
    rmSync(folder, { recursive: true, force: true });
  }
}

type Results = Map<string, Map<string, number[]>>;

async function measureAll(folder: string, peers: readonly Peer[]): Promise<Results> {
  const results: Results = new Map();
  const wanted = process.env['BENCH_CASES']?.split(',');
  for (const one of CASES) {
    if (wanted !== undefined && !wanted.includes(one.name)) continue;
    const rows = new Map<string, number[]>();
    results.set(one.name, rows);
    for (const peer of peers) load(folder, one, peer, 1);
    for (let round = 0; round < ROUNDS; round++) {
      for (const peer of peers) {
        const before = cpuSeconds(peer.process.pid as number);
        const requests = load(folder, one, peer, SECONDS);
        const used = cpuSeconds(peer.process.pid as number) - before;
        rows.set(peer.name, [...(rows.get(peer.name) ?? []), (used / requests) * 1e6]);
      }
      process.stderr.write(`${one.name}: round ${round + 1} of ${ROUNDS}\n`);
    }
  }
  return results;
}

/** Puts load on a peer; the number of complete answers. Throws when any was not a 2xx. */
function load(folder: string, one: Case, peer: Peer, seconds: number): number {
  const args = ['-t', '1', '-c', String(CONNECTIONS), '-d', `${seconds}s`];
  if (one.script !== null) {
    const file = join(folder, 'case.lua');
    writeFileSync(file, one.script);
    args.push('-s', file);
  }
  const output = execFileSync('wrk', [...args, `http://127.0.0.1:${peer.port}${one.path}`], {
    encoding: 'utf8',
  });
  const errors = /Non-2xx or 3xx responses: (\d+)/.exec(output);
  if (errors !== null) throw new Error(`${peer.name} answered ${errors[1]} requests with an error`);
  return Number(/(\d+) requests in/.exec(output)?.[1]);
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
    const base = median(rows.get('nginx') ?? []);
    process.stdout.write(`${name}\n`);
    for (const [peer, values] of rows) {
      const value = median(values);
      const spread = `${Math.min(...values).toFixed(1)}–${Math.max(...values).toFixed(1)}`;
      process.stdout.write(
        `  ${peer.padEnd(12)} ${value.toFixed(1).padStart(8)}  (${(value / base).toFixed(2)})  ${spread}\n`,
      );
    }
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

await main();

/**
 * Changes while traffic flows: 10 000 domains on the embedded store, two nodes, 100 changes a second and 300 requests a
 * second on 100 hosts, half of which are changed all the time (from one backend to the other and back). Prints what
 * failed (nothing may), latencies of touched and untouched hosts, and how long a change takes to every serving process.
 * BENCH_SECONDS (default 60).
 */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { call, cliOfThisBuild, DOMAINS, firstToken, objects, SERVICES } from './kontrol-peer.ts';
import { accepting, end, freePort, residentMegabytes, start, tree } from './processes.ts';

const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 60);
const CHANGES = 100;
const REQUESTS = 300;
const TOUCHED = 50;
/** Every so many changes one is waited for until every node serves it. */
const WAITED = 10;
const MAIN = cliOfThisBuild();

const folder = mkdtempSync(join(tmpdir(), 'kontrol-churn-'));
const data = join(folder, 'data');
const common = ['--data', data, '--log-level', 'warn'];
const backends = await Promise.all(['blue', 'green'].map(backendOf));
const apiPort = await freePort();
const api = start(process.execPath, [MAIN, 'api', '--api', `127.0.0.1:${apiPort}`, ...common]);
const nodes = await Promise.all(['one', 'two'].map(nodeOf));
const agent = new Agent({ keepAlive: true, maxSockets: 64 });

try {
  await accepting(apiPort);
  const token = await firstToken(apiPort, data);
  const [blue, green] = backends.map(({ port }) => port) as [number, number];
  const own = [
    { kind: 'service', name: 'blue', backends: [`127.0.0.1:${blue}`] },
    { kind: 'service', name: 'green', backends: [`127.0.0.1:${green}`] },
    ...Array.from({ length: 2 * TOUCHED }, (_, i) => ({ kind: 'domain', name: hostOf(i), service: 'blue' })),
  ];
  const many = objects(blue, { domains: DOMAINS, services: SERVICES });
  await call(apiPort, token, 'POST', '/v1/apply?wait=all&timeout=60s', { owner: 'bench', objects: many });
  await call(apiPort, token, 'POST', '/v1/apply?wait=all&timeout=60s', { owner: 'churn', objects: own });
  await Promise.all(nodes.map(({ port }) => accepting(port)));

  const visible: number[] = [];
  const answered: number[] = [];
  const latencies = { touched: [] as number[], untouched: [] as number[] };
  const failures: string[] = [];
  const memory = servingMemory();
  const before = await loopDelays();
  await Promise.all([
    paced(CHANGES, async (turn) => {
      const wait = turn % WAITED === 0;
      const service = Math.floor(turn / TOUCHED) % 2 === 0 ? 'green' : 'blue';
      const path = `/v1/domains/${hostOf(turn % TOUCHED)}${wait ? '?wait=all&timeout=10s' : ''}`;
      const began = performance.now();
      try {
        const { status } = await call(apiPort, token, 'PUT', path, { service });
        if (status === 202) failures.push('a change was not served by every node within 10 s');
      } catch (error) {
        failures.push(`a change failed: ${(error as Error).message.slice(0, 120)}`);
      }
      (wait ? visible : answered).push(performance.now() - began);
    }),
    paced(REQUESTS, async (turn) => {
      const host = turn % (2 * TOUCHED);
      const began = performance.now();
      const answer = await ask((nodes[turn % 2] as { port: number }).port, hostOf(host));
      const wanted = host < TOUCHED ? ['200 blue', '200 green'] : ['200 blue'];
      if (!wanted.includes(answer)) failures.push(`${hostOf(host)}: ${answer}`);
      (host < TOUCHED ? latencies.touched : latencies.untouched).push(performance.now() - began);
    }),
  ]);

  print('changes', `${visible.length + answered.length} in ${SECONDS} s`);
  print('requests', `${latencies.touched.length + latencies.untouched.length}, failed ${failures.length}`);
  for (const [kind, times] of counted(failures)) print(`  failed ${times} times`, kind);
  print('latency of untouched hosts', percentiles(latencies.untouched));
  print('latency of touched hosts', percentiles(latencies.touched));
  print('answer to a PUT', percentiles(answered));
  print('a change is served by every serving process', percentiles(visible));
  print('event loop of the serving processes is late', lateness(before, await loopDelays()));
  print('memory of the serving processes', `${memory} MB before, ${servingMemory()} MB after`);
  process.exitCode = failures.length === 0 ? 0 : 1;
} finally {
  agent.destroy();
  for (const node of nodes) await end(node.process);
  await end(api);
  for (const { server } of backends) server.close();
  rmSync(folder, { recursive: true, force: true });
}

function hostOf(index: number): string {
  return `churn${index}.example.org`;
}

async function backendOf(name: string) {
  const server = createServer((_, response) => response.end(name));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  return { server, port: (server.address() as AddressInfo).port };
}

async function nodeOf(name: string) {
  const [port, internal] = [await freePort(), await freePort()];
  const places = ['--http', `127.0.0.1:${port}`, '--https', '', '--internal', `127.0.0.1:${internal}`];
  const rest = ['--node', name, '--processes', '1', '--access-log', 'off', '--drain', '1s', ...common];
  return { port, internal, process: start(process.execPath, [MAIN, 'proxy', ...places, ...rest]) };
}

/** Begins `each` so many times a second, whether earlier ones have ended or not; resolves when all have. */
async function paced(perSecond: number, each: (turn: number) => Promise<void>): Promise<void> {
  const under: Promise<void>[] = [];
  const began = performance.now();
  for (let turn = 0; turn < perSecond * SECONDS; turn++) {
    const wait = began + (turn / perSecond) * 1_000 - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    under.push(each(turn));
  }
  await Promise.all(under);
}

function ask(port: number, host: string): Promise<string> {
  return new Promise((resolve) => {
    const sent = request(
      { host: '127.0.0.1', port, agent, headers: { host }, timeout: 20_000 },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('error', (error) => resolve(error.message));
        response.on('end', () => resolve(`${response.statusCode} ${body.slice(0, 40)}`));
      },
    );
    sent.on('timeout', () => sent.destroy(new Error('no answer in 20 s')));
    sent.on('error', (error) => resolve(error.message));
    sent.end();
  });
}

/** Failures that differ by nothing but the host are one kind. */
function counted(failures: readonly string[]): Map<string, number> {
  const kinds = new Map<string, number>();
  for (const failure of failures) {
    const kind = failure.replace(/churn\d+/, 'churn…').replace(/\?wait=\S+/, ':');
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return kinds;
}

function servingMemory(): string {
  const serving = nodes.flatMap(({ process: { pid } }) => tree(pid as number)).filter(isServing);
  return serving.map((pid) => residentMegabytes(pid).toFixed(0)).join(' and ');
}

/** How many timers of the serving processes came at most so many seconds late, as both nodes count them. */
async function loopDelays(): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (const { internal } of nodes) {
    const text = await (await fetch(`http://127.0.0.1:${internal}/metrics`)).text();
    for (const [, le, count] of text.matchAll(
      /^kontrol_event_loop_delay_seconds_bucket\{le="(.+?)"\} (\d+)/gm,
    )) {
      const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
      counts.set(bound, (counts.get(bound) ?? 0) + Number(count));
    }
  }
  return counts;
}

/** The bounds below which the shares of the samples lie that came between two readings. */
function lateness(before: Map<number, number>, after: Map<number, number>): string {
  const since = [...after].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)] as const);
  const total = since.at(-1)?.[1] ?? 0;
  const at = (share: number) => (since.find(([, count]) => count >= total * share)?.[0] ?? 0) * 1_000;
  return `median up to ${at(0.5)} ms, p99 up to ${at(0.99)} ms, of ${total} samples`;
}

function isServing(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('kontrol serving');
}

function percentiles(values: number[]): string {
  values.sort((a, b) => a - b);
  const at = (share: number) => (values[Math.floor(values.length * share)] ?? Number.NaN).toFixed(1);
  return `median ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${(values.at(-1) ?? Number.NaN).toFixed(1)} ms`;
}

function print(what: string, value: string): void {
  process.stdout.write(`${what}: ${value}\n`);
}

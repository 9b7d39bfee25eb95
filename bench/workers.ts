/**
 * Workers by the thousand: 5 000 on 200 services beat at two kontrolapi processes (embedded store) while one of them
 * is killed, 1 000 die at once, and all register again after an outage. Prints times, CPU per beat and who was lost;
 * ends with code 1 when someone was lost who was alive, or a call failed that should not. BENCH_WORKERS and BENCH_SERVICES make it smaller.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Crowd } from './crowd.ts';
import { call, cliOfThisBuild, firstToken } from './kontrol-peer.ts';
import { accepting, cpuSeconds, end, freePort } from './processes.ts';

const WORKERS = Number(process.env['BENCH_WORKERS'] ?? 5_000);
const SERVICES = Number(process.env['BENCH_SERVICES'] ?? 200);
const LEASE_MS = 15_000;
const DYING = Math.floor(WORKERS / 5);

interface Api {
  readonly port: number;
  process: ChildProcess;
  output: string;
}

const folder = mkdtempSync(join(tmpdir(), 'kontrol-workers-'));
const apis: Api[] = [];
let crowd: Crowd | null = null;
let wrong = 0;

try {
  apis.push(await startApi(await freePort()), await startApi(await freePort()));
  const [first, second] = apis as [Api, Api];
  const token = await firstToken(first.port, join(folder, 'data'));
  const services = Array.from({ length: SERVICES }, (_, index) => ({
    kind: 'service',
    name: `crowd-${index}`,
    health: { type: 'off' },
  }));
  await call(first.port, token, 'POST', '/v1/apply', { owner: 'bench', objects: services });

  crowd = new Crowd({ apiPorts: apis.map(({ port }) => port), token, workers: WORKERS, services: SERVICES });
  print(`${WORKERS} workers register at once`, `${ms(await timed(() => crowd?.register()))} ms`);
  expectNoFailures('when all registered');
  crowd.beat();
  const cpuBefore = cpu();
  const beatsBefore = crowd.beats;
  await pause(20_000);
  expectNoFailures('while all beat');
  const perBeat = ((cpu() - cpuBefore) * 1e6) / Math.max(1, crowd.beats - beatsBefore);
  print('CPU of both kontrolapi per beat, everything included', `${perBeat.toFixed(0)} µs`);
  await expectLost(0, 'while all beat');

  second.process.kill('SIGKILL');
  await pause(2 * LEASE_MS + 5_000);
  await expectLost(0, 'two leases after one kontrolapi of two was killed');

  const died = performance.now();
  crowd.die(DYING);
  while ((await lost()) < DYING && performance.now() - died < 4 * LEASE_MS) await pause(100);
  print(
    `${DYING} die at once: out of balancing`,
    `${ms(performance.now() - died)} ms after the last of them beat (a lease is ${LEASE_MS} ms)`,
  );
  await expectLost(DYING, 'after the mass death');
  // One line for each service, when all of its losses are in.
  await pause(7_000);
  const lines = first.output.split('\n').filter((line) => line.includes('"workers_lost"')).length;
  print('lines of the log about it', `${lines} for ${Math.min(SERVICES, DYING)} services`);

  first.process.kill('SIGKILL');
  await pause(LEASE_MS + 5_000);
  for (const api of apis) await restart(api);
  // Nobody was there to answer meanwhile.
  crowd.failures = 0;
  print(
    `${WORKERS} register again at once after an outage`,
    `${ms(await timed(() => crowd?.register()))} ms`,
  );
  expectNoFailures('when all registered again');
  await pause(LEASE_MS);
  // Those that registered and do not beat again are found within their lease; nobody else may be among them.
  await expectLost([0, DYING], 'a lease later');
} finally {
  crowd?.close();
  for (const api of apis) await end(api.process);
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = wrong === 0 ? 0 : 1;

async function startApi(port: number): Promise<Api> {
  const api: Api = { port, process: spawnApi(port), output: '' };
  await ready(api);
  return api;
}

async function restart(api: Api): Promise<void> {
  await end(api.process);
  api.process = spawnApi(api.port);
  await ready(api);
}

async function ready(api: Api): Promise<void> {
  const keep = (chunk: Buffer) => {
    api.output += chunk.toString();
  };
  api.process.stdout?.on('data', keep);
  api.process.stderr?.on('data', keep);
  await accepting(api.port);
}

function spawnApi(port: number): ChildProcess {
  const data = join(folder, 'data');
  const args = ['api', '--api', `127.0.0.1:${port}`, '--data', data, '--log-level', 'warn'];
  return spawn(process.execPath, [cliOfThisBuild(), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

async function lost(): Promise<number> {
  const port = apis[0]?.port as number;
  const token = await firstToken(port, join(folder, 'data'));
  const { body } = await call(port, token, 'GET', '/v1/workers?state=lost');
  return (body as { items: unknown[] }).items.length;
}

async function expectLost(wanted: number | readonly [number, number], when: string): Promise<void> {
  const [from, to] = typeof wanted === 'number' ? [wanted, wanted] : wanted;
  const found = await lost();
  if (found < from || found > to) wrong++;
  print(`lost ${when}`, `${found}${found < from || found > to ? ' (WRONG)' : ''}`);
}

/** A call that failed is no cheap one. */
function expectNoFailures(when: string): void {
  const failures = crowd?.failures ?? 0;
  if (failures === 0) return;
  wrong++;
  print(`calls that failed ${when}`, `${failures} (WRONG)`);
}

function cpu(): number {
  return apis.reduce((sum, { process: { pid } }) => sum + cpuSeconds(pid as number), 0);
}

async function timed(work: () => Promise<unknown> | undefined): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function print(what: string, value: string): void {
  process.stdout.write(`${what}: ${value}\n`);
}

function ms(value: number): string {
  return value.toFixed(0);
}

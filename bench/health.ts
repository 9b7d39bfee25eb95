/**
 * What active checks cost: 10 000 backends looked at every 5 seconds, as a node's sync process does. Prints the share of
 * a core that this process takes (the backends are in another), checks per second, and how late timers came.
 * `node build/…/bench/health.js [seconds]`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { HealthChecks } from '../proxy/sync/health-checks.ts';
import { probe } from '../proxy/sync/probe.ts';
import { systemClock } from '../shared/clock.ts';
import { type Health, resolveService } from '../shared/model/service.ts';
import type { CompiledService } from '../shared/routing/decision.ts';

const BACKENDS = 10_000;
const PER_SERVICE = 5;
const SECONDS = Number(process.argv[2] ?? 10);
/** All addresses of 127.0.0.0/8 are this machine: one server stands for every backend. */
const SERVER = `
  const server = require('net').createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.end('HTTP/1.1 200 OK\\r\\nContent-Length: 14\\r\\nConnection: close\\r\\n\\r\\n{"status":200}'));
  });
  server.listen(0, '0.0.0.0', 4096, () => console.log(server.address().port));
`;

async function startServer(): Promise<{ readonly process: ChildProcess; readonly port: number }> {
  const child = spawn(process.execPath, ['-e', SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { process: child, port: Number(line.toString()) };
}

function service(number: number, port: number, health: Health): CompiledService {
  const backends = Array.from({ length: PER_SERVICE }, (_, n) => {
    const place = number * PER_SERVICE + n;
    const address = `127.${1 + (place >> 16)}.${(place >> 8) & 255}.${place & 255}:${port}`;
    return { address, weight: 1, tier: 0, state: 'ready' as const, since: n, worker: null };
  });
  const name = `s${number}`;
  return {
    name,
    config: resolveService({ name, health }),
    keys: new Map([[1, { key: 1, enabled: true, backends }]]),
    latest: 1,
    greatest: 1,
  };
}

async function measure(port: number, health: Health): Promise<string> {
  let done = 0;
  let failed = 0;
  const checks = new HealthChecks({
    clock: systemClock,
    random: Math.random,
    addresses: () => [],
    mayConnect: () => true,
    async probe(target, config, running) {
      const verdict = await probe(target, config, running);
      done++;
      if (verdict !== null) failed++;
      return verdict;
    },
    changed() {},
  });
  for (let number = 0; number < BACKENDS / PER_SERVICE; number++) {
    checks.setService(`s${number}`, service(number, port, health));
  }
  // Until all are decided and spread over the interval.
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  while (done < BACKENDS * 3) await pause(100);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const [before, cpu, start] = [done, process.cpuUsage(), performance.now()];
  await pause(SECONDS * 1_000);
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const rate = ((done - before) / ms) * 1_000;
  const micros = (user + system) / (done - before);
  checks.close();
  return [
    `${((user + system) / ms / 10).toFixed(0)} % of a core`,
    `${micros.toFixed(0)} µs a check`,
    `${rate.toFixed(0)} checks/s`,
    `timers up to ${(delay.percentile(99) / 1e6).toFixed(0)} ms late (p99)`,
    `${failed} failed`,
  ].join(', ');
}

const server = await startServer();
try {
  for (const type of ['tcp', 'http', 'json'] as const) {
    console.log(`${type.padEnd(5)} ${await measure(server.port, { type, interval: 5_000 })}`);
  }
} finally {
  server.process.kill();
}

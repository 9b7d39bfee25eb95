/**
 * The API itself, one kontrolapi on the embedded store with 10 000 domains: how many revisions a second it writes,
 * how long the first page of a list takes, and how long a PUT takes at a steady hundred a second. Beside each number
 * stands the one that is wanted; before all stands how long the bare store takes for one revision, which says what this
 * machine and its disk can do at the moment.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { availableParallelism, loadavg, tmpdir } from 'node:os';

import { join } from 'node:path';
import { silentLog } from '../shared/log.ts';
import { openStore } from '../shared/store/open.ts';
import { call, cliOfThisBuild, DOMAINS, firstToken, objects, SERVICES } from './kontrol-peer.ts';
import { accepting, end, freePort, start } from './processes.ts';

const WRITERS = 32;
const REVISIONS = 2_000;
const LISTS = 50;
const BARE = 200;
const PUTS = 1_000;
const PUTS_PER_SECOND = 100;

const folder = mkdtempSync(join(tmpdir(), 'kontrol-control-'));
chmodSync(folder, 0o755);
const data = join(folder, 'data');
const port = await freePort();
const api = start(process.execPath, [
  cliOfThisBuild(),
  'api',
  '--api',
  `127.0.0.1:${port}`,
  '--data',
  data,
  '--log-level',
  'warn',
]);
let refused = 0;
const agent = new Agent({ keepAlive: true, maxSockets: 256 });

try {
  print('processors and load', `${availableParallelism()}, ${loadavg()[0]?.toFixed(1)}`, 'a load below 1');
  print('one revision on the bare store', figures(await bareAppends()), '1 to 2 ms');
  await accepting(port);
  const token = await firstToken(port, data);
  const size = { domains: DOMAINS, services: SERVICES };
  await call(port, token, 'POST', '/v1/apply', { owner: 'bench', objects: objects(1, size) });
  const put = (n: number, round: string) =>
    send(token, 'PUT', `/v1/services/s${(n % SERVICES) + 1}`, {
      backends: ['127.0.0.1:1'],
      owner: 'bench',
      labels: { round: `${round}-${n}` },
    });

  let next = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: WRITERS }, async () => {
      while (next < REVISIONS) await put(next++, 'rate');
    }),
  );
  const rate = ((REVISIONS - refused) * 1_000) / (performance.now() - began);
  refused = 0;
  print(`revisions a second, ${WRITERS} writers at once`, rate.toFixed(0), '200 or more');

  const lists: number[] = [];
  for (let n = 0; n < LISTS; n++) lists.push(await timed(() => send(token, 'GET', '/v1/domains?limit=100')));
  print('first page of 10 000 domains', figures(lists), 'p99 50 ms or less');

  const puts: Promise<number>[] = [];
  const from = performance.now();
  for (let n = 0; n < PUTS; n++) {
    const due = from + (n * 1_000) / PUTS_PER_SECOND - performance.now();
    if (due > 0) await new Promise((resolve) => setTimeout(resolve, due));
    puts.push(timed(() => put(n, 'steady')));
  }
  const steady = await Promise.all(puts);
  print(`a PUT at ${PUTS_PER_SECOND} a second`, `${figures(steady)}, ${refused} refused`, 'none refused');
} finally {
  agent.destroy();
  await end(api);
  rmSync(folder, { recursive: true, force: true });
}

function send(token: string, method: string, path: string, body?: object): Promise<void> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const sent = request({ host: '127.0.0.1', port, method, path, agent, headers }, (response) => {
      response.resume();
      response.on('end', () => {
        const status = response.statusCode ?? 0;
        // The API lets nobody wait longer than five seconds for a store that is too slow.
        if (status === 503) refused++;
        if ((status >= 200 && status < 300) || status === 503) resolve();
        else reject(new Error(`${method} ${path}: ${status}`));
      });
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

/** Durable appends, one after the other, to a store of its own. */
async function bareAppends(): Promise<number[]> {
  const store = await openStore({ mongoUrl: null, data: join(folder, 'bare') }, silentLog);
  const identity = await store.identity();
  const times: number[] = [];
  let previous = '';
  for (let seq = 1; seq <= BARE; seq++) {
    const id = `bare${seq}`;
    const changes = [{ kind: 'page' as const, name: 'p', doc: { name: 'p', templates: {} } }];
    const revision = { seq, id, previous, store: identity, at: 0, author: 'bench', message: '', changes };
    times.push(await timed(() => store.append(revision)));
    previous = id;
  }
  await store.close();
  return times;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function figures(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  return `median ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms`;
}

function print(what: string, value: string, wanted: string): void {
  process.stdout.write(`${what}: ${value} (wanted: ${wanted})\n`);
}

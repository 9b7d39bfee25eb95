/**
 * The control plane at its design size: 10 000 domains on 2 000 services, embedded store, two nodes on one machine.
 * Prints how long the apply takes, how fast a node answers after a start from its last-known-good copy, memory, and
 * how long a change takes until every node serves it.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { call, cliOfThisBuild, DOMAINS, firstToken, objects, SERVICES } from './kontrol-peer.ts';
import { accepting, end, freePort, residentMegabytes, start, tree } from './processes.ts';
import { startBackend } from './stage.ts';

const CHANGES = 60;
const MAIN = cliOfThisBuild();

const folder = mkdtempSync(join(tmpdir(), 'kontrol-scale-'));
chmodSync(folder, 0o755);
const data = join(folder, 'data');
const backend = await startBackend(folder);
const apiPort = await freePort();
const api = start(process.execPath, [
  MAIN,
  'api',
  '--api',
  `127.0.0.1:${apiPort}`,
  '--data',
  data,
  '--log-level',
  'warn',
]);
const nodes = await Promise.all(['one', 'two'].map(nodeOf));

try {
  await accepting(apiPort);
  const token = await firstToken(apiPort, data);
  for (const node of nodes) node.start();
  await Promise.all(nodes.map((node) => accepting(node.port)));

  const size = { domains: DOMAINS, services: SERVICES };
  const body = { owner: 'bench', objects: objects(backend.port, size) };
  const applied = await timed(() => call(apiPort, token, 'POST', '/v1/apply', body));
  print('apply of 10 000 domains on 2 000 services, one revision', `${ms(applied)} ms`);
  const served = await timed(() =>
    callServed(apiPort, token, '/v1/pages/mark?wait=all&timeout=30s', { name: 'mark', templates: {} }),
  );
  print('until both nodes serve all of it', `${ms(applied + served)} ms`);

  const waits: number[] = [];
  for (let change = 0; change < CHANGES; change++) {
    const domain = { name: `d${change}.example.com`, service: `s${change + 1}` };
    waits.push(
      await timed(() => callServed(apiPort, token, `/v1/domains/${domain.name}?wait=all&timeout=5s`, domain)),
    );
  }
  waits.sort((a, b) => a - b);
  print(
    'a PUT with wait=all on two nodes',
    `median ${ms(waits[CHANGES / 2] as number)} ms, p95 ${ms(waits[Math.floor(CHANGES * 0.95)] as number)} ms`,
  );

  const [one] = nodes;
  if (one === undefined) throw new Error('no node');
  for (const pid of tree(one.process?.pid as number))
    print(`resident memory of process ${pid}`, `${residentMegabytes(pid).toFixed(0)} MB`);
  const { port } = one;
  const down: number[] = [];
  for (let restart = 0; restart < 3; restart++) {
    await one.stop();
    await end(api);
    down.push(
      await timed(async () => {
        one.start();
        await firstAnswer(port, 'd5000.example.com');
      }),
    );
  }
  down.sort((a, b) => a - b);
  print(
    'node start to first answer from its last-known-good copy',
    `median ${ms(down[1] as number)} ms of 3`,
  );
} finally {
  for (const node of nodes) await node.stop();
  await end(api);
  await end(backend.process);
  rmSync(folder, { recursive: true, force: true });
}

async function nodeOf(name: string) {
  const [port, internal] = [await freePort(), await freePort()];
  const node = {
    port,
    process: null as ReturnType<typeof start> | null,
    start() {
      node.process = start(process.execPath, [
        MAIN,
        'proxy',
        '--node',
        name,
        '--http',
        `127.0.0.1:${port}`,
        '--https',
        '',
        '--internal',
        `127.0.0.1:${internal}`,
        '--processes',
        '1',
        '--drain',
        '1s',
        '--access-log',
        'off',
        '--data',
        data,
        '--log-level',
        'warn',
      ]);
    },
    async stop() {
      if (node.process !== null) await end(node.process);
      node.process = null;
    },
  };
  return node;
}

/** A PUT that every node serves; one that was answered before is no measurement. */
async function callServed(port: number, token: string, path: string, body: unknown): Promise<void> {
  const { status } = await call(port, token, 'PUT', path, body);
  if (status === 202) throw new Error(`not every node served PUT ${path} in time`);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** Resolves with the first 200 for this host. */
async function firstAnswer(port: number, host: string): Promise<void> {
  for (let attempt = 0; attempt < 3_000; attempt++) {
    const status = await new Promise<number>((resolve) => {
      const request = get(
        { host: '127.0.0.1', port, path: '/1k', agent: false, headers: { host } },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      request.on('error', () => resolve(0));
    });
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('no answer');
}

function print(what: string, value: string): void {
  process.stdout.write(`${what}: ${value}\n`);
}

function ms(value: number): string {
  return value.toFixed(0);
}

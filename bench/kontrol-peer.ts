/** Kontrol as a peer: one serving process, 10 000 domains on 2 000 services, firewall, access log and metrics on. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Peer } from './peers.ts';
import { accepting, end, freePort, start } from './processes.ts';
import type { Stage } from './stage.ts';

export const DOMAINS = 10_000;
export const SERVICES = 2_000;

/** The command of the build that this benchmark belongs to. */
export function cliOfThisBuild(): string {
  return join(dirname(dirname(fileURLToPath(import.meta.url))), 'cli', 'main.js');
}

export interface KontrolOptions {
  /** Domains and services beside the one that the load goes to. */
  readonly domains?: number;
  readonly services?: number;
  /** Serving processes; default 1. */
  readonly processes?: number;
  /** Tells the nodes of one stage apart, each with a kontrolapi of its own; default `kontrol`. */
  readonly name?: string;
}

export interface KontrolPeer extends Peer {
  readonly apiPort: number;
  readonly internalPort: number;
  readonly data: string;
}

export async function startKontrol(
  { folder, backendPort, echoPort, certs }: Stage,
  { domains = DOMAINS, services = SERVICES, processes = 1, name = 'kontrol' }: KontrolOptions = {},
): Promise<KontrolPeer> {
  const [port, httpsPort] = [await freePort(), await freePort()];
  const [apiPort, internalPort] = [await freePort(), await freePort()];
  const data = join(folder, `${name}-data`);
  const common = ['--data', data, '--log-level', 'warn'];
  const main = cliOfThisBuild();
  const api = start(process.execPath, [main, 'api', '--api', `127.0.0.1:${apiPort}`, ...common]);
  await accepting(apiPort);
  const node = start(process.execPath, [
    main,
    'proxy',
    '--http',
    `127.0.0.1:${port}`,
    '--https',
    `127.0.0.1:${httpsPort}`,
    '--certs',
    certs,
    '--internal',
    `127.0.0.1:${internalPort}`,
    '--processes',
    String(processes),
    '--access-log',
    join(folder, `${name}-access.log`),
    '--node',
    'bench',
    ...common,
  ]);
  try {
    const token = await firstToken(apiPort, data);
    await call(apiPort, token, 'POST', '/v1/apply?wait=all&timeout=30s', {
      owner: 'bench',
      objects: objects(backendPort, { domains, services }, echoPort),
    });
    await accepting(port);
    await accepting(httpsPort);
    await untilServed(port);
  } catch (error) {
    await Promise.all([end(node), end(api)]);
    throw error;
  }
  return { name, port, httpsPort, process: node, others: [api], apiPort, internalPort, data };
}

/** `/ws` goes to a WebSocket server where there is one. */
export function objects(
  backendPort: number,
  size: { domains: number; services: number },
  echoPort: number | null = null,
): unknown[] {
  const echo = echoPort === null ? [] : [{ path: '=/ws', service: 'echo' }];
  const list: unknown[] = [
    {
      kind: 'rule',
      name: 'no-bots',
      list: 'blacklist',
      type: 'ip',
      match: ['192.0.2.0/24', '2001:db8::/32'],
    },
    { kind: 'service', name: 'bench', backends: [`127.0.0.1:${backendPort}`] },
    ...(echoPort === null ? [] : [{ kind: 'service', name: 'echo', backends: [`127.0.0.1:${echoPort}`] }]),
    {
      kind: 'domain',
      name: '127.0.0.1',
      routes: [...echo, { path: '/', service: 'bench' }],
      firewall: ['no-bots'],
    },
    { kind: 'settings', name: 'settings', firewall: ['no-bots'] },
  ];
  for (let index = 0; index < size.services; index++) {
    list.push({
      kind: 'service',
      name: `s${index}`,
      health: { type: 'off' },
      backends: [`127.0.0.1:${backendPort}`],
    });
  }
  for (let index = 0; index < size.domains; index++) {
    list.push({
      kind: 'domain',
      name: `d${index}.example.com`,
      service: `s${index % size.services}`,
      firewall: ['no-bots'],
    });
  }
  return list;
}

export async function call(
  apiPort: number,
  token: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`http://127.0.0.1:${apiPort}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return { status: response.status, body: await response.json() };
}

/** The API accepts a moment before its first start has stored the token that it writes into the folder. */
export async function firstToken(apiPort: number, data: string): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      const token = readFileSync(join(data, 'admin-token'), 'utf8').trim();
      await call(apiPort, token, 'GET', '/v1/session');
      return token;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error('kontrolapi made no admin token');
}

async function untilServed(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const response = await fetch(`http://127.0.0.1:${port}/1k`);
    await response.arrayBuffer();
    if (response.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('kontrol does not serve the route of the benchmark');
}

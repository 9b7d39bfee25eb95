/**
 * A whole Kontrol of real processes for system and fault tests: kontrolapi, nodes and backends, each started by the
 * command people use, each killable by its pid. Ports are free ones; folders are temporary and removed at the end.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './services/process.ts';

const MAIN = fileURLToPath(new URL('../cli/main.js', import.meta.url));
const START_MS = 30_000;
/** In the environment of every process of a cluster, so that none outlives it. Not one of our settings. */
const FOLDER_MARK = 'TEST_CLUSTER_FOLDER';

export interface ClusterOptions {
  readonly mongoUrl?: string;
  readonly redisUrl?: string;
  /** Further arguments of every `kontrol proxy`. */
  readonly proxyArguments?: readonly string[];
  readonly processes?: number;
  /** Where nodes listen for visitors; default IPv4 loopback alone, which is always among them. */
  readonly addresses?: readonly string[];
  /** Further environment of every process of ours, given the folder of the cluster. */
  readonly environment?: (folder: string) => NodeJS.ProcessEnv;
}

export interface ApiReply {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of the API by field
  readonly body: any;
  readonly headers: Headers;
}

/** Starts one of our commands; its output is kept for the message of a failure. */
export class Command {
  readonly process: ChildProcess;
  output = '';

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, KONTROL_LOG_LEVEL: 'info', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const keep = (chunk: Buffer) => {
      this.output = (this.output + chunk.toString()).slice(-100_000);
    };
    this.process.stdout?.on('data', keep);
    this.process.stderr?.on('data', keep);
  }

  get pid(): number {
    return this.process.pid as number;
  }

  get running(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Sends a signal and waits for the end; KILL after `ms`. */
  async end(signal: NodeJS.Signals = 'SIGTERM', ms = 15_000): Promise<void> {
    if (!this.running) return;
    const gone = once(this.process, 'exit');
    this.process.kill(signal);
    const killer = setTimeout(() => this.process.kill('SIGKILL'), ms);
    await gone;
    clearTimeout(killer);
  }
}

/** What is another for one node than for the cluster. */
export interface OwnOfNode {
  readonly mongoUrl?: string;
  readonly redisUrl?: string;
  /** Its ports ask for a PROXY header, from 127.0.0.1. */
  readonly proxied?: boolean;
}

export interface NodeOfCluster extends OwnOfNode {
  readonly name: string;
  readonly http: number;
  readonly https: number;
  readonly internal: number;
  command: Command;
}

export class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'kontrol-test-'));
  readonly data = join(this.folder, 'data');
  readonly certs = join(this.folder, 'certs');
  readonly options: ClusterOptions;
  readonly nodes: NodeOfCluster[] = [];
  apiPort = 0;
  api: Command | null = null;
  readonly #others: Command[] = [];

  constructor(options: ClusterOptions = {}) {
    this.options = options;
  }

  /** kontrolapi and `count` nodes, all ready. */
  static async start(count: number, options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options);
    try {
      await cluster.startApi();
      for (let index = 0; index < count; index++) await cluster.addNode(`n${index + 1}`);
      // A node serves a moment before its record is in the store.
      await cluster.until('every node is listed', async () => {
        const { body } = await cluster.call('GET', '/v1/nodes');
        return body.items.length >= count;
      });
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  async startApi(): Promise<void> {
    if (this.apiPort === 0) this.apiPort = await freePort();
    this.api = new Command(['api', '--api', `127.0.0.1:${this.apiPort}`, ...this.#common()], this.#env());
    await accepting(this.apiPort, this.api);
    // A first start accepts a moment before its token is stored. Without a store there is nothing to wait for.
    for (let attempt = 0; attempt < 50; attempt++) {
      const known = existsSync(join(this.data, 'admin-token'))
        ? (await this.call('GET', '/v1/session')).status
        : 401;
      if (known !== 401) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async addNode(name: string, own: OwnOfNode = {}): Promise<NodeOfCluster> {
    const node = {
      ...own,
      name,
      http: await freePort(),
      https: await freePort(),
      internal: await freePort(),
    };
    const started: NodeOfCluster = { ...node, command: this.#spawnNode(node) };
    this.nodes.push(started);
    await accepting(node.http, started.command);
    await this.until(
      `node ${name} is ready`,
      async () => (await fetch(`http://127.0.0.1:${node.internal}/readyz`)).ok || !this.options.mongoUrl,
    );
    return started;
  }

  /** Starts a node again that has ended. */
  async restartNode(node: NodeOfCluster): Promise<void> {
    node.command = this.#spawnNode(node);
    await accepting(node.http, node.command);
  }

  /** Any other command of ours with the environment of this cluster; ended with it. */
  run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Command {
    const command = new Command(args, {
      ...this.#env(),
      KONTROL_URL: this.apiUrl,
      KONTROL_TOKEN: this.token,
      ...env,
    });
    this.#others.push(command);
    return command;
  }

  get apiUrl(): string {
    return `http://127.0.0.1:${this.apiPort}`;
  }

  get token(): string {
    return readFileSync(join(this.data, 'admin-token'), 'utf8').trim();
  }

  /** A call of the API; any status is an answer. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<ApiReply> {
    const response = await fetch(`${this.apiUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text === '' ? null : JSON.parse(text),
      headers: response.headers,
    };
  }

  /** A call that has to succeed. */
  async ok(method: string, path: string, body?: unknown): Promise<ApiReply> {
    const reply = await this.call(method, path, body);
    assert.ok(reply.status < 300, `${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
    return reply;
  }

  /**
   * Writes objects as one revision, served by every node when it answers. The nodes are on one machine: a listener's
   * port is open on one of them, and the others say that it is in use.
   */
  async apply(...objects: readonly Record<string, unknown>[]): Promise<void> {
    const reply = await this.ok('POST', '/v1/apply?wait=all&timeout=10s', { owner: 'test', objects });
    const { nodes, pending, problems } = reply.body;
    const shared = problems.every(({ kind }: { kind: string }) => kind === 'listener') && nodes.length > 0;
    const served = reply.status === 200 || (pending.length === 0 && problems.length > 0 && shared);
    assert.ok(served, `not every node serves it: ${JSON.stringify(reply.body)}`);
  }

  /** Pids of a node's processes by role, as it reports them. */
  pids(node: NodeOfCluster, role: 'primary' | 'sync' | 'serving'): number[] {
    const title = role === 'serving' ? 'kontrol serving' : `kontrol ${role}`;
    return descendants(node.command.pid).filter((pid) => titleOf(pid).startsWith(title));
  }

  /** Waits until `condition` holds; fails with what it last threw or `what`. */
  async until(what: string, condition: () => Promise<boolean> | boolean, ms = START_MS): Promise<void> {
    const deadline = Date.now() + ms;
    let last: unknown = null;
    for (;;) {
      try {
        if (await condition()) return;
        last = null;
      } catch (error) {
        last = error;
      }
      if (Date.now() > deadline)
        assert.fail(
          `not within ${ms} ms: ${what}${last === null ? '' : ` (${String(last)})`}\n${this.logs()}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The last lines of every process, for the message of a failure. */
  logs(): string {
    const parts: [string, Command | null][] = [
      ['api', this.api],
      ...this.nodes.map((node): [string, Command] => [node.name, node.command]),
    ];
    return parts
      .map(([name, command]) => `--- ${name}\n${(command?.output ?? '').split('\n').slice(-25).join('\n')}`)
      .join('\n');
  }

  async close(): Promise<void> {
    await Promise.all(this.#others.map((command) => command.end('SIGTERM', 3_000)));
    for (const node of this.nodes) {
      const left = node.command.running ? descendants(node.command.pid) : [];
      await node.command.end('SIGTERM', 8_000);
      for (const pid of left) killPid(pid);
    }
    await this.api?.end('SIGTERM', 5_000);
    for (const pid of ofFolder(this.folder)) killPid(pid);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #spawnNode(node: Omit<NodeOfCluster, 'command'>): Command {
    return new Command(
      [
        'proxy',
        '--node',
        node.name,
        '--http',
        this.#on(node.http),
        '--https',
        this.#on(node.https),
        '--internal',
        `127.0.0.1:${node.internal}`,
        '--processes',
        String(this.options.processes ?? 2),
        '--certs',
        this.certs,
        '--drain',
        '5s',
        '--access-log',
        join(this.folder, `${node.name}-access.log`),
        ...this.#common(),
        ...(node.proxied
          ? [
              ...['--trusted-proxies', '127.0.0.1'],
              ...['--proxy-protocol', `127.0.0.1:${node.http},127.0.0.1:${node.https}`],
            ]
          : []),
        ...(this.options.proxyArguments ?? []),
      ],
      this.#env(node),
    );
  }

  #on(port: number): string {
    const addresses = new Set(['127.0.0.1', ...(this.options.addresses ?? [])]);
    return [...addresses].map((address) => `${address}:${port}`).join(',');
  }

  #common(): string[] {
    return ['--data', this.data];
  }

  #env({ mongoUrl, redisUrl }: OwnOfNode = {}): NodeJS.ProcessEnv {
    return {
      ...this.options.environment?.(this.folder),
      MONGO_URL: mongoUrl ?? this.options.mongoUrl,
      REDIS_URL: redisUrl ?? this.options.redisUrl,
      [FOLDER_MARK]: this.folder,
    };
  }
}

export interface Visit {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** One request of a visitor on a fresh connection. (`fetch` would not send a Host of ours.) */
export function visit(
  port: number,
  host: string,
  path = '/',
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: '127.0.0.1',
        port,
        path,
        method: options.method ?? 'GET',
        agent: false,
        headers: { ...options.headers, host },
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      },
    );
    call.on('error', reject);
    call.end(options.body);
  });
}

/** Resolves when `port` accepts; fails with the command's output when it ends before. */
async function accepting(port: number, command: Command): Promise<void> {
  const deadline = Date.now() + START_MS;
  while (!(await accepts(port))) {
    if (!command.running) assert.fail(`the process has ended\n${command.output}`);
    if (Date.now() > deadline) assert.fail(`port ${port} does not accept\n${command.output}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function descendants(root: number): number[] {
  const pids = [root];
  for (let index = 0; index < pids.length; index++) {
    try {
      const children = readFileSync(`/proc/${pids[index]}/task/${pids[index]}/children`, 'utf8').trim();
      if (children !== '') pids.push(...children.split(' ').map(Number));
    } catch {
      // Ended meanwhile.
    }
  }
  return pids;
}

function titleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

/** Orphaned serving processes of this test: they hold its folder open or were started with it in their environment. */
function ofFolder(folder: string): number[] {
  try {
    return execFileSync(
      'sh',
      ['-c', `grep -lzs -- "${FOLDER_MARK}=${folder}" /proc/[0-9]*/environ || true`],
      { encoding: 'utf8' },
    )
      .split('\n')
      .flatMap((line) =>
        /^\/proc\/(\d+)\/environ$/.exec(line)?.[1] ? [Number(/^\/proc\/(\d+)\//.exec(line)?.[1])] : [],
      )
      .filter((pid) => pid !== process.pid);
  } catch {
    return [];
  }
}

function killPid(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

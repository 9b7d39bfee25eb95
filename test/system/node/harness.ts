/** Runs a real node (primary, scripted sync, serving processes) and waits for what it says. Ends only what it started. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ListenerSpec, PrimaryToSync } from '../../../proxy/link/messages.ts';
import type { NodeOptions } from '../../../proxy/primary/main.ts';
import type { SettingsOfProcess } from '../../../shared/settings.ts';
import type { SyncScript } from './scripted-sync.ts';

const DEADLINE_MS = 20_000;

// biome-ignore lint/suspicious/noExplicitAny: what a process says is looked into by each test
export type Event = Record<string, any>;

export interface NodeUnderTestOptions {
  readonly settings?: Partial<SettingsOfProcess>;
  readonly script?: SyncScript;
  readonly options?: NodeOptions;
  /** Folder of another node, to take over from it. */
  readonly folder?: string;
  /** A listening socket of the test, passed on as descriptor 3. */
  readonly inherit?: number;
  /** A command that runs Node with its arguments. */
  readonly under?: readonly string[];
}

export const NO_TABLE: SyncScript = { entries: null };

export class NodeUnderTest {
  readonly folder: string;
  readonly events: Event[] = [];
  readonly #child: ChildProcess;
  readonly #watchers = new Set<() => void>();
  readonly #pids = new Set<number>();
  exit: { code: number | null; signal: string | null } | null = null;

  constructor({
    settings = {},
    script = NO_TABLE,
    options = {},
    folder,
    under = [],
    inherit,
  }: NodeUnderTestOptions = {}) {
    this.folder = folder ?? mkdtempSync(join(tmpdir(), 'kontrol-node-'));
    this.script = script;
    this.#child = spawn(
      under[0] ?? process.execPath,
      [...under.slice(1), ...(under.length > 0 ? [process.execPath] : []), main],
      {
        stdio: ['ignore', 'pipe', 'inherit', ...(inherit === undefined ? [] : [inherit])],
        env: {
          ...process.env,
          NODE_UNDER_TEST: JSON.stringify({
            settings: { ...DEFAULTS, data: this.folder, ...settings },
            options,
          }),
          KONTROL_SECRET: 'for sync only',
          SYNC_SCRIPT: join(this.folder, 'script.json'),
        },
      },
    );
    if (this.#child.pid !== undefined) this.#pids.add(this.#child.pid);
    this.#child.once('exit', (code, signal) => {
      this.exit = { code, signal };
      this.#look();
    });
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (!line.startsWith('{')) return;
      const event = JSON.parse(line) as Event;
      if (event.heard?.type === 'processes')
        for (const { pid } of event.heard.processes) if (pid > 0) this.#pids.add(pid);
      this.events.push(event);
      this.#look();
    });
  }

  set script(script: SyncScript) {
    writeFileSync(join(this.folder, 'script.json'), JSON.stringify(script));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves with what `look` returns as soon as that is not undefined. */
  async until<T>(what: string, look: () => T | undefined): Promise<T> {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(check);
        const last = this.events.slice(-12).map((event) => JSON.stringify(event));
        reject(new Error(`never happened: ${what}; last heard:\n${last.join('\n')}`));
      }, DEADLINE_MS);
      const check = () => {
        const value = look();
        if (value === undefined) return;
        clearTimeout(timer);
        this.#watchers.delete(check);
        resolve(value);
      };
      this.#watchers.add(check);
      check();
    });
  }

  event(what: string, match: (event: Event) => boolean, since = 0): Promise<Event> {
    return this.until(what, () => this.events.slice(since).find(match));
  }

  /** The processes as sync heard of them last. */
  processes(): Extract<PrimaryToSync, { type: 'processes' }>['processes'] {
    return this.events.findLast((event) => event.heard?.type === 'processes')?.heard.processes ?? [];
  }

  ready(): number[] {
    return this.processes()
      .filter(({ role, state }) => role === 'serving' && state === 'ready')
      .map(({ pid }) => pid);
  }

  /** Resolves with the pids of `count` serving processes that accept. */
  untilReady(count: number, without: readonly number[] = []): Promise<number[]> {
    return this.until(`${count} serving processes ready`, () => {
      const pids = this.ready();
      return pids.length === count && !pids.some((pid) => without.includes(pid)) ? pids : undefined;
    });
  }

  async port(type: ListenerSpec['type'] = 'http'): Promise<number> {
    const { listening } = await this.event('started', (event) => event.event === 'started');
    return (listening as ListenerSpec[]).find((spec) => spec.type === type)?.port ?? 0;
  }

  syncPid(): number {
    return this.processes().find(({ role }) => role === 'sync')?.pid ?? 0;
  }

  exited(): Promise<{ code: number | null; signal: string | null }> {
    return this.until('the primary exits', () => this.exit ?? undefined);
  }

  /** Ends whatever is left of it, and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    const left = [...this.#pids].filter((pid) => isAlive(pid));
    for (const pid of left) kill(pid, 'SIGKILL');
    await eventually('everything ended', () => left.every((pid) => !isAlive(pid)));
    rmSync(this.folder, { recursive: true, force: true });
  }

  #look(): void {
    for (const check of [...this.#watchers]) check();
  }
}

const main = fileURLToPath(new URL('./node-main.js', import.meta.url));

const DEFAULTS: Omit<SettingsOfProcess, 'data'> = {
  http: [{ host: '127.0.0.1', port: 0 }],
  https: [],
  publicHttpsPort: null,
  api: { host: '127.0.0.1', port: 0 },
  apiCert: null,
  apiKey: null,
  internal: null,
  node: 'test',
  mongoUrl: 'mongodb://secret',
  redisUrl: null,
  processes: 2,
  certs: './certs',
  pages: null,
  apiToken: null,
  secret: 'secret',
  trustedProxies: [],
  proxyProtocol: [],
  ttlMs: 20_000,
  drainMs: 10_000,
  drainWaitMs: 0,
  memoryLimitMb: 0,
  sockets: 'auto',
  logLevel: 'info',
  accessLog: 'off',
};

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

/** Running, and not just waiting to be reaped by whoever inherited it. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Polls for what no process tells. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** One request on a connection of its own; resolves with all that came, or rejects when refused or reset. */
export function request(
  port: number,
  head = 'GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n',
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(head));
    let text = '';
    socket.setEncoding('latin1');
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error('no answer')));
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('end', () => socket.end());
    socket.on('error', reject);
    socket.on('close', (failed) => {
      if (!failed) resolve(text);
    });
  });
}

/** Resolves when nobody listens on the port any more. */
export async function untilRefused(port: number): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const refused = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => socket.destroy());
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
      socket.on('close', () => resolve(false));
    });
    if (refused) return;
    if (performance.now() > deadline) throw new Error('the port is still listened on');
  }
}

/** Connections to `port` that a process holds, as the kernel counts them. */
export function connectionsOf(pid: number, port: number): number {
  const inodes = new Set<string>();
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1)) {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    if (state === '01' && Number.parseInt(local.split(':')[1] ?? '', 16) === port) inodes.add(inode);
  }
  let count = 0;
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
    if (inode !== undefined && inodes.has(inode)) count++;
  }
  return count;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** Child processes of a benchmark: started together, measured by /proc, ended by their own pid. Linux only. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
const START_TIMEOUT_MS = 30_000;

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function onPath(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { env: withSbin(), stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Servers of Debian live in /usr/sbin, which is not on every user's PATH. */
export function withSbin(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
}

export function start(
  program: string,
  args: readonly string[],
  options: { cwd?: string; ipc?: boolean } = {},
): ChildProcess {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: withSbin(),
    stdio: options.ipc
      ? ['ignore', 'ignore', 'inherit', 'ipc']
      : ['ignore', 'ignore', process.env['BENCH_VERBOSE'] ? 'inherit' : 'ignore'],
  });
  endWithUs(child);
  return child;
}

const running = new Set<ChildProcess>();

/** However this process ends (a time limit, an error that nobody caught), its children end with it. */
function endWithUs(child: ChildProcess): void {
  if (process.listenerCount('SIGTERM') === 0) {
    process.once('SIGTERM', () => process.exit(143));
    process.once('exit', () => {
      for (const one of running) one.kill('SIGTERM');
    });
  }
  running.add(child);
  child.once('exit', () => running.delete(child));
}

/** Resolves when `port` accepts. */
export async function accepting(port: number): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await accepts(port))) {
    if (Date.now() > deadline) throw new Error(`nothing accepts on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
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

/** User and system CPU seconds used so far by a process and all its descendants. */
export function cpuSeconds(root: number): number {
  return tree(root).reduce((sum, pid) => sum + cpuOf(pid), 0);
}

/** Resident memory in megabytes, of the process alone. */
export function residentMegabytes(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) / 1_024;
}

export function tree(root: number): number[] {
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

/** The serving processes of the node whose primary this is. */
export function servingProcesses(primary: number): number[] {
  return tree(primary).filter((pid) => titleOf(pid).startsWith('kontrol serving'));
}

/** Established connections of a process to a port that it listens on (IPv4). */
export function connectionsOf(pid: number, port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const established = new Set<string>();
  for (const line of readFileSync(`/proc/${pid}/net/tcp`, 'utf8').split('\n').slice(1)) {
    // Number, local and remote address, state; the inode is the tenth.
    const columns = line.trim().split(/\s+/);
    if (columns[1]?.endsWith(`:${hex}`) && columns[3] === '01') established.add(`socket:[${columns[9]}]`);
  }
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => established.has(linkOf(pid, fd))).length;
}

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    // Closed meanwhile.
    return '';
  }
}

function titleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    // Ended meanwhile.
    return '';
  }
}

function cpuOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await gone;
  clearTimeout(killer);
}

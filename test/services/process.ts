/**
 * Child processes of the test services: started on a free port, watched until they are ready, and never left over,
 * however the test process ends.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const START_TIMEOUT_MS = 30_000;

/** A started service. */
export interface Daemon {
  /** Of the service itself, for signals such as SIGSTOP. */
  readonly pid: number;
  /** Ends it with `signal` and waits until it is gone. Idempotent. */
  end(signal: NodeJS.Signals): Promise<void>;
}

// The services do not watch their standard input; this shell does, and ends them together with the test process,
// also when that was killed. It ends itself when the service does.
const WATCH =
  'exec 3<&0; "$@" </dev/null 3<&- & p=$!; echo "pid $p"; { cat <&3 >/dev/null; kill -9 $p; } & wait $p';

/** Starts `command` and waits until its output contains `ready`. Keeps no process alive that is otherwise done. */
export async function startDaemon(command: string, args: readonly string[], ready: string): Promise<Daemon> {
  const shell = spawn('sh', ['-c', WATCH, 'sh', command, ...args], { stdio: 'pipe' });
  const streams = [shell.stdin, shell.stdout, shell.stderr];
  let said = '';
  let gone = false;
  const end = new Promise<void>((resolve) => {
    const ended = (): void => {
      gone = true;
      shell.stdin.destroy();
      resolve();
    };
    shell.once('exit', ended);
    shell.once('error', ended);
  });
  for (const stream of streams) stream.on('error', () => {});
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(timer);
      shell.stdin.destroy();
      reject(new Error(`${command} ${why}: ${said.slice(-2_000)}`));
    };
    const timer = setTimeout(() => fail(`was not ready within ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    const listen = (chunk: Buffer): void => {
      said = (said + chunk.toString()).slice(-20_000);
      if (!said.includes(ready)) return;
      clearTimeout(timer);
      resolve();
    };
    shell.stdout.on('data', listen);
    shell.stderr.on('data', listen);
    shell.once('error', (error) => fail(error.message));
    shell.once('exit', (code) => fail(`ended with code ${code}`));
  });
  shell.unref();
  for (const stream of streams) (stream as unknown as { unref(): void }).unref();
  const pid = Number(/^pid (\d+)$/m.exec(said)?.[1]);
  return {
    pid,
    async end(signal) {
      if (gone) return;
      shell.ref();
      process.kill(pid, signal);
      await end;
    },
  };
}

/**
 * A port that nothing listens on, below the range from which the kernel takes the ports of outgoing connections: so
 * it is still free when a service is started on it once more. No other test process of this machine gets it as long
 * as this one lives: it may be a while until something listens there.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!claim(port)) continue;
    const probe = createServer();
    try {
      probe.listen(port, '127.0.0.1');
      await once(probe, 'listening');
      const closed = once(probe, 'close');
      probe.close();
      await closed;
      return port;
    } catch {
      // Taken; try another.
    }
  }
}

const CLAIMS = join(tmpdir(), 'kontrol-test-ports');
const claimed: string[] = [];

/** False when a test process that still lives has it. */
function claim(port: number): boolean {
  mkdirSync(CLAIMS, { recursive: true });
  const file = join(CLAIMS, String(port));
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
  } catch {
    if (isAlive(file)) return false;
    // Whoever had it was killed: it is free for the next who comes by.
    rmSync(file, { force: true });
    return false;
  }
  if (claimed.length === 0) process.once('exit', giveBackAll);
  claimed.push(file);
  return true;
}

function giveBackAll(): void {
  for (const file of claimed) rmSync(file, { force: true });
}

function isAlive(file: string): boolean {
  try {
    process.kill(Number(readFileSync(file, 'utf8')), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether `program` is on PATH. */
export function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Installs Debian packages where that is possible; else throws one line that says what is missing. */
export async function installPackages(packages: readonly string[]): Promise<void> {
  const names = packages.join(' ');
  if (process.getuid?.() !== 0 || !onPath('apt-get'))
    throw new Error(`the tests need ${names}: install them (Debian: apt-get install ${names})`);
  const options = ['-qq', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300'];
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = () => run('apt-get', ['install', ...options, ...packages], { env, maxBuffer: 1 << 26 });
  try {
    await install();
  } catch {
    // The package lists may be missing or old.
    try {
      await run('apt-get', ['update', '-qq'], { env, maxBuffer: 1 << 26 });
      await install();
    } catch (error) {
      const reason = String((error as { stderr?: string }).stderr ?? error).trim();
      throw new Error(
        `the tests need ${names}, and apt-get could not install them: ${reason.split('\n').at(-1)}`,
      );
    }
  }
}

/** A service that somebody else runs: tests use it, but must not end it. */
export function givenService(url: string, variable: string) {
  const refuse = async (): Promise<never> => {
    throw new Error(`the server of ${variable} is not ended by tests; start one with { own: true }`);
  };
  return { url, pid: 0, stop: async () => {}, kill: refuse, restart: refuse };
}

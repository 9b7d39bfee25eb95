/**
 * Runs any program as a registered worker: starts it when the API permits (at once when no API answers and the mode
 * is `many`), reports it ready when its port accepts, takes it out of balancing before it ends, and starts it again,
 * under a new registration and with back-off, when it crashes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { type LeaseOptions, type Permission, WorkerLease } from './lease.ts';

export interface WrapperOptions extends Pick<LeaseOptions, 'url' | 'token' | 'registration'> {
  readonly command: readonly [program: string, ...args: string[]];
  /** The port has to accept within this time after the start. */
  readonly startTimeoutMs: number;
  /** Longest wait for requests under way when it is taken out. */
  readonly drainTimeoutMs: number;
  /** Between TERM and KILL. */
  readonly stopTimeoutMs: number;
  readonly note: (line: string) => void;
}

const FIRST_RESTART_MS = 1_000;
const SLOWEST_RESTART_MS = 30_000;
/** A program that was ready this long restarts with the first delay again. */
const STEADY_MS = 60_000;
const PROBE_MS = 100;

type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export class Wrapper {
  readonly #options: WrapperOptions;
  #requestStop: () => void = () => {};
  readonly #stopRequested: Promise<void>;
  #stopped = false;

  constructor(options: WrapperOptions) {
    this.#options = options;
    this.#stopRequested = new Promise((resolve) => {
      this.#requestStop = resolve;
    });
  }

  /** Asks for an orderly end: drain, deregister, end the program. `run` resolves when all is done. */
  stop(): void {
    this.#stopped = true;
    this.#requestStop();
  }

  /** Runs until `stop`; the exit code for the command. */
  async run(): Promise<number> {
    let delay = FIRST_RESTART_MS;
    for (;;) {
      const life = new Life(this.#options, this.#stopRequested);
      const outcome = await life.run();
      if (this.#stopped || outcome === 'stopped') return 0;
      if (outcome.readyMs > STEADY_MS) delay = FIRST_RESTART_MS;
      this.#options.note(`${outcome.reason}; it starts again in ${Math.round(delay / 1_000)} s`);
      await Promise.race([this.#stopRequested, pause(delay)]);
      if (this.#stopped) return 0;
      delay = Math.min(SLOWEST_RESTART_MS, delay * 2);
    }
  }
}

type Outcome = 'stopped' | { readonly reason: string; readonly readyMs: number };

/** One registration and one run of the program under it. */
class Life {
  readonly #options: WrapperOptions;
  readonly #lease: WorkerLease;
  #onChange: () => void = () => {};
  #told: 'run' | 'wait' | 'stop' | 'drain' | null = null;
  #stop = false;

  constructor(options: WrapperOptions, stopRequested: Promise<void>) {
    this.#options = options;
    this.#lease = new WorkerLease({
      ...options,
      onNote: options.note,
      onPermission: (permission: Permission) => {
        if (permission === 'wait') options.note('another worker runs; waiting for permission');
        this.#change(permission);
      },
      onCommand: (command) => {
        options.note(`told to ${command}`);
        this.#change(command);
      },
    });
    void stopRequested.then(() => {
      this.#stop = true;
      this.#onChange();
    });
  }

  async run(): Promise<Outcome> {
    const { registration, note, startTimeoutMs } = this.#options;
    if (await accepts(registration.port)) {
      return { reason: `port ${registration.port} is taken by another process`, readyMs: 0 };
    }
    this.#lease.start();
    if (!(await this.#permitted())) {
      await this.#lease.close();
      return 'stopped';
    }
    const program = this.#spawn();
    const ended = endOf(program);
    let ending: Ending | null = null;
    void ended.then((how) => {
      ending = how;
      this.#onChange();
    });
    const startedAt = performance.now();
    let readyAt: number | null = null;
    while (ending === null && !this.#stop && this.#told !== 'stop' && this.#told !== 'wait') {
      if (readyAt === null) {
        if (await accepts(registration.port)) {
          readyAt = performance.now();
          this.#lease.setState('ready');
          note(`ready on port ${registration.port}`);
        } else if (performance.now() - startedAt > startTimeoutMs) {
          note(`port ${registration.port} did not accept within ${startTimeoutMs} ms`);
          break;
        } else {
          await Promise.race([this.#changed(), pause(PROBE_MS)]);
        }
      } else {
        await this.#changed();
      }
    }
    const readyMs = readyAt === null ? 0 : performance.now() - readyAt;
    if (ending === null) {
      // Out of balancing first, then the end: no request meets a closed port.
      if (readyAt !== null && !(await this.#lease.drain(this.#options.drainTimeoutMs))) {
        note('not every node confirmed the drain in time');
      }
      await this.#lease.close();
      await this.#end(program, ended);
      if (this.#stop || this.#told === 'stop') return 'stopped';
      return {
        reason: this.#told === 'wait' ? 'the permission to run was taken back' : 'the program was not ready',
        readyMs,
      };
    }
    await this.#lease.close();
    const { code, signal } = ending as Ending;
    return { reason: `the program ended (${signal ?? `exit code ${code}`})`, readyMs };
  }

  /** True when the program may start, false when it is to stop before that. */
  async #permitted(): Promise<boolean> {
    for (;;) {
      if (this.#stop || this.#told === 'stop') return false;
      if (this.#lease.permission === 'run') return true;
      const exclusive =
        this.#options.registration.mode !== undefined && this.#options.registration.mode !== 'many';
      if (!exclusive && this.#lease.reachable === false) return true;
      await Promise.race([this.#changed(), pause(PROBE_MS)]);
    }
  }

  #change(what: 'run' | 'wait' | 'stop' | 'drain'): void {
    this.#told = what;
    this.#onChange();
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#onChange = resolve;
    });
  }

  #spawn(): ChildProcess {
    const [program, ...args] = this.#options.command;
    const { service, key, port } = this.#options.registration;
    // A group of its own: Ctrl-C and a group-wide TERM reach only this wrapper, which then ends it in order.
    return spawn(program, args, {
      stdio: 'inherit',
      detached: true,
      env: { ...process.env, PORT: String(port), KONTROL_SERVICE: service, KONTROL_KEY: String(key ?? 1) },
    });
  }

  async #end(program: ChildProcess, ended: Promise<Ending>): Promise<void> {
    signalGroup(program, 'SIGTERM');
    const killer = setTimeout(() => signalGroup(program, 'SIGKILL'), this.#options.stopTimeoutMs);
    await ended;
    clearTimeout(killer);
  }
}

function endOf(program: ChildProcess): Promise<Ending> {
  return new Promise((resolve) => {
    program.on('exit', (code, signal) => resolve({ code, signal }));
    program.on('error', () => resolve({ code: 127, signal: null }));
  });
}

function signalGroup(program: ChildProcess, signal: NodeJS.Signals): void {
  if (program.pid === undefined) return;
  try {
    process.kill(-program.pid, signal);
  } catch {
    // Gone already.
  }
}

/** Whether something accepts on this port of this machine. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', timeout: 1_000 });
    const end = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    socket.once('timeout', () => end(false));
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

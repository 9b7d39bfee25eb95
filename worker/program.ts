/**
 * A program in a process group of its own: signals that reach its wrapper do not reach it, and its end takes
 * everything with it that it has started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export type Command = readonly [program: string, ...args: string[]];

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it could not be started at all; null when it ran. */
  readonly failure: string | null;
}

const LOOK_MS = 50;
const PAGE_BYTES = 4_096;

export class Program {
  /** Resolves when the program itself has ended; others of its group may still run. */
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcess;
  readonly #startedAt = performance.now();
  readonly #killAtExit = () => this.kill();
  #ending: Ending | null = null;

  /** Starts it; it shares the streams of this process. Never throws. */
  constructor(command: Command, env: NodeJS.ProcessEnv) {
    const [program, ...args] = command;
    this.#child = spawn(program, args, { stdio: 'inherit', detached: true, env });
    // Whatever ends this process: a program without its wrapper would hold the port for ever.
    process.once('exit', this.#killAtExit);
    this.ended = new Promise((resolve) => {
      const end = (ending: Ending) => {
        this.#ending ??= ending;
        resolve(this.#ending);
      };
      this.#child.once('exit', (code, signal) => end({ code, signal, failure: null }));
      this.#child.on('error', (error: NodeJS.ErrnoException) => {
        // Errors of a running program are of a signal that did not arrive.
        if (this.#child.pid === undefined)
          end({ code: null, signal: null, failure: error.code ?? error.message });
      });
    });
  }

  /** How it ended; null while it runs. */
  get ending(): Ending | null {
    return this.#ending;
  }

  /** Resident memory in bytes (where /proc tells) and seconds since the start. */
  vitals(): { readonly memory?: number; readonly uptime: number } {
    const uptime = (performance.now() - this.#startedAt) / 1_000;
    try {
      const pages = Number(readFileSync(`/proc/${this.#child.pid}/statm`, 'utf8').split(' ')[1]);
      return Number.isFinite(pages) ? { memory: pages * PAGE_BYTES, uptime } : { uptime };
    } catch {
      return { uptime };
    }
  }

  /** TERM to the group, KILL after `graceMs`; resolves when all of it has ended. Idempotent. */
  async end(graceMs: number): Promise<void> {
    this.#signal('SIGTERM');
    const deadline = performance.now() + graceMs;
    while (performance.now() < deadline && (this.#ending === null || this.#signal(0))) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    this.kill();
    await this.ended;
    process.off('exit', this.#killAtExit);
  }

  kill(): void {
    this.#signal('SIGKILL');
  }

  /** False when nobody of the group is there. */
  #signal(signal: NodeJS.Signals | 0): boolean {
    if (this.#child.pid === undefined) return false;
    try {
      return process.kill(-this.#child.pid, signal);
    } catch {
      return false;
    }
  }
}

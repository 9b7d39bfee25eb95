/**
 * One process started by the primary: its channel, its pulse and its end. Messages to it are bounded: a process that
 * does not read its channel is ended, never buffered for without limit.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { ONE_HELPER } from '../../shared/background.ts';
import type { Log } from '../../shared/log.ts';

/** Messages given to the channel and not yet taken by the kernel; beyond, the process counts as hung. */
export const MAX_OUTSTANDING = 5_000;
/** Seconds without an answer to a ping after which a process is replaced; one that is still starting gets longer. */
export const SILENT_PINGS = 5;
export const SILENT_PINGS_AT_START = 20;

export type ChildState = 'starting' | 'ready' | 'draining' | 'gone';
export type ChildRole = 'sync' | 'serving';

export interface ChildOptions {
  readonly role: ChildRole;
  /** Number of a serving process, never used twice; 0 for sync. */
  readonly id: number;
  /** Path of the module it runs. */
  readonly entry: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  onMessage(child: Child, message: { readonly type?: unknown; readonly relay?: unknown }): void;
  /** Exactly once, also when it could not even be started. */
  onGone(child: Child): void;
}

export class Child {
  readonly role: ChildRole;
  readonly id: number;
  readonly startedAt = performance.now();
  state: ChildState = 'starting';
  /** Bytes and open connections as of its last pong. */
  rss = 0;
  connections = 0;
  readonly #options: ChildOptions;
  readonly #process: ChildProcess | null = null;
  #outstanding = 0;
  #unanswered = 0;
  #answered = false;
  #ping = 0;

  constructor(options: ChildOptions) {
    this.#options = options;
    this.role = options.role;
    this.id = options.id;
    try {
      this.#process = fork(options.entry, [], {
        env: options.env,
        execArgv: [ONE_HELPER],
        serialization: 'json',
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
    } catch (error) {
      // Too many processes or descriptors: tried again like a process that ended.
      setImmediate(() => this.#gone(`cannot be started: ${(error as Error).message}`));
      return;
    }
    this.#process.on('message', (message) => {
      if (typeof message === 'object' && message !== null) options.onMessage(this, message);
    });
    this.#process.on('error', (error) => {
      if (this.#process?.pid === undefined) this.#gone(`cannot be started: ${error.message}`);
    });
    this.#process.once('exit', (code, signal) => this.#gone(signal ?? `exit code ${code}`));
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Milliseconds since it was started. */
  get age(): number {
    return performance.now() - this.startedAt;
  }

  /** False when it cannot be reached any more. */
  send(message: object, handle?: unknown): boolean {
    const target = this.#process;
    if (target === null || this.state === 'gone' || !target.connected) return false;
    if (this.#outstanding >= MAX_OUTSTANDING) {
      this.#options.log.error('channel_full', `The ${this.name} does not read its messages and is replaced`, {
        pid: this.pid,
      });
      this.kill();
      return false;
    }
    this.#outstanding++;
    // A raw TCP handle is accepted by Node ('net.Native'), though its types do not say so.
    target.send(message, handle as never, {}, () => {
      this.#outstanding--;
    });
    return true;
  }

  /** Asks for a sign of life. False when it has been silent for too long. */
  ping(mean: number | null): boolean {
    const started = this.#answered || this.state !== 'starting';
    if (this.#unanswered >= (started ? SILENT_PINGS : SILENT_PINGS_AT_START)) return false;
    this.#unanswered++;
    this.send({ type: 'ping', n: ++this.#ping, mean });
    return true;
  }

  pong(): void {
    this.#answered = true;
    this.#unanswered = 0;
  }

  /** Whether it ever answered a ping. */
  get answered(): boolean {
    return this.#answered;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    if (this.state !== 'gone') this.#process?.kill(signal);
  }

  /** Ends the channel: sync ends with it. */
  disconnect(): void {
    if (this.#process?.connected) this.#process.disconnect();
  }

  /** As `ps` shows it. */
  get name(): string {
    return this.role === 'sync' ? 'sync process' : `serving process ${this.id}`;
  }

  /** Why it ended; empty while it runs. */
  end = '';

  #gone(how: string): void {
    if (this.state === 'gone') return;
    this.end = how;
    this.state = 'gone';
    this.#options.onGone(this);
  }
}

/**
 * `kontrol up`: kontrolapi and one node on this machine. It only supervises: both run the same code as when started
 * alone, are started again when they die, and are stopped in order (the node drains first) on INT or TERM.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ONE_HELPER } from '../shared/background.ts';
import type { Log } from '../shared/log.ts';
import { helpText, readSettings } from '../shared/settings.ts';
import { isHeldByAnother } from './internal-port.ts';
import { openLog } from './open-log.ts';
import { type FromChild, supervisedEnvironment, type ToChild, takeOrders } from './supervised.ts';
import { type Started, welcome } from './welcome.ts';

const FIRST_RESPAWN_MS = 100;
const SLOWEST_RESPAWN_MS = 10_000;
/** A child that lived this long starts with no delay when it dies. */
const STEADY_MS = 10_000;

export async function run(argv: readonly string[]): Promise<number> {
  const read = readSettings(argv, process.env, 'up');
  if (read.help) {
    process.stdout.write(helpText('up'));
    return 0;
  }
  process.title = 'kontrol up';
  const { settings } = read;
  const log = openLog(read, 'up');

  return new Promise((resolve) => {
    const started: Started = {};
    let greeted = false;
    const greet = (part: Started) => {
      Object.assign(started, part);
      if (greeted || started.api === undefined || started.proxy === undefined) return;
      greeted = true;
      const { internal } = settings;
      const { pid } = proxy;
      const checked = internal === null || pid === null ? false : isHeldByAnother(internal, pid);
      void Promise.resolve(checked).then((taken) => process.stderr.write(welcome(settings, started, taken)));
    };
    const end = (code: number) => {
      proxy.stop();
      api.stop();
      void Promise.all([proxy.ended, api.ended]).then(() => resolve(code));
    };
    let failed = false;
    const fatal = (message: string) => {
      // Both may fail of the same thing; one line is enough.
      if (!failed) process.stderr.write(`kontrol: ${message}\n`);
      failed = true;
      end(1);
    };
    const api = new Child('api', argv, log, (detail) => greet({ api: detail as Started['api'] }), fatal);
    const proxy = new Child(
      'proxy',
      argv,
      log,
      (detail) => greet({ proxy: detail as Started['proxy'] }),
      fatal,
    );
    takeOrders({
      stop() {
        // The node first: the API goes on answering while visitors are drained.
        proxy.stop();
        void proxy.ended
          .then(() => {
            api.stop();
            return api.ended;
          })
          .then(() => resolve(0));
      },
      restart: () => proxy.tell({ type: 'restart' }),
      reopenLogs() {
        api.tell({ type: 'reopen-logs' });
        proxy.tell({ type: 'reopen-logs' });
      },
      abandoned() {},
    });
  });
}

/** One supervised process: restarted with back-off until it is told to stop. */
class Child {
  /** Resolves when it was stopped and is gone. */
  readonly ended: Promise<void>;
  readonly #command: string;
  readonly #argv: readonly string[];
  readonly #log: Log;
  readonly #onReady: (detail: unknown) => void;
  readonly #onFatal: (message: string) => void;
  #process: ChildProcess | null = null;
  #respawn: NodeJS.Timeout | null = null;
  #delay = 0;
  #everReady = false;
  #stopping = false;
  #markEnded: () => void = () => {};

  constructor(
    command: string,
    argv: readonly string[],
    log: Log,
    onReady: (detail: unknown) => void,
    onFatal: (message: string) => void,
  ) {
    this.#command = command;
    this.#argv = argv;
    this.#log = log;
    this.#onReady = onReady;
    this.#onFatal = onFatal;
    this.ended = new Promise((resolve) => {
      this.#markEnded = resolve;
    });
    this.#start();
  }

  /** Null between two. */
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  tell(message: ToChild): void {
    if (this.#process?.connected) this.#process.send(message, () => {});
  }

  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    if (this.#respawn !== null) clearTimeout(this.#respawn);
    if (this.#process === null) this.#markEnded();
    else this.tell({ type: 'stop' });
  }

  #start(): void {
    this.#respawn = null;
    const startedAt = performance.now();
    const main = fileURLToPath(new URL('./main.js', import.meta.url));
    const child = fork(main, [this.#command, ...this.#argv], {
      env: supervisedEnvironment(),
      execArgv: [...process.execArgv, ONE_HELPER],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#process = child;
    child.on('message', (message: FromChild) => {
      if (message.type === 'ready') {
        this.#everReady = true;
        this.#onReady(message.detail);
      } else if (message.type === 'failed' && !this.#everReady) {
        // It cannot start here at all (a port in use, an unwritable folder): trying again would only repeat the line.
        this.#onFatal(message.message);
      }
    });
    child.on('error', (error) => {
      this.#log.error('child_error', `kontrol ${this.#command}: ${error.message}`);
      // A process that could not be made at all has no exit.
      if (child.pid === undefined) child.emit('exit', 1, null);
    });
    child.on('exit', (code, signal) => {
      this.#process = null;
      if (this.#stopping) {
        this.#markEnded();
        return;
      }
      this.#delay =
        performance.now() - startedAt > STEADY_MS
          ? 0
          : Math.min(SLOWEST_RESPAWN_MS, Math.max(FIRST_RESPAWN_MS, this.#delay * 2));
      this.#log.error(
        'child_died',
        `kontrol ${this.#command} ended (${signal ?? code}); it starts again in ${this.#delay} ms`,
      );
      this.#respawn = setTimeout(() => this.#start(), this.#delay);
    });
  }
}

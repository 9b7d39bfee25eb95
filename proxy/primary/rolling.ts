/**
 * Replaces serving processes without losing a request: the new one is ready before the old one stops accepting.
 * On SIGHUP all of them, one after the other, then sync; and one by itself when it has grown above the memory limit.
 */
import type { Log } from '../../shared/log.ts';
import type { Child } from './child.ts';

/** How often memory is looked at. */
const MEMORY_CHECK_MS = 10_000;
/**
 * One that replaced a process for its memory is left alone for this long: where the limit is too low for any
 * process, they would otherwise be replaced for ever.
 */
const RESPITE_MS = 60_000;

export interface Replaceable {
  /** Serving processes in place. */
  seated(): Child[];
  replace(child: Child): Promise<boolean>;
  replaceSync(): Promise<void>;
}

export class Rolling {
  readonly #supervisor: Replaceable;
  readonly #log: Log;
  readonly #limitBytes: number;
  #check: NodeJS.Timeout | null = null;
  /** Replacements run one at a time, in the order asked for. */
  #queue: Promise<unknown> = Promise.resolve();
  #restartQueued = false;
  readonly #outgrown = new Set<Child>();
  /** Those that replaced a process for its memory. */
  readonly #successors = new WeakSet<Child>();

  /** `limitMb` 0 = no memory limit. */
  constructor(supervisor: Replaceable, limitMb: number, log: Log) {
    this.#supervisor = supervisor;
    this.#limitBytes = limitMb * 1_048_576;
    this.#log = log;
  }

  start(): void {
    if (this.#limitBytes > 0) this.#check = setInterval(() => this.checkMemory(), MEMORY_CHECK_MS);
  }

  /** Replaces every process. Asked for again before it has begun, it happens once. */
  restart(): Promise<void> {
    if (this.#restartQueued) return this.#queue as Promise<void>;
    this.#restartQueued = true;
    return this.#enqueue(async () => {
      this.#restartQueued = false;
      const old = this.#supervisor.seated();
      this.#log.info('restart_begun', `Replacing ${old.length} serving processes, one after the other`);
      for (const child of old) {
        if (child.state === 'gone' || (await this.#supervisor.replace(child))) continue;
        this.#log.error(
          'restart_stopped',
          'A new serving process did not get ready; the others stay as they are',
        );
        return;
      }
      await this.#supervisor.replaceSync();
      this.#log.info('restart_done', 'Every process has been replaced');
    });
  }

  /** Looks at the memory that each process reported last. */
  checkMemory(): void {
    for (const child of this.#supervisor.seated()) {
      if (child.rss <= this.#limitBytes || this.#outgrown.has(child)) continue;
      if (this.#successors.has(child) && child.age < RESPITE_MS) continue;
      this.#outgrown.add(child);
      this.#log.warn('memory_limit', `The ${child.name} is above the memory limit and is replaced`, {
        pid: child.pid,
        rss: child.rss,
      });
      void this.#enqueue(async () => {
        const before = new Set(this.#supervisor.seated());
        if (child.state === 'ready') await this.#supervisor.replace(child);
        this.#outgrown.delete(child);
        for (const seated of this.#supervisor.seated()) if (!before.has(seated)) this.#successors.add(seated);
      });
    }
  }

  close(): void {
    if (this.#check !== null) clearInterval(this.#check);
    this.#check = null;
  }

  #enqueue(task: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(task, task);
    this.#queue = done;
    return done;
  }
}

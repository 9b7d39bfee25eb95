/**
 * Starts the sync process and the serving processes and keeps them running: whoever dies or stops answering is
 * replaced. Knows who is who; what is said goes through `relay.ts`, who listens where through `listeners.ts`.
 */
import { controlPorts } from '../../shared/backend-addresses.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { PrimaryToServing, PrimaryToSync, StartMessage } from '../link/messages.ts';
import { Child, type ChildRole } from './child.ts';
import { Seat } from './seat.ts';

/** Time a process gets beyond its drain before it is ended. */
const DRAIN_GRACE_MS = 2_000;
const SYNC_END_MS = 5_000;
/** A replacement that is not ready by then has failed. */
const READY_WITHIN_MS = 60_000;

export interface SupervisorOptions {
  readonly settings: SettingsOfProcess;
  readonly log: Log;
  readonly clock: Clock;
  readonly syncEntry: string;
  readonly servingEntry: string;
  /** A new process has got its start message. */
  onStarted(child: Child): void;
  onMessage(child: Child, message: { readonly type?: unknown; readonly relay?: unknown }): void;
  onReady(child: Child): void;
  /** It was told to drain. */
  onDraining(child: Child): void;
  onGone(child: Child): void;
}

/** Variables that a serving process has no use for, and that it therefore does not get. */
const SECRET_VARIABLES = ['MONGO_URL', 'REDIS_URL', 'KONTROL_API_TOKEN', 'KONTROL_SECRET', 'KONTROL_TOKEN'];

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #children = new Set<Child>();
  readonly #syncSeat: Seat;
  readonly #servingSeats: Seat[];
  /** Those told to leave, each with what cancels its end by force. */
  readonly #leaving = new Map<Child, () => void>();
  readonly #waiting = new Set<() => void>();
  #lastId = 0;
  #stopping = false;
  #pulse: NodeJS.Timeout | null = null;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { clock } = options;
    this.#syncSeat = new Seat(() => this.#spawn('sync'), clock);
    this.#servingSeats = Array.from(
      { length: Math.max(1, options.settings.processes) },
      () => new Seat(() => this.#spawn('serving'), clock),
    );
  }

  start(): void {
    this.#syncSeat.start();
    for (const seat of this.#servingSeats) seat.start();
    this.#pulse = setInterval(() => this.#beat(), 1_000);
  }

  /** The running sync process; null between two. */
  get sync(): Child | null {
    const child = this.#syncSeat.current;
    return child === null || child.state === 'gone' ? null : child;
  }

  /** Every serving process, draining ones included. */
  serving(): Child[] {
    return [...this.#children].filter((child) => child.role === 'serving');
  }

  /** Every process, in the order in which they were started. */
  all(): readonly Child[] {
    return [...this.#children];
  }

  byId(id: number): Child | undefined {
    for (const child of this.#children) if (child.role === 'serving' && child.id === id) return child;
    return undefined;
  }

  /** The serving processes that accept, or will: those a graceful replacement may concern. */
  seated(): Child[] {
    return this.#servingSeats.flatMap((seat) => seat.current ?? []);
  }

  /** A new process first, then the old one drains. False when the new one died or `child` was not in place. */
  async replace(child: Child): Promise<boolean> {
    const seat = this.#servingSeats.find((candidate) => candidate.current === child);
    if (seat === undefined || this.#stopping) return false;
    const replaced = seat.replace();
    const successor = seat.successor;
    const cancel = this.#options.clock.after(READY_WITHIN_MS, () => {
      if (seat.successor === successor) successor?.kill();
    });
    const result = await replaced;
    cancel();
    return result;
  }

  /** Ends the sync process; its seat gets a new one at once. */
  async replaceSync(): Promise<void> {
    const child = this.sync;
    if (child === null) return;
    await this.#endSync(child);
  }

  /** Sync has answered a ping: from here on its silence counts. */
  syncAnswered(): void {
    const child = this.sync;
    child?.pong();
    if (child?.state !== 'starting') return;
    child.state = 'ready';
    this.#options.onReady(child);
  }

  /** A serving process holds a table (or knows that there is none) and accepts. */
  ready(child: Child): void {
    if (child.state !== 'starting') return;
    child.state = 'ready';
    for (const seat of this.#servingSeats) {
      const relieved = seat.ready(child);
      if (relieved !== null) this.drain(relieved, this.#options.settings.drainMs);
    }
    this.#options.onReady(child);
  }

  /** Tells a serving process to close its listeners and leave when its connections have, `ms` at most. */
  drain(child: Child, ms: number): void {
    if (child.state === 'gone' || child.state === 'draining') return;
    child.state = 'draining';
    child.send({ type: 'drain', ms } satisfies PrimaryToServing);
    this.#leaves(child, ms + DRAIN_GRACE_MS);
    this.#options.onDraining(child);
  }

  /** Drains every serving process and ends sync after them. Resolves when all are gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const seat of this.#servingSeats) seat.close();
    for (const child of this.serving()) this.drain(child, this.#options.settings.drainMs);
    await this.#until(() => this.serving().length === 0);
    this.#syncSeat.close();
    const sync = this.sync;
    if (sync !== null) {
      sync.send({ type: 'stopped' } satisfies PrimaryToSync);
      await this.#endSync(sync);
    }
    await this.#until(() => this.#children.size === 0);
    if (this.#pulse !== null) clearInterval(this.#pulse);
    this.#pulse = null;
  }

  /** Ends everything at once. */
  kill(): void {
    this.#stopping = true;
    for (const seat of [...this.#servingSeats, this.#syncSeat]) seat.close();
    for (const child of this.#children) child.kill();
    if (this.#pulse !== null) clearInterval(this.#pulse);
  }

  #spawn(role: ChildRole): Child {
    const { settings, log } = this.#options;
    const child = new Child({
      role,
      id: role === 'sync' ? 0 : ++this.#lastId,
      entry: role === 'sync' ? this.#options.syncEntry : this.#options.servingEntry,
      env: role === 'sync' ? process.env : withoutSecrets(process.env),
      log,
      onMessage: (from, message) => this.#options.onMessage(from, message),
      onGone: (gone) => this.#gone(gone),
    });
    this.#children.add(child);
    const start: StartMessage =
      role === 'sync'
        ? { type: 'start', id: 0, settings }
        : { type: 'start', id: child.id, settings: forServing(settings), control: controlPorts(settings) };
    child.send(start);
    // The seat knows its child only after this call has returned.
    queueMicrotask(() => {
      if (child.state !== 'gone') this.#options.onStarted(child);
    });
    return child;
  }

  #gone(child: Child): void {
    const planned = this.#leaving.has(child) || this.#stopping;
    this.#children.delete(child);
    this.#leaving.get(child)?.();
    this.#leaving.delete(child);
    if (!this.#stopping) {
      const seat =
        child.role === 'sync'
          ? this.#syncSeat
          : this.#servingSeats.find((candidate) => candidate.holds(child));
      const delay = seat?.gone(child) ?? null;
      if (!planned)
        this.#options.log.error('process_died', `The ${child.name} ended (${child.end})`, {
          pid: child.pid,
          end: child.end,
          replacedInMs: delay,
        });
    }
    this.#options.onGone(child);
    for (const check of [...this.#waiting]) check();
  }

  async #endSync(child: Child): Promise<void> {
    child.disconnect();
    this.#leaves(child, SYNC_END_MS);
    await this.#until(() => child.state === 'gone');
  }

  #leaves(child: Child, withinMs: number): void {
    const overdue = () => {
      this.#options.log.warn('process_overdue', `The ${child.name} did not leave in time and is ended`, {
        pid: child.pid,
      });
      child.kill();
    };
    this.#leaving.set(child, this.#options.clock.after(withinMs, overdue));
  }

  /** Resolves when `condition` holds; looked at whenever a process has ended. */
  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!condition()) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }

  #beat(): void {
    const serving = this.seated().filter((child) => child.state === 'ready');
    const mean =
      serving.length < 2
        ? null
        : Math.round(serving.reduce((sum, child) => sum + child.connections, 0) / serving.length);
    for (const child of this.#children) {
      if (child.ping(mean)) continue;
      // A sync process that never answers pings is an old one; its end is noticed all the same.
      if (child.role === 'sync' && !child.answered) continue;
      this.#options.log.error('process_silent', `The ${child.name} does not answer and is replaced`, {
        pid: child.pid,
      });
      child.kill();
    }
  }

  /** What sync is told of the processes. */
  processes(): PrimaryToSync {
    return {
      type: 'processes',
      processes: [
        { role: 'primary', id: 0, pid: process.pid, state: 'ready' },
        ...[...this.#children].map((child) => ({
          role: child.role,
          id: child.id,
          pid: child.pid,
          state: child.state === 'gone' ? ('draining' as const) : child.state,
        })),
      ],
    };
  }
}

function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !SECRET_VARIABLES.includes(name)));
}

function forServing(settings: SettingsOfProcess): SettingsOfProcess {
  return { ...settings, mongoUrl: null, redisUrl: null, apiToken: null, secret: null };
}

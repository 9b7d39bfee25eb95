/**
 * The node: this process becomes its primary. It binds the ports, starts sync and the serving processes, keeps them
 * running, carries their messages, and ends them in order. It promises that no failure of its own ends it.
 */
import { EventEmitter, once } from 'node:events';
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { helpersGiveWay } from '../../shared/background.ts';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import { accessLogTarget } from '../../shared/settings-values.ts';
import type { ListenerSpec, PrimaryToServing, PrimaryToSync, ServingToPrimary } from '../link/messages.ts';
import { readPair } from '../tls/load-certs.ts';
import type { Child } from './child.ts';
import { type Inherited, takeSockets } from './handover.ts';
import { Listeners } from './listeners.ts';
import { askToLeave, findOrphans, isAlive, prepareFolder } from './orphans.ts';
import { Relay } from './relay.ts';
import { Rolling } from './rolling.ts';
import { type Signals, takeSignals } from './signals.ts';
import { BindError, type SocketKind, selfTest } from './sockets.ts';
import { Supervisor } from './supervisor.ts';

/** How long a node waits for a table of its own before it asks those to leave that still serve from an older one. */
const RELIEF_MS = 5_000;
/** How long ports are waited for that orphans said they would let go. */
const BIND_PATIENCE_MS = 10_000;
const BIND_RETRY_MS = 50;
/** Orphans that do not answer are asked again. */
const ASK_AGAIN_MS = 5_000;

export interface NodeOptions {
  /** Modules that the other processes run; for tests. */
  readonly syncEntry?: string;
  readonly servingEntry?: string;
  readonly clock?: Clock;
  /** How sockets are shared; found out by a self-test when absent. */
  readonly socketKind?: SocketKind;
  /** Whether to take the listening sockets over from orphans; default true. False: bind when they have closed. */
  readonly handover?: boolean;
}

export interface RunningNode {
  /** Every bound socket with its actual port; HTTPS ones also before there is a certificate. */
  listening(): readonly ListenerSpec[];
  /** Resolves when every open port is accepted on. */
  readonly ready: Promise<void>;
  /** Resolves with the exit code when everything has ended. Never rejects. */
  readonly ended: Promise<number>;
  /** Drains and ends, as SIGTERM does. */
  stop(): void;
  /** Replaces every process one after the other, as SIGHUP does. */
  restart(): Promise<void>;
}

/** Throws KontrolError `cannot_start` with one line for people when a port or the data folder cannot be had. */
export async function startNode(
  settings: SettingsOfProcess,
  log: Log,
  options: NodeOptions = {},
): Promise<RunningNode> {
  process.title = 'kontrol primary';
  helpersGiveWay();
  const node = new Node(settings, log, options);
  await node.start();
  return node;
}

class Node implements RunningNode {
  readonly ready: Promise<void>;
  readonly ended: Promise<number>;
  readonly #settings: SettingsOfProcess;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #events = new EventEmitter();
  readonly #listeners: Listeners;
  readonly #supervisor: Supervisor;
  readonly #relay: Relay;
  readonly #rolling: Rolling;
  readonly #signals: Signals;
  readonly #handover: boolean;
  /** What was taken over and is not used yet; null when there was nothing to take, or no longer is. */
  #inherited: Inherited | null = null;
  #bound = false;
  #stopping = false;
  #telling: NodeJS.Immediate | null = null;

  constructor(settings: SettingsOfProcess, log: Log, options: NodeOptions) {
    this.#settings = settings;
    this.#log = log;
    this.#clock = options.clock ?? systemClock;
    this.ready = once(this.#events, 'ready').then(() => {});
    this.ended = once(this.#events, 'ended').then(([code]) => code as number);
    const kind = options.socketKind ?? selfTest();
    this.#handover = kind === 'handle' && options.handover !== false;
    if (kind === 'relayed')
      log.warn(
        'sockets_relayed',
        'This Node cannot share listening sockets; connections are handed on one by one',
      );
    this.#listeners = new Listeners({
      settings,
      kind,
      log,
      clock: this.#clock,
      report: (message) => this.#toSync(message),
    });
    this.#supervisor = new Supervisor({
      settings,
      log,
      clock: this.#clock,
      syncEntry: options.syncEntry ?? fileURLToPath(new URL('../sync/main.js', import.meta.url)),
      servingEntry: options.servingEntry ?? fileURLToPath(new URL('../serving/main.js', import.meta.url)),
      onStarted: (child) => this.#started(child),
      onMessage: (child, message) => this.#relay.receive(child, message),
      onReady: (child) => {
        if (child.role === 'serving') this.#events.emit('table');
        this.#checkReady();
        this.#tellProcesses();
      },
      onDraining: (child) => {
        this.#listeners.remove(child);
        this.#tellProcesses();
      },
      onGone: (child) => this.#gone(child),
    });
    this.#relay = new Relay(this.#supervisor, {
      fromServing: (child, message) => this.#fromServing(child, message),
      fromSync: (message) => {
        if (message.type === 'listeners')
          void this.#listeners.want(message.specs).then(() => this.#events.emit('wanted'));
        else if (message.type === 'pong') this.#supervisor.syncAnswered();
      },
    });
    this.#rolling = new Rolling(this.#supervisor, settings.memoryLimitMb, log);
    this.#signals = takeSignals(log, {
      stop: () => this.stop(),
      // Also when somebody else ends this process during the drain: nothing of a stopped node stays behind.
      exiting: () => {
        if (this.#stopping) this.#supervisor.kill();
      },
      restart: () => void this.restart(),
      reopenLogs: () => {
        for (const child of this.#supervisor.serving())
          child.send({ type: 'reopen-logs' } satisfies PrimaryToServing);
      },
    });
  }

  async start(): Promise<void> {
    try {
      const { data, node } = this.#settings;
      const folder = await prepareFolder(data, node).catch((error: Error) => {
        throw new KontrolError('cannot_start', `the data folder ${data} cannot be used: ${error.message}`);
      });
      await checkAccessLog(this.#settings.accessLog);
      let orphans = await findOrphans(folder);
      if (orphans.length === 0) {
        // Who relieves others goes on without it, as they did: then visitors are served already, and the log says so.
        if (this.#settings.https.length > 0) await checkCertificate(this.#settings.certs);
        this.#bound = await this.#bindFree();
        // Somebody serves there who was overlooked: to tell them to leave now would leave nobody to accept.
        if (!this.#bound) orphans = await findOrphans(folder);
      }
      const relieves = orphans.length > 0;
      if (relieves && (await this.#takeOver(folder, orphans))) return;
      // Told to stop before it had begun; those that serve go on.
      if (this.#stopping) return;
      if (relieves) {
        // They serve meanwhile: the ports change hands only when a process of ours can answer.
        this.#supervisor.start();
        const waited = new Promise<void>((resolve) => this.#clock.after(RELIEF_MS, resolve));
        await Promise.race([once(this.#events, 'table'), waited]);
      }
      if (this.#bound) await askToLeave(folder);
      else if (!this.#stopping) await this.#bind(folder);
      if (this.#stopping) return;
      this.#bound = true;
      if (!relieves) this.#supervisor.start();
      this.#rolling.start();
      this.#checkReady();
    } catch (error) {
      this.#signals.close();
      this.#releaseInherited();
      this.#listeners.close();
      this.#supervisor.kill();
      throw error;
    }
  }

  listening(): readonly ListenerSpec[] {
    return this.#listeners.bound();
  }

  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    void this.#stop();
  }

  async restart(): Promise<void> {
    if (!this.#stopping) await this.#rolling.restart();
  }

  /**
   * Goes on with the sockets of orphans: they accept until a process of ours does. False when they cannot be had;
   * everything is as before then.
   */
  async #takeOver(folder: string, orphans: readonly number[]): Promise<boolean> {
    if (!this.#handover) return false;
    const inherited = await takeSockets(folder, orphans);
    if (inherited === null) {
      this.#log.warn(
        'takeover_by_bind',
        'Earlier processes do not pass their sockets on; binding after them',
      );
      return false;
    }
    this.#inherited = inherited;
    this.#listeners.inherit(inherited);
    const taken = inherited.size;
    try {
      await this.#listeners.bindSettings();
    } catch (error) {
      this.#releaseInherited();
      // Another program has it: who serves is not told to leave for a start that fails.
      const known = error instanceof BindError && inherited.ports.has(error.port);
      if (known && error.code === 'EADDRINUSE') {
        // An orphan has it, under another address.
        this.#log.warn('takeover_by_bind', `${error.message}; binding after the earlier processes`);
        return false;
      }
      if (error instanceof BindError) throw new KontrolError('cannot_start', error.message);
      throw error;
    }
    if (this.#stopping) {
      this.#releaseInherited();
      return true;
    }
    this.#log.info('sockets_taken', `Took over ${taken} listening sockets from earlier processes`, { taken });
    this.#bound = true;
    const relieved = this.#relieve(folder, once(this.#events, 'wanted'), once(this.#events, 'ready'));
    void relieved.catch((error: unknown) => this.#log.error('internal', 'Taking over failed', { error }));
    this.#supervisor.start();
    this.#rolling.start();
    return true;
  }

  /** Lets the orphans go when ours accept, and gives up sockets that the table does not want. */
  async #relieve(folder: string, wanted: Promise<unknown>, ready: Promise<unknown>): Promise<void> {
    await ready;
    // Sockets of listener objects are wanted only when sync has its table; without one nobody would accept on them.
    if ((this.#inherited?.size ?? 0) > 0) await Promise.race([wanted, this.#pause(RELIEF_MS)]);
    this.#releaseInherited();
    for (let told = false; !this.#stopping; told = true) {
      const { silent } = await askToLeave(folder);
      if (silent.length === 0) return;
      if (!told)
        this.#log.warn(
          'orphan_silent',
          `Serving processes of an earlier run do not answer: end ${silent.join(', ')}`,
          { pids: silent },
        );
      await this.#pause(ASK_AGAIN_MS);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.after(ms, resolve));
  }

  #releaseInherited(): void {
    this.#listeners.inherit(null);
    this.#inherited?.close();
    this.#inherited = null;
  }

  /** False when a port is in use. */
  async #bindFree(): Promise<boolean> {
    try {
      await this.#listeners.bindSettings();
      return true;
    } catch (error) {
      if (error instanceof BindError && error.code === 'EADDRINUSE') return false;
      throw error instanceof BindError ? new KontrolError('cannot_start', error.message) : error;
    }
  }

  async #bind(folder: string): Promise<void> {
    const deadline = this.#clock.monotonic() + BIND_PATIENCE_MS;
    for (;;) {
      const found = await askToLeave(folder);
      const error = await this.#listeners.bindSettings().then(
        () => null,
        (reason: unknown) => reason,
      );
      if (error === null || this.#stopping) return;
      if (!(error instanceof BindError)) throw error;
      // Somebody who closes its listeners now, or has not noticed yet that its primary is gone.
      const hopeful =
        found.primaries.every((pid) => !isAlive(pid)) &&
        found.leaving.length + found.primaries.length + found.silent.length > 0;
      if (error.code !== 'EADDRINUSE' || !hopeful || this.#clock.monotonic() > deadline)
        throw new KontrolError('cannot_start', describe(error, found));
      await new Promise<void>((resolve) => setTimeout(resolve, BIND_RETRY_MS));
    }
  }

  async #stop(): Promise<void> {
    const { drainMs, drainWaitMs } = this.#settings;
    this.#log.info('stopping', `Draining for at most ${drainMs} ms; a second signal ends everything at once`);
    this.#rolling.close();
    this.#toSync({ type: 'stopping' });
    if (drainWaitMs > 0) await new Promise<void>((resolve) => this.#clock.after(drainWaitMs, resolve));
    this.#releaseInherited();
    this.#listeners.close();
    await this.#supervisor.stop();
    this.#signals.close();
    this.#log.info('stopped', 'Everything has ended');
    this.#events.emit('ended', 0);
  }

  #started(child: Child): void {
    if (child.role === 'serving') {
      this.#listeners.add(child);
    } else {
      this.#listeners.tell();
      this.#relay.greet();
      if (this.#stopping) this.#toSync({ type: 'stopping' });
    }
    this.#tellProcesses();
  }

  #gone(child: Child): void {
    if (child.role === 'serving') {
      this.#listeners.remove(child);
      this.#toSync({ type: 'gone', id: child.id });
    }
    this.#tellProcesses();
  }

  #fromServing(child: Child, message: ServingToPrimary): void {
    switch (message.type) {
      case 'ready':
        this.#supervisor.ready(child);
        return;
      case 'accepting':
        this.#listeners.accepted(message.key);
        this.#checkReady();
        return;
      case 'pong':
        child.pong();
        child.rss = message.rss;
        child.connections = message.connections;
        return;
      case 'wants-spare':
        this.#listeners.offerSpare(child, message.key);
        return;
      case 'listen-failed':
        this.#listeners.lost(message.key, message.reason);
        return;
      case 'drained':
        return;
    }
  }

  #checkReady(): void {
    if (!this.#bound || !this.#supervisor.seated().some((child) => child.state === 'ready')) return;
    if (this.#listeners.accepting) this.#events.emit('ready');
  }

  /** Once for whatever changes within one turn of the event loop. */
  #tellProcesses(): void {
    this.#telling ??= setImmediate(() => {
      this.#telling = null;
      this.#toSync(this.#supervisor.processes());
    });
  }

  #toSync(message: PrimaryToSync): void {
    this.#supervisor.sync?.send(message);
  }
}

/** A default certificate that is there but no good is better said here than found out by the first visitor. */
async function checkCertificate(certs: string): Promise<void> {
  try {
    await readPair(certs);
  } catch (error) {
    throw new KontrolError('cannot_start', `the certificate in --certs: ${(error as Error).message}`);
  }
}

/** Serving processes open it; one that cannot be opened is better said here, once. */
async function checkAccessLog(accessLog: string): Promise<void> {
  const target = accessLogTarget(accessLog);
  if (target.format === 'off' || target.file === null) return;
  try {
    await (await open(target.file, 'a', 0o640)).close();
  } catch (error) {
    throw new KontrolError('cannot_start', `the access log cannot be written: ${(error as Error).message}`);
  }
}

function describe(error: BindError, found: Awaited<ReturnType<typeof askToLeave>>): string {
  if (found.primaries.length > 0)
    return `${error.message}; this node runs already (primary ${found.primaries.join(', ')})`;
  if (found.silent.length > 0)
    return `${error.message}; serving processes of an earlier run do not answer: end ${found.silent.join(', ')}`;
  return error.message;
}

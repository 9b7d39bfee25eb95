/**
 * One address of one service: its pool of idle connections, its counts and its health. Keys that name the same
 * address share it. It lives from the change that names it to the one that no longer does; exchanges that are under
 * way then end undisturbed, and their connections are closed instead of pooled.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { type Endpoint as Address, parseEndpoint } from '../../shared/model/fields.ts';
import type { ResolvedService } from '../../shared/model/service.ts';
import type { LoadChanges } from '../balance/load-changes.ts';
import type { Timed, TimerWheel } from '../stream/timer-wheel.ts';
import type { Connection, ConnectionOwner } from './connection.ts';
import type { Connector, Target } from './connector.ts';
import type { AnswerSignals } from './contract.ts';
import { Ejection, type EjectionOwner } from './ejection.ts';
import type { FailureReport } from './failure-report.ts';
import { IntrusiveList } from './intrusive-list.ts';
import type { Names } from './names.ts';
import { NotedLoad } from './noted-load.ts';
import type { OwnFailures } from './own-failures.ts';
import { PassiveHealth } from './passive-health.ts';
import { targetsOf } from './targets.ts';
import type { TlsIdentity } from './tls-identity.ts';

/** What the upstream side needs of its process. */
export interface UpstreamContext {
  readonly connector: Connector;
  readonly timers: TimerWheel;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly names: Names;
  /** Endpoints that the table names no longer while requests or tunnels are still under way on them. */
  readonly leaving: Set<Endpoint>;
  readonly ownFailures: OwnFailures;
  /** The secret that signs the cookies of sticky sessions; null until there is one. */
  cookieKeys: string | null;
  /** False for addresses (`ip:port`, `[v6]:port`, `unix:/path`) that no backend may have. */
  mayConnect(address: string): boolean;
  /** For the other processes of the node. */
  onFailures(failures: readonly FailureReport[]): void;
  onRecovered(service: string, address: string): void;
}

/** What an endpoint needs of its service. */
export interface EndpointOwner {
  readonly name: string;
  readonly config: ResolvedService;
  readonly context: UpstreamContext;
  readonly loads: LoadChanges;
  /** How connections to a backend under this host name (null: under an address) are encrypted; null: not at all. */
  identityFor(name: string | null): TlsIdentity | Error | null;
  /** Whether at most this share of the backends would be out if this one was, because of what it answers. */
  mayEject(endpoint: Endpoint, maxShare: number): boolean;
  /** See `EjectionOwner.meanOfOthers`. */
  meanOfOthers(endpoint: Endpoint): number | null;
  /** It is new or came back: its share grows from little to all, where the service says so. */
  startSlowly(endpoint: Endpoint): void;
  /** A connection or a slot for one became free. */
  capacityFreed(): void;
  /** It came to life or died. */
  healthChanged(): void;
  /** Its time out is over: the next request of the service starts its trial. */
  trialDue(endpoint: Endpoint): void;
  /** It has fewer connections than `pool.min`. */
  warmUp(endpoint: Endpoint): void;
}

/** What a connection is for: requests and spare connections share `pool.max`, tunnels have `websocket.poolMax`. */
export type Use = 'request' | 'tunnel' | 'spare';

/** How much earlier than the backend says we stop reusing an idle connection. */
const KEEP_ALIVE_MARGIN_MS = 2_000;
/** One line about failing connects per backend and this time. */
const LOG_INTERVAL_MS = 60_000;
/** After a spare connection failed for a reason that says nothing about the backend. */
const SPARE_AGAIN_MS = 1_000;
/** At most one hint to look at a backend per this time. */
const HINT_INTERVAL_MS = 1_000;

/** Share of the backends that may be out because their connections break. */
const BREAKING_SHARE = 0.5;

export class Endpoint extends NotedLoad implements ConnectionOwner, Timed {
  timerDue = 0;
  timerQueued = false;
  readonly address: string;
  readonly owner: EndpointOwner;
  /** Host name it is configured under; null when it is an address or a socket. */
  readonly name: string | null;
  /** Connections that are no tunnels: idle, lent or under way. */
  open = 0;
  /** Verdict of the active checks and passive health together. */
  alive = true;
  /** A spare connection (a trial, or one towards `pool.min`) is under way. */
  sparePending = false;
  /** The part of its share that it gets, above 0 and up to 1. */
  ramp = 1;
  /** The last worker that a key named here. */
  worker: string | null = null;
  /** Null unless the service ejects backends by how they answer. */
  ejection: Ejection | null = null;
  readonly #idle = new IntrusiveList<Connection>();
  readonly #passive = new PassiveHealth();
  readonly #parsed: Address | null;
  #targets: readonly Target[];
  #turn = 0;
  #verdict = true;
  #removed = false;
  #lastLine = Number.NEGATIVE_INFINITY;
  #lastHint = Number.NEGATIVE_INFINITY;

  constructor(address: string, owner: EndpointOwner) {
    super(owner.loads);
    this.address = address;
    this.owner = owner;
    this.#parsed = parseEndpoint(address);
    this.name = this.#parsed?.type === 'name' ? this.#parsed.host : null;
    this.#targets = this.name === null ? targetsOf(this.#parsed, []) : [];
    if (this.name !== null) owner.context.names.watch(this.name, this);
  }

  get signals(): AnswerSignals | null {
    return this.ejection;
  }

  get idle(): number {
    return this.#idle.size;
  }

  get removed(): boolean {
    return this.#removed;
  }

  /** Out because of failures of real traffic. */
  get offline(): boolean {
    return this.#passive.offline;
  }

  /** Why it gets nothing; null when it is alive. */
  get why(): string | null {
    if (!this.#verdict) return 'the active checks find it dead';
    if (this.#passive.offline) return 'connecting to it failed, or its connections broke';
    return this.ejection?.reason ?? null;
  }

  /** Whether the active checks of the node let it take traffic. */
  get verdict(): boolean {
    return this.#verdict;
  }

  /** Room for one more; an idle connection counts as room, and makes way when a fresh one is asked for. */
  hasRoom(tunnel: boolean): boolean {
    const config = this.owner.config;
    if (tunnel) return this.tunnels < config.websocket.poolMax;
    return this.#idle.size > 0 || this.open < config.pool.max;
  }

  /** The warmest idle connection, now counted as active; null when there is none. */
  takeIdle(): Connection | null {
    for (let connection = this.#idle.first; connection !== null; connection = this.#idle.first) {
      this.#unlist(connection);
      if (connection.clean) {
        this.active++;
        return connection;
      }
      this.#close(connection);
      this.open--;
    }
    return null;
  }

  /** Counts a connection that is about to be made; an idle one makes way when there is no room otherwise. */
  reserve(use: Use): void {
    if (use === 'tunnel') {
      this.tunnels++;
      return;
    }
    if (this.open >= this.owner.config.pool.max) this.#evict();
    this.open++;
    if (use === 'request') this.active++;
  }

  /** The connection was not made, or is closed. */
  unreserve(use: Use): void {
    if (use === 'tunnel') this.tunnels--;
    else this.open--;
    if (use === 'request') this.active--;
    this.owner.capacityFreed();
    this.#keepWarm();
  }

  /** Its addresses, each connect beginning with the next; empty while its name has never been resolved. */
  targets(): readonly Target[] {
    if (this.#targets.length <= 1) return this.#targets;
    const start = this.#turn++ % this.#targets.length;
    return [...this.#targets.slice(start), ...this.#targets.slice(0, start)];
  }

  /** What its name stands for now. Idle connections to addresses that are gone are closed. */
  resolved(addresses: readonly string[]): void {
    const before = this.#targets;
    this.#targets = targetsOf(this.#parsed, addresses);
    // What was found out about the old ones says nothing about those that are new.
    if (this.offline && this.#targets.some((target) => !before.some(({ text }) => text === target.text)))
      this.owner.trialDue(this);
    this.#closeIdle((connection) => !this.#isCurrent(connection));
  }

  // Connections.

  returned(connection: Connection, keepAliveMs: number | null): void {
    this.#passive.completed();
    if (connection.tunnel) {
      this.#close(connection);
      this.unreserve('tunnel');
      return;
    }
    this.active--;
    this.#keep(connection, keepAliveMs);
  }

  /** Takes a connection that nobody has used yet into the pool. */
  keepSpare(connection: Connection): void {
    this.#keep(connection, null);
  }

  discarded(connection: Connection, failure: boolean): void {
    if (failure) this.#exchangeFailed();
    this.#close(connection);
    this.unreserve(connection.tunnel ? 'tunnel' : 'request');
  }

  faded(connection: Connection): void {
    if (!connection.idle) return;
    this.#unlist(connection);
    this.#close(connection);
    this.unreserve('spare');
  }

  returnedTwice(): void {
    this.owner.context.log.error(
      'connection_returned_twice',
      'a connection to a backend was given back twice; please report this with the log around it',
      this.#labels(),
    );
  }

  #keep(connection: Connection, keepAliveMs: number | null): void {
    const { pool, protocol } = this.owner.config;
    const idleMs =
      keepAliveMs === null ? pool.idleMs : Math.min(pool.idleMs, keepAliveMs - KEEP_ALIVE_MARGIN_MS);
    const reusable =
      idleMs > 0 &&
      !this.#removed &&
      protocol !== 'tcp' &&
      this.open <= pool.max &&
      connection.clean &&
      this.#isCurrent(connection);
    if (!reusable) {
      this.#close(connection);
      this.unreserve('spare');
      return;
    }
    this.#idle.addFirst(connection);
    connection.idle = true;
    connection.watch();
    this.owner.context.timers.set(connection, idleMs);
    this.owner.capacityFreed();
  }

  /** Whether a new connection would be made just like this one: the same identity, an address of the name. */
  #isCurrent(connection: Connection): boolean {
    const identity = this.owner.identityFor(this.name);
    if (identity instanceof Error || connection.identity !== (identity?.key ?? '')) return false;
    return this.name === null || this.#targets.some((target) => target.text === connection.target);
  }

  #close(connection: Connection): void {
    this.owner.context.timers.remove(connection);
    connection.close();
  }

  #unlist(connection: Connection): void {
    this.#idle.remove(connection);
    connection.idle = false;
    this.owner.context.timers.clear(connection);
  }

  /** The coldest goes. */
  #evict(): void {
    const coldest = this.#idle.last;
    if (coldest === null) return;
    this.#unlist(coldest);
    this.#close(coldest);
    this.open--;
  }

  #closeIdle(unwanted: (connection: Connection) => boolean): void {
    let next = this.#idle.first;
    while (next !== null) {
      const connection = next;
      next = connection.linkAfter;
      if (unwanted(connection)) this.faded(connection);
    }
  }

  #keepWarm(): void {
    const { pool, protocol } = this.owner.config;
    if (pool.min === 0 || pool.idleMs === 0 || protocol === 'tcp') return;
    if (!this.#removed && this.alive && this.open < Math.min(pool.min, pool.max)) this.owner.warmUp(this);
  }

  /** A spare connection was made or failed: the next one follows, after a failure not at once. */
  spareEnded(made: boolean): void {
    if (this.#removed) return;
    if (made && this.#idle.size > 0) this.#keepWarm();
    else if (this.timerDue === 0) this.owner.context.timers.set(this, SPARE_AGAIN_MS);
  }

  // Health.

  /** A connect succeeded: whatever passive health held against it is over. */
  connected(): void {
    const news = this.#passive.connected();
    // A TCP check asks for nothing else than this: its verdict is out of date.
    const outdated = !this.#verdict && this.owner.config.health.type === 'tcp';
    if (outdated) this.#verdict = true;
    if (news || outdated) {
      this.owner.context.onRecovered(this.owner.name, this.address);
      this.#refresh();
    }
  }

  connectFailed(error: Error, trial: boolean): void {
    const { context, config, name } = this.owner;
    this.#logFailure(error);
    if (trial && this.offline) this.#takeOut(this.#passive.trialFailed(config.passive), error.message);
    else this.#takeOut(this.#passive.connectFailed(1, config.passive), error.message);
    context.onFailures([{ service: name, address: this.address, count: 1 }]);
  }

  /** Connects failed in other processes of the node. */
  remoteFailed(count: number): void {
    const offlineMs = this.#passive.connectFailed(count, this.owner.config.passive);
    this.#takeOut(offlineMs, 'connects failed in other processes of this node');
  }

  /** What it answered in another process of the node. */
  remoteSignals({ status5xx, ejectedMs = 0 }: FailureReport): void {
    if (status5xx !== undefined) this.ejection?.remoteAnswered(status5xx);
    if (ejectedMs > 0) this.ejection?.remoteEjected(ejectedMs);
  }

  /** It came back in another process of the node. */
  remoteRecovered(): void {
    this.#passive.connected();
    this.#refresh();
  }

  /** What the active checks of the node say; alive ends a passive time-out too. */
  setVerdict(alive: boolean): void {
    this.#verdict = alive;
    if (alive) this.#passive.connected();
    this.#refresh();
  }

  /** It alone is out for its answers, and somebody has to serve. */
  pardon(): void {
    if (this.#verdict && !this.offline) this.ejection?.pardon();
  }

  /** Another worker has taken over the address: what was known of the one before says nothing about it. */
  renewed(): void {
    this.#verdict = true;
    this.#passive.connected();
    this.ejection?.reset();
    this.#refresh();
    this.owner.startSlowly(this);
  }

  #exchangeFailed(): void {
    const { context, config, name } = this.owner;
    const offlineMs = this.#passive.exchangeFailed(config.passive, () =>
      this.owner.mayEject(this, BREAKING_SHARE),
    );
    this.#takeOut(offlineMs, 'its connections broke before they had answered');
    const now = context.timers.now;
    if (now - this.#lastHint < HINT_INTERVAL_MS) return;
    this.#lastHint = now;
    context.onFailures([{ service: name, address: this.address, count: 0 }]);
  }

  #takeOut(offlineMs: number | null, reason: string): void {
    if (offlineMs === null || this.#removed) return;
    this.owner.context.timers.set(this, offlineMs);
    this.owner.context.log.warn('backend_offline', `backend ${this.address} is out: ${reason}`, {
      ...this.#labels(),
      offlineMs,
    });
    this.#refresh();
  }

  /** The time it was out is over, or a spare connection that failed may be tried again. */
  onTimeout(): void {
    if (this.#removed) return;
    if (this.#passive.offline) this.owner.trialDue(this);
    else this.#keepWarm();
  }

  #refresh(): void {
    const alive = this.#verdict && !this.#passive.offline && this.ejection?.ejected !== true;
    if (!this.#passive.offline) this.owner.context.timers.clear(this);
    if (alive !== this.alive) {
      this.alive = alive;
      if (alive) {
        this.owner.context.log.info('backend_back', `backend ${this.address} is back`, this.#labels());
        this.owner.startSlowly(this);
      }
      this.owner.healthChanged();
    } else if (!alive && this.#verdict && !this.#passive.offline) {
      // Out for its answers alone, perhaps only now: nobody else may be left.
      this.owner.healthChanged();
    }
    this.#keepWarm();
  }

  #logFailure(error: Error): void {
    const { timers, log } = this.owner.context;
    if (timers.now - this.#lastLine < LOG_INTERVAL_MS) return;
    this.#lastLine = timers.now;
    log.warn(
      'backend_connect_failed',
      `no connection to backend ${this.address}: ${error.message}`,
      this.#labels(),
    );
  }

  #labels(): { service: string; address: string } {
    return { service: this.owner.name, address: this.address };
  }

  /** The configuration changed: closes what no longer fits, opens what `pool.min` asks for. */
  reconfigured(): void {
    // Nobody checks it any more, so nobody would take an old verdict back, nor try it in its place.
    if (this.owner.config.health.type === 'off' && !this.#verdict) this.setVerdict(true);
    this.#configureEjection();
    this.#closeIdle((connection) => !this.#isCurrent(connection));
    this.#keepWarm();
  }

  #configureEjection(): void {
    const { eject } = this.owner.config;
    if (eject !== null && this.ejection !== null) this.ejection.config = eject;
    else if (eject !== null) this.ejection = new Ejection(eject, this.#ejectionOwner());
    else if (this.ejection !== null) {
      this.ejection.close();
      this.ejection = null;
      this.#refresh();
    }
  }

  #ejectionOwner(): EjectionOwner {
    const { owner, address } = this;
    return {
      service: owner.name,
      address,
      context: owner.context,
      offlineMs: () => owner.config.passive.offlineMs,
      maySpare: (maxShare) => owner.mayEject(this, maxShare),
      meanOfOthers: () => owner.meanOfOthers(this),
      ejectionChanged: () => this.#refresh(),
    };
  }

  /** The table names it no longer. */
  remove(): void {
    this.#removed = true;
    this.owner.loads.giveSlot(this.slot);
    this.ejection?.close();
    this.ejection = null;
    this.owner.context.timers.remove(this);
    if (this.name !== null) this.owner.context.names.unwatch(this.name, this);
    this.#closeIdle(() => true);
    const { leaving } = this.owner.context;
    for (const endpoint of leaving) if (!endpoint.busy) leaving.delete(endpoint);
    if (this.busy) leaving.add(this);
  }
}

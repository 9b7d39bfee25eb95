/**
 * The upstream side of a serving process: one state per service of the table, and what the other parts may ask of it.
 * Everything is synchronous; a request that finds an idle connection costs no more than the lease on it.
 */
import type { CompiledKey, CompiledService } from '../../shared/routing/decision.ts';
import { Acquisition, handOver } from './acquisition.ts';
import type { AcquireOptions, Acquirer, Backend, PickRequest, Ticket, Upstreams } from './contract.ts';
import type { UpstreamContext } from './endpoint.ts';
import type { FailureReport } from './failure-report.ts';
import { Names } from './names.ts';
import { OwnFailures } from './own-failures.ts';
import { type ClientCertificates, ServiceState } from './service-state.ts';

export interface UpstreamOptions
  extends Pick<UpstreamContext, 'connector' | 'timers' | 'clock' | 'log'>,
    Partial<Pick<UpstreamContext, 'random' | 'mayConnect' | 'onFailures' | 'onRecovered'>> {
  /** Client certificates of `https` services (`tls.certificate`); none by default. */
  readonly clientCertificate?: ClientCertificates;
}

/** A backend and its counts, for the status page and metrics. */
export interface BackendStatus {
  readonly service: string;
  readonly key: number;
  readonly address: string;
  readonly state: Backend['state'];
  readonly weight: number;
  readonly tier: number;
  readonly alive: boolean;
  /** Why it gets nothing; null when it is alive. */
  readonly why: string | null;
  /** The part of its share that it gets, up to 1 (`slowStart`). */
  readonly ramp: number;
  readonly active: number;
  readonly tunnels: number;
  readonly idle: number;
}

/** Whether traffic goes to an address of a service, and whether any is under way, also if the table names it no longer. */
export interface BackendUse {
  /** A key names it in a state that takes requests: `ready`, or `lost` as the last resort. */
  readonly balanced: boolean;
  readonly busy: boolean;
}

/** The ticket of a request that was answered inside `acquire`. */
const ANSWERED: Ticket = { cancel() {} };
const NO_BACKENDS: ReadonlySet<Backend> = new Set();

class ServiceUpstreams implements Upstreams {
  readonly #services = new Map<string, ServiceState>();
  readonly #context: UpstreamContext;
  readonly #clientCertificate: ClientCertificates;

  constructor(options: UpstreamOptions) {
    const { connector, timers, clock, log } = options;
    this.#context = {
      connector,
      timers,
      clock,
      log,
      names: new Names(),
      leaving: new Set(),
      ownFailures: new OwnFailures(clock, log),
      cookieKeys: null,
      random: options.random ?? Math.random,
      mayConnect: options.mayConnect ?? (() => true),
      onFailures: options.onFailures ?? (() => {}),
      onRecovered: options.onRecovered ?? (() => {}),
    };
    this.#clientCertificate = options.clientCertificate ?? (() => null);
  }

  // Requests.

  acquire(
    service: CompiledService,
    key: CompiledKey,
    request: PickRequest,
    options: AcquireOptions,
    acquirer: Acquirer,
  ): Ticket {
    const state = this.#services.get(service.name);
    const keyState = state?.keys.get(key.key);
    if (state === undefined || keyState === undefined) {
      acquirer.onUnavailable({ cause: 'no_backend', retryAfter: 1 });
      return ANSWERED;
    }
    if (state.trialsWaiting) state.startTrials();
    const choice = keyState.choose(options.websocket, request, NO_BACKENDS, options.tried);
    if (typeof choice === 'object' && !options.websocket && !options.fresh) {
      const connection = choice.endpoint.takeIdle();
      if (connection !== null) {
        handOver(
          connection.lend(choice, 0, 0, keyState.cookieFor(choice, request)),
          acquirer,
          this.#context.log,
        );
        return ANSWERED;
      }
    }
    const acquisition = new Acquisition(state, keyState, request, options, acquirer);
    acquisition.advance(choice);
    return acquisition;
  }

  takeRetry(service: CompiledService): boolean {
    const state = this.#services.get(service.name);
    return state?.retries.take(state.active) ?? false;
  }

  retryDone(service: CompiledService): void {
    this.#services.get(service.name)?.retries.done();
  }

  // The table.

  /** The service as the table has it now; null when it is gone. Exchanges under way go on undisturbed. */
  setService(name: string, service: CompiledService | null): void {
    let state = this.#services.get(name);
    if (service === null) {
      this.#services.delete(name);
      state?.close();
      return;
    }
    if (state === undefined) {
      state = new ServiceState(service, this.#context);
      this.#services.set(name, state);
    }
    state.update(service, this.#clientCertificate);
  }

  /** Names of all services it has, for a load that replaces everything. */
  serviceNames(): string[] {
    return [...this.#services.keys()];
  }

  /** A certificate changed that services may show to their backends. */
  certificateChanged(name: string): void {
    for (const state of this.#services.values()) {
      if (state.config.tls.certificate === name) state.refreshIdentities(this.#clientCertificate);
    }
  }

  /** The secret `cookie-key`; without it no visitor is pinned to a backend. */
  setCookieKeys(keys: string | null): void {
    if (this.#context.cookieKeys === keys) return;
    this.#context.cookieKeys = keys;
    for (const state of this.#services.values()) state.refreshSticky();
  }

  // Health and names, from sync.

  setVerdict(service: string, address: string, alive: boolean): void {
    this.#services.get(service)?.endpoints.get(address)?.setVerdict(alive);
  }

  /** Connects that failed in other processes of the node. */
  applyRemoteFailures(failures: readonly FailureReport[]): void {
    for (const report of failures) {
      const endpoint = this.#services.get(report.service)?.endpoints.get(report.address);
      if (report.count > 0) endpoint?.remoteFailed(report.count);
      endpoint?.remoteSignals(report);
    }
  }

  /** A backend that another process of the node reached again. */
  applyRemoteRecovered(service: string, address: string): void {
    this.#services.get(service)?.endpoints.get(address)?.remoteRecovered();
  }

  /** Addresses that the name of a backend stands for now. */
  setResolved(name: string, addresses: readonly string[]): void {
    this.#context.names.set(name, addresses);
  }

  // The process.

  /** Every backend of every key, as it stands now. */
  status(): BackendStatus[] {
    const all: BackendStatus[] = [];
    for (const state of this.#services.values()) {
      for (const keyState of state.keys.values()) {
        for (const backend of keyState.backends) {
          const { service, address, state, fullWeight, tier, alive, active, tunnels } = backend;
          const { idle, why, ramp } = backend.endpoint;
          const of = { service, key: keyState.key, address, state, weight: fullWeight, tier };
          all.push({ ...of, alive, why, ramp, active, tunnels, idle });
        }
      }
    }
    return all;
  }

  /** How one address stands; neither balanced nor busy when there is no such backend. */
  use(service: string, address: string): BackendUse {
    const state = this.#services.get(service);
    let balanced = false;
    let busy = state?.endpoints.get(address)?.busy ?? false;
    for (const keyState of state?.keys.values() ?? []) {
      for (const backend of keyState.backends) {
        if (backend.address !== address) continue;
        balanced ||= backend.state === 'ready' || backend.state === 'lost';
      }
    }
    for (const endpoint of this.#context.leaving) {
      busy ||= endpoint.busy && endpoint.address === address && endpoint.owner.name === service;
    }
    return { balanced, busy };
  }

  /** Requests that wait for a connection, over all services. */
  get waiting(): number {
    let waiting = 0;
    for (const state of this.#services.values()) waiting += state.waiting;
    return waiting;
  }

  /** The same of each service of which any does. */
  queues(): Record<string, number> {
    const queues: Record<string, number> = {};
    for (const [name, { waiting }] of this.#services) if (waiting > 0) queues[name] = waiting;
    return queues;
  }

  /** Closes every idle connection and answers everything that waits; lent connections stay with their exchanges. */
  close(): void {
    for (const state of this.#services.values()) state.close();
    this.#services.clear();
  }
}

export type ManagedUpstreams = ServiceUpstreams;

export function createUpstreams(options: UpstreamOptions): ManagedUpstreams {
  return new ServiceUpstreams(options);
}

/**
 * A service as the upstream side keeps it: its endpoints, its keys, its queue and its retry budget, brought into line
 * with the table by `update`. What stays the same in the table stays the same here, connections included.
 */
import type { BalancePolicy, ResolvedService } from '../../shared/model/service.ts';
import type { CompiledService } from '../../shared/routing/decision.ts';
import { createPolicy } from '../balance/create-policy.ts';
import { LoadChanges } from '../balance/load-changes.ts';
import { type Load, requestLoad, tunnelLoad } from '../balance/policy.ts';
import type { AcquisitionOwner } from './acquisition.ts';
import { Endpoint, type EndpointOwner, type UpstreamContext } from './endpoint.ts';
import { KeyState, type Policies } from './key-state.ts';
import { RetryBudget } from './retry-budget.ts';
import { SlowStart } from './slow-start.ts';
import { SpareConnect } from './spare-connect.ts';
import { Sticky } from './sticky.ts';
import { type ClientCertificate, identitiesKey, TlsIdentities, type TlsIdentity } from './tls-identity.ts';

/** A client certificate by the name that services use; null when there is none (yet). */
export type ClientCertificates = (name: string) => ClientCertificate | null;

export class ServiceState implements EndpointOwner, AcquisitionOwner {
  readonly name: string;
  readonly context: UpstreamContext;
  readonly keys = new Map<number, KeyState>();
  readonly endpoints = new Map<string, Endpoint>();
  readonly retries = new RetryBudget();
  readonly loads = new LoadChanges();
  config: ResolvedService;
  waiting = 0;
  /** Endpoints whose time out is over; their trial begins with the next request. */
  readonly #trialsDue = new Set<Endpoint>();
  readonly #spares = new Set<SpareConnect>();
  #identities: TlsIdentities | null = null;
  #policiesKey = '';
  #sticky: Sticky | null = null;
  #stickyKey = '';
  readonly #slowStart: SlowStart;
  #serving = false;
  #serveAgain = false;
  #closed = false;

  constructor(service: CompiledService, context: UpstreamContext) {
    this.name = service.name;
    this.context = context;
    this.config = service.config;
    this.#slowStart = new SlowStart(context, () => this.#weigh());
  }

  // The table.

  update(service: CompiledService, certificates: ClientCertificates): void {
    this.config = service.config;
    this.refreshIdentities(certificates);
    this.#slowStart.configure(service.config.slowStartMs);
    const named = new Set<Endpoint>();
    // At the start all are new, and none has anything to make way for.
    const beginning = this.keys.size === 0;
    const endpointOf = (address: string) => {
      const isNew = !beginning && !this.endpoints.has(address);
      const endpoint = this.#endpoint(address);
      if (isNew) this.startSlowly(endpoint);
      named.add(endpoint);
      return endpoint;
    };
    const policiesKey = keyOfPolicies(service.config);
    for (const [number, key] of service.keys) {
      let state = this.keys.get(number);
      if (state === undefined) {
        state = new KeyState(number, this.#createPolicies());
        this.keys.set(number, state);
      } else if (policiesKey !== this.#policiesKey) {
        state.policies = this.#createPolicies();
      }
      state.update(key, endpointOf);
    }
    this.#policiesKey = policiesKey;
    for (const [number, state] of this.keys) {
      if (service.keys.has(number)) continue;
      this.keys.delete(number);
      state.close();
    }
    for (const endpoint of [...this.endpoints.values()]) {
      if (!named.has(endpoint)) this.#removeEndpoint(endpoint);
    }
    this.refreshSticky();
    for (const endpoint of this.endpoints.values()) endpoint.reconfigured();
    for (const state of this.keys.values()) this.#pardon(state);
    this.capacityFreed();
  }

  /** Visitors stay with their backends as the service says now, by the keys there are now. */
  refreshSticky(): void {
    const { config, context } = this;
    const { cookieKeys, clock } = context;
    const stickyKey = JSON.stringify([config.sticky, cookieKeys]);
    if (stickyKey !== this.#stickyKey) {
      this.#stickyKey = stickyKey;
      const off = config.sticky === null || cookieKeys === null;
      this.#sticky = off ? null : new Sticky(this.name, config.sticky, cookieKeys, () => clock.now());
    }
    this.#sticky?.setAddresses(this.endpoints.keys());
    for (const state of this.keys.values()) state.sticky = this.#sticky;
  }

  /** Reads the client certificate again; connections of an identity that changed are not used any more. */
  refreshIdentities(certificates: ClientCertificates): void {
    const { config } = this;
    if (config.protocol !== 'https') {
      this.#identities = null;
      return;
    }
    const client = config.tls.certificate === null ? null : certificates(config.tls.certificate);
    if (this.#identities?.key === identitiesKey(config, client)) return;
    this.#identities = new TlsIdentities(config, client);
    for (const endpoint of this.endpoints.values()) endpoint.reconfigured();
  }

  /** The service is gone from the table, or the process ends. */
  close(): void {
    this.#closed = true;
    for (const state of this.keys.values()) state.close();
    this.keys.clear();
    for (const endpoint of [...this.endpoints.values()]) this.#removeEndpoint(endpoint);
    for (const spare of this.#spares) spare.abort();
    this.#spares.clear();
    this.#slowStart.close();
  }

  #endpoint(address: string): Endpoint {
    let endpoint = this.endpoints.get(address);
    if (endpoint === undefined) {
      endpoint = new Endpoint(address, this);
      this.endpoints.set(address, endpoint);
    }
    return endpoint;
  }

  #removeEndpoint(endpoint: Endpoint): void {
    this.endpoints.delete(endpoint.address);
    this.#trialsDue.delete(endpoint);
    this.#slowStart.forget(endpoint);
    endpoint.remove();
  }

  #createPolicies(): Policies {
    const { config, context } = this;
    const create = (name: BalancePolicy, load: Load) =>
      createPolicy(name, { load, changes: this.loads, random: context.random, hash: config.hash });
    // A TCP service has nothing but tunnels; its one policy is `balance`.
    const forTunnels = config.protocol === 'tcp' ? config.balance : config.websocket.balance;
    return { request: create(config.balance, requestLoad), tunnel: create(forTunnels, tunnelLoad) };
  }

  // For endpoints.

  identityFor(name: string | null): TlsIdentity | Error | null {
    return this.#identities === null ? null : this.#identities.for(name);
  }

  mayEject(endpoint: Endpoint, maxShare: number): boolean {
    for (const state of this.keys.values()) {
      const concerned = state.backends.some((backend) => backend.endpoint === endpoint);
      if (concerned && !state.canSpareOne(maxShare)) return false;
    }
    return true;
  }

  meanOfOthers(endpoint: Endpoint): number | null {
    let sum = 0;
    let count = 0;
    for (const other of this.endpoints.values()) {
      const meanMs = other === endpoint || !other.alive ? null : (other.ejection?.meanMs ?? null);
      if (meanMs === null) continue;
      sum += meanMs;
      count++;
    }
    return count === 0 ? null : sum / count;
  }

  startSlowly(endpoint: Endpoint): void {
    // One that the table names no longer may still come back, by a connect that was under way.
    if (this.endpoints.get(endpoint.address) === endpoint) this.#slowStart.begin(endpoint);
  }

  #weigh(): void {
    for (const state of this.keys.values()) state.weigh();
  }

  capacityFreed(): void {
    if (this.waiting === 0) return;
    this.#serveAgain = true;
    if (this.#serving) return;
    this.#serving = true;
    try {
      // Serving one may free or take room of others, in whatever its exchange does at once.
      while (this.#serveAgain) {
        this.#serveAgain = false;
        for (const state of this.keys.values()) state.serveWaiting();
      }
    } finally {
      this.#serving = false;
    }
  }

  healthChanged(): void {
    for (const state of this.keys.values()) {
      state.invalidate();
      this.#pardon(state);
    }
    this.capacityFreed();
  }

  /** When nobody else is alive, those that are out for their answers alone serve: they accept connections. */
  #pardon(state: KeyState): void {
    // Who allows all of them to be out wants it so.
    if (this.config.eject === null || this.config.eject.maxShare === 1) return;
    // Seldom is any out: looked at first, since the other question makes the list of candidates anew.
    if (!state.backends.some(({ endpoint }) => endpoint.ejection?.ejected === true) || state.anyAlive) return;
    for (const { state: its, endpoint } of state.backends) if (its === 'ready') endpoint.pardon();
  }

  trialDue(endpoint: Endpoint): void {
    this.#trialsDue.add(endpoint);
  }

  warmUp(endpoint: Endpoint): void {
    this.#connectSpare(endpoint, false);
  }

  // For requests.

  get trialsWaiting(): boolean {
    return this.#trialsDue.size > 0;
  }

  /** Tries those whose time out is over, without making a request wait for it. */
  startTrials(): void {
    for (const endpoint of this.#trialsDue) {
      if (endpoint.sparePending) continue;
      this.#trialsDue.delete(endpoint);
      // A backend that the active checks hold for dead comes back by their verdict.
      if (endpoint.offline && endpoint.verdict) this.#connectSpare(endpoint, true);
    }
  }

  /** Exchanges under way or waiting. */
  get active(): number {
    let active = this.waiting;
    for (const endpoint of this.endpoints.values()) active += endpoint.active + endpoint.tunnels;
    return active;
  }

  #connectSpare(endpoint: Endpoint, trial: boolean): void {
    if (this.#closed || endpoint.sparePending) return;
    const spare = new SpareConnect(endpoint, trial, (made) => {
      this.#spares.delete(spare);
      endpoint.spareEnded(made);
    });
    this.#spares.add(spare);
    spare.start();
  }
}

function keyOfPolicies({ balance, hash, websocket, protocol }: ResolvedService): string {
  return JSON.stringify([balance, hash, websocket.balance, protocol]);
}

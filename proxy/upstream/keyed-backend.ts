/** A backend as one key of a service names it: weight, tier and state are the key's, all else is its endpoint's. */
import type { BackendSpec } from '../../shared/routing/decision.ts';
import type { Backend } from './contract.ts';
import type { Endpoint } from './endpoint.ts';

export class KeyedBackend implements Backend {
  readonly endpoint: Endpoint;
  readonly service: string;
  readonly address: string;
  readonly slot: number;
  weight: number;
  ramp: number;
  tier: number;
  state: BackendSpec['state'];
  since: number;
  /** As the table has it. */
  #fullWeight: number;
  #worker: string | null;

  constructor(endpoint: Endpoint, spec: BackendSpec) {
    this.endpoint = endpoint;
    this.service = endpoint.owner.name;
    this.address = endpoint.address;
    this.slot = endpoint.slot;
    this.#fullWeight = spec.weight;
    this.ramp = endpoint.ramp;
    this.weight = spec.weight * this.ramp;
    this.tier = spec.tier;
    this.state = spec.state;
    this.since = spec.since;
    this.#worker = spec.worker;
    const { worker } = endpoint;
    if (spec.worker === null) return;
    endpoint.worker = spec.worker;
    // Under another key before: the next build, at the same address.
    if (worker !== null && worker !== spec.worker) endpoint.renewed();
    this.weigh();
  }

  update(spec: BackendSpec): void {
    const wasAway = this.state === 'maintenance' || this.state === 'lost';
    this.#fullWeight = spec.weight;
    this.tier = spec.tier;
    this.state = spec.state;
    this.since = spec.since;
    this.weigh();
    const sameWorker = this.#worker === spec.worker;
    this.#worker = spec.worker;
    if (spec.worker !== null) this.endpoint.worker = spec.worker;
    if (!sameWorker && spec.worker !== null) this.endpoint.renewed();
    else if (wasAway && spec.state === 'ready') this.endpoint.owner.startSlowly(this.endpoint);
  }

  /** Its endpoint gets another part of its share. */
  weigh(): void {
    this.ramp = this.endpoint.ramp;
    this.weight = this.#fullWeight * this.ramp;
  }

  get fullWeight(): number {
    return this.#fullWeight;
  }

  /**
   * Whether its pinned visitors stay: one that is drained by hand keeps them, and so does weight 0. A worker that
   * drains is about to end and is waited for, so its visitors move at once.
   */
  get keepsPinned(): boolean {
    return this.alive && (this.state === 'ready' || (this.state === 'drain' && this.#worker === null));
  }

  get active(): number {
    return this.endpoint.active;
  }

  get tunnels(): number {
    return this.endpoint.tunnels;
  }

  get alive(): boolean {
    return this.endpoint.alive;
  }
}

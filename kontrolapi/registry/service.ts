/** The registry as a part of kontrolapi: its calls, its housekeeping, and how it makes missing services and keys. */
import { randomUUID } from 'node:crypto';
import { SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Service } from '../../shared/model/service.ts';
import type { Settings } from '../../shared/model/settings.ts';
import type { Caller } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import type { Operation } from '../http/operation.ts';
import { Leases } from './leases.ts';
import { Membership } from './membership.ts';
import { registryOperations } from './operations.ts';
import { LEASE_MS, Registry } from './registry.ts';

/** How often beats are exchanged between kontrolapi processes and leases are looked at. */
const SWEEP_MS = 2_000;

export class WorkerService {
  readonly operations: readonly Operation[];
  readonly #context: ApiContext;
  readonly #registry: Registry;
  readonly #self = randomUUID();
  #cancel: (() => void) | null = null;
  #sweeping: Promise<void> = Promise.resolve();
  #closed = false;
  #away = false;

  constructor(context: ApiContext) {
    const { store, bus, clock, log, nodes } = context;
    this.#context = context;
    this.#registry = new Registry({
      store,
      membership: new Membership(store, bus),
      leases: new Leases(store, clock, this.#self, { ttlMs: LEASE_MS, exchangeMs: SWEEP_MS }),
      clock,
      log,
    });
    this.operations = registryOperations({
      registry: this.#registry,
      bus,
      clock,
      liveNodes: () => nodes.live(),
      loopbackAllowed: () => store.type === 'embedded' || this.#settings().workers?.loopback === true,
      ensureKey: (service, key, caller) => this.#ensureKey(service, key, caller),
    });
  }

  start(): void {
    this.#sweeping = this.#sweep();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#sweeping;
    // What this process counted is known to the others by now; its document would only stay behind.
    await this.#context.store.live.delete('leases', this.#self).catch(() => {});
  }

  async #sweep(): Promise<void> {
    const { clock, log } = this.#context;
    try {
      await this.#registry.sweep();
      if (this.#away)
        log.info('workers_watched', 'the store answers again; every worker has a full lease from now on');
      this.#away = false;
    } catch (error) {
      if (!this.#away)
        log.warn('workers_unwatched', 'the store is away: no worker is declared lost until it is back', {
          reason: String(error),
        });
      this.#away = true;
    }
    if (this.#closed) return;
    this.#cancel = clock.after(SWEEP_MS, () => {
      this.#sweeping = this.#sweep();
    });
  }

  #settings(): Settings {
    return (this.#context.present.state.get('settings', SETTINGS_NAME)?.doc ?? {}) as Settings;
  }

  /** The first worker of a service or key creates it, as a revision like any other. */
  async #ensureKey(name: string, key: number, caller: Caller): Promise<void> {
    const { present, writer } = this.#context;
    if (hasKey(present.state.get('service', name)?.doc as Service | undefined, key)) return;
    await writer.submit({
      author: caller.name,
      message: `first worker of ${name}, key ${key}`,
      decide(view) {
        const service = view.get('service', name)?.doc as Service | undefined;
        if (hasKey(service, key)) return [];
        const doc = { ...(service ?? { name }), keys: { ...service?.keys, [key]: {} } };
        return [{ kind: 'service', name, doc }];
      },
    });
  }
}

function hasKey(service: Service | undefined, key: number): boolean {
  return service?.keys !== undefined && Object.hasOwn(service.keys, String(key));
}

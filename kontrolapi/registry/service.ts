/** The registry as a part of kontrolapi: its calls, its housekeeping, and how it makes missing services and keys. */
import { randomUUID } from 'node:crypto';
import { BackendAddresses, controlPorts } from '../../shared/backend-addresses.ts';
import { KontrolError } from '../../shared/errors.ts';
import { SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Service } from '../../shared/model/service.ts';
import type { Settings } from '../../shared/model/settings.ts';
import type { Caller } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import type { Operation } from '../http/operation.ts';
import type { Doc, View } from '../revisions/view.ts';
import { buildOperations } from './builds.ts';
import { withKeysOf } from './builds-without-keys.ts';
import { rememberBuilds } from './configured-builds.ts';
import { Housekeeping } from './housekeeping.ts';
import { Leases } from './leases.ts';
import { Membership } from './membership.ts';
import { registryOperations } from './operations.ts';
import { LEASE_MS, Registry } from './registry.ts';

/** How often beats are exchanged between kontrolapi processes and leases are looked at. */
const SWEEP_MS = 2_000;

export class WorkerService {
  readonly operations: readonly Operation[];
  readonly #context: ApiContext;
  readonly #membership: Membership;
  readonly #registry: Registry;
  readonly #housekeeping: Housekeeping;
  readonly #self = randomUUID();
  #cancel: (() => void) | null = null;
  #unsubscribe: (() => void) | null = null;
  #sweeping: Promise<void> = Promise.resolve();
  #closed = false;
  #away = false;

  constructor(context: ApiContext) {
    const { store, bus, clock, log, nodes, settings } = context;
    this.#context = context;
    const membership = new Membership(store, bus, clock);
    this.#membership = membership;
    const leases = new Leases(store, clock, this.#self, { ttlMs: LEASE_MS, exchangeMs: SWEEP_MS });
    const registry = new Registry({ store, membership, leases, clock });
    this.#registry = registry;
    this.#housekeeping = new Housekeeping({ store, registry, membership, leases, clock, log });
    const addresses = new BackendAddresses(controlPorts(settings));
    const calls = registryOperations({
      registry,
      bus,
      clock,
      async lookAtNodes() {
        await nodes.list();
      },
      liveNodes: () => nodes.live(),
      loopbackAllowed: () => store.type === 'embedded' || this.#settings().workers?.loopback === true,
      refusal: (address) => addresses.refusal(address, this.#settings().backendAddresses?.refuse),
      ordered: (id, command) => {
        this.#housekeeping.ordered(id, command);
        bus.publish('kontrol:ask', { ask: 'order', worker: id });
      },
      ensureKey: (service, key, caller) => this.#ensureKey(service, key, caller),
    });
    this.operations = [...calls, ...buildOperations({ present: context.present, membership })];
  }

  start(): void {
    // A hint alone: without it the order comes with the next exchange of beats.
    this.#unsubscribe = this.#context.bus.subscribe('kontrol:ask', (message) => {
      if (message?.['ask'] !== 'order' || typeof message['worker'] !== 'string') return;
      void this.#registry.lookAgain(message['worker']);
    });
    this.#sweeping = this.#sweep();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    this.#unsubscribe?.();
    await this.#sweeping;
    this.#housekeeping.close();
    // Leases go on from the last beat that the others saw; the document would only stay behind.
    await this.#context.store.live.delete('leases', this.#self).catch(() => {});
  }

  async #sweep(): Promise<void> {
    const { clock, log, present } = this.#context;
    try {
      await this.#housekeeping.sweep();
      if (present.loaded) {
        await rememberBuilds(present.state, this.#membership);
        await this.#makeKeys();
      }
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

  /** For services that were made again while their workers ran. A refusal is no failure of the store. */
  async #makeKeys(): Promise<void> {
    const { present, writer, log } = this.#context;
    for (const [name, { backends }] of this.#membership.services()) {
      const missing = (view: View) => {
        const doc = withKeysOf(view.get('service', name)?.doc as Service | undefined, backends);
        return doc === null ? [] : [{ kind: 'service' as const, name, doc: doc as unknown as Doc }];
      };
      if (missing(present.state).length === 0) continue;
      try {
        const message = `${name} was made again while its workers ran`;
        await writer.submit({ author: 'kontrol', message, decide: missing });
      } catch (error) {
        if (!(error instanceof KontrolError) || error.status >= 500) throw error;
        log.debug('keys_not_made', `the keys of the workers of ${name} cannot be made: ${error.message}`);
      }
    }
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

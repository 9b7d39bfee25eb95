/**
 * What this node knows of its backends beside the table: what their names stand for, and which of them are alive.
 * Told to the serving processes as it changes, and whole to each that is new.
 */
import { BackendAddresses, controlPorts } from '../../shared/backend-addresses.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { parseEndpoint } from '../../shared/model/fields.ts';
import type { Table } from '../../shared/routing/table.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { FromServing, ToServing } from '../link/messages.ts';
import { clientPairOf } from './check-tls.ts';
import { DrainWatch } from './drain-watch.ts';
import { type BackendHealth, HealthChecks } from './health-checks.ts';
import { probe } from './probe.ts';
import { type Ask, NameResolver } from './resolver.ts';

/** A change that brings new names waits this long for their first answers, so that its first visitors find them. */
const NEW_NAMES_MS = 150;
/** Verdicts in one message. */
const BATCH = 500;

export interface BackendWatchOptions {
  readonly settings: SettingsOfProcess;
  readonly table: Table;
  readonly clock: Clock;
  readonly log: Log;
  readonly ask?: Ask;
  /** To every serving process. */
  broadcast(message: ToServing): void;
  /** See `DrainWatchOptions.isDrained`. */
  isDrained(service: string, address: string): Promise<boolean>;
  /** Backends that went down or came back. */
  changed(backends: readonly BackendHealth[]): void;
}

export class BackendWatch {
  readonly health: HealthChecks;
  readonly resolver: NameResolver;
  readonly #options: BackendWatchOptions;
  readonly #drains: DrainWatch;

  constructor(options: BackendWatchOptions) {
    this.#options = options;
    const { clock, log, table } = options;
    this.#drains = new DrainWatch({
      clock,
      log,
      isDrained: (service, address) => options.isDrained(service, address),
    });
    const refused = new BackendAddresses(controlPorts(options.settings));
    this.resolver = new NameResolver({
      clock,
      log,
      ...(options.ask === undefined ? {} : { ask: options.ask }),
      changed: (name, addresses) => {
        options.broadcast({ type: 'resolved', name, addresses });
        this.health.resolved(name);
      },
    });
    this.health = new HealthChecks({
      clock,
      probe(target, service, running) {
        const { certificate } = service.tls;
        return probe(
          target,
          service,
          running,
          certificate === null ? null : clientPairOf(table, certificate),
        );
      },
      random: Math.random,
      addresses: (name) => this.resolver.addresses(name),
      mayConnect: (address) => refused.refusal(address, table.settings().backendAddresses?.refuse) === null,
      changed: (verdicts, flipped) => {
        options.broadcast({ type: 'health', verdicts });
        for (const { service, address, alive, problem } of flipped) {
          // Still failing, but not believed: that was said once for all of them.
          if (alive && problem !== null) continue;
          if (alive)
            log.info('backend_up', `backend ${address} of ${service} is alive`, { service, address });
          else
            log.warn('backend_down', `backend ${address} of ${service} is down: ${problem}`, {
              service,
              address,
            });
        }
        if (flipped.length > 0) options.changed(flipped);
      },
      suspected: (suspected, backends) => {
        if (suspected)
          log.error(
            'checks_suspended',
            'every check of every service fails: the network of this machine is suspected, and traffic goes on to backends that were alive; look at its links, routes and firewall',
            { backends },
          );
        else
          log.info('checks_resumed', 'a health check passed; checks are believed again', {
            failing: backends,
          });
      },
    });
  }

  /** These services changed. Resolves when new names have their first answer, or soon. */
  async follow(services: readonly string[]): Promise<void> {
    const { table, clock } = this.#options;
    for (const name of services) {
      const service = table.service(name) ?? null;
      this.health.setService(name, service);
      this.#drains.setService(name, service);
    }
    if (services.length === 0) return;
    this.resolver.follow(this.health.names());
    let cancel = () => {};
    const late = new Promise<void>((resolve) => {
      cancel = clock.after(NEW_NAMES_MS, resolve);
    });
    await Promise.race([this.resolver.settled(), late]);
    cancel();
  }

  /** Connects of real traffic failed there. */
  failed(failures: Extract<FromServing, { type: 'failures' }>['failures']): void {
    for (const { service, address, status5xx } of failures) {
      // Single answers are for the other processes; it is reachable.
      if (status5xx !== undefined) continue;
      this.health.trigger(service, address);
      const endpoint = parseEndpoint(address);
      if (endpoint?.type === 'name') this.resolver.doubt(endpoint.host);
    }
  }

  /** Everything a new process has to know; one that is loaded `again` may believe dead who is alive, too. */
  *snapshot(again: boolean): IterableIterator<ToServing> {
    for (const [name, addresses] of this.resolver.known()) yield { type: 'resolved', name, addresses };
    const told = again ? this.health.verdicts() : this.health.dead();
    for (let i = 0; i < told.length; i += BATCH) yield { type: 'health', verdicts: told.slice(i, i + BATCH) };
  }

  close(): void {
    this.resolver.close();
    this.#drains.close();
    this.health.close();
  }
}

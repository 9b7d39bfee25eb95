/**
 * Which services have nobody left, and which backends are dead or come and go: for the node's record, from which
 * kontrolapi makes alerts. What is down is worked out anew each time, so a restart of sync neither forgets nor invents it.
 */
import type { Clock } from '../../shared/clock.ts';
import type { ServiceTrouble } from '../../shared/model/live.ts';
import type { CompiledService } from '../../shared/routing/decision.ts';
import type { Table } from '../../shared/routing/table.ts';
import type { BackendHealth } from './health-checks.ts';

/** A backend flaps that changed this often within the time, until it changes less. */
const FLAPS = 6;
const CALM = 3;
const WITHIN_MS = 600_000;
/** Backends whose changes are remembered. */
const MAX_BACKENDS = 5_000;
/**
 * More than kontrolapi tells: were it cut at that, something new would push out something told, which would seem to be
 * over.
 */
const MAX_NAMED = 2_000;

interface Changes {
  /** When it changed, the newest last. */
  at: number[];
  flapping: boolean;
}

interface Health {
  of(service: string, address: string): Pick<BackendHealth, 'alive' | 'against'> | null;
  /** Failing checks are not believed now. */
  readonly suspected: boolean;
}

/** Names, in the order of the table. */
interface Found {
  readonly down: string[];
  readonly dead: string[];
  readonly failingServices: string[];
  readonly failingBackends: string[];
}

export class Trouble {
  readonly #table: Table;
  readonly #health: Health;
  readonly #clock: Clock;
  readonly #changes = new Map<string, Changes>();

  constructor(table: Table, health: Health, clock: Clock) {
    this.#table = table;
    this.#health = health;
    this.#clock = clock;
  }

  /** These backends were found dead, or alive again. */
  changed(backends: readonly Pick<BackendHealth, 'service' | 'address'>[]): void {
    const now = this.#clock.monotonic();
    for (const { service, address } of backends) {
      const id = `${service} ${address}`;
      const known = this.#changes.get(id);
      if (known === undefined && this.#changes.size >= MAX_BACKENDS) continue;
      const changes = known ?? { at: [], flapping: false };
      changes.at.push(now);
      if (changes.at.length > FLAPS) changes.at.shift();
      this.#changes.set(id, changes);
    }
  }

  report(): ServiceTrouble {
    const found: Found = { down: [], dead: [], failingServices: [], failingBackends: [] };
    for (const service of this.#table.services()) this.#look(service, found);
    return {
      down: named(found.down),
      dead: named(found.dead),
      failingServices: named(found.failingServices),
      failingBackends: named(found.failingBackends),
      flapping: named(this.#flapping()),
      checksSuspended: this.#health.suspected,
    };
  }

  /** At the current build of a service: the others have no visitors, or those that ask for them by number. */
  #look({ name, config, keys, latest }: CompiledService, found: Found): void {
    const key = config.enabled && latest !== null ? keys.get(latest) : undefined;
    if (key === undefined || !key.enabled) return;
    const serving = key.backends.filter(({ state }) => state === 'ready' || state === 'lost');
    // All of them were taken out by somebody who knows.
    if (serving.length === 0 && key.backends.length > 0) return;
    const dead: string[] = [];
    const failing: string[] = [];
    for (const { address } of serving) {
      const health = this.#health.of(name, address);
      if (health?.alive === false) dead.push(`${name} ${address}`);
      else if (health !== null && health.against > 0) failing.push(`${name} ${address}`);
    }
    found.failingBackends.push(...failing);
    if (dead.length === serving.length) found.down.push(name);
    else {
      // One by one they are said only where others serve.
      found.dead.push(...dead);
      if (dead.length + failing.length === serving.length) found.failingServices.push(name);
    }
  }

  #flapping(): string[] {
    const since = this.#clock.monotonic() - WITHIN_MS;
    const flapping: string[] = [];
    for (const [id, changes] of this.#changes) {
      changes.at = changes.at.filter((at) => at > since);
      changes.flapping = changes.at.length >= (changes.flapping ? CALM : FLAPS);
      if (changes.at.length === 0) this.#changes.delete(id);
      else if (changes.flapping) flapping.push(id);
    }
    return flapping;
  }
}

function named(names: string[]): string[] {
  return names.sort().slice(0, MAX_NAMED);
}

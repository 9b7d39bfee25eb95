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
  of(service: string, address: string): Pick<BackendHealth, 'alive'> | null;
  /** Failing checks are not believed now. */
  readonly suspected: boolean;
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
    const down: string[] = [];
    const dead: string[] = [];
    for (const service of this.#table.services()) {
      if (this.#isDown(service)) down.push(service.name);
      // One by one they are said only where others serve.
      else dead.push(...this.#deadOf(service));
    }
    return {
      down: named(down),
      dead: named(dead),
      flapping: named(this.#flapping()),
      checksSuspended: this.#health.suspected,
    };
  }

  /** Backends of the current build that should serve and fail their checks. */
  #deadOf({ name, config, keys, latest }: CompiledService): string[] {
    const key = config.enabled && latest !== null ? keys.get(latest) : undefined;
    if (key === undefined || !key.enabled) return [];
    return key.backends
      .filter(({ state }) => state === 'ready' || state === 'lost')
      .filter(({ address }) => this.#health.of(name, address)?.alive === false)
      .map(({ address }) => `${name} ${address}`);
  }

  #isDown({ name, config, keys, latest }: CompiledService): boolean {
    const key = config.enabled && latest !== null ? keys.get(latest) : undefined;
    if (key === undefined || !key.enabled) return false;
    const serving = key.backends.filter(({ state }) => state === 'ready' || state === 'lost');
    // All of them were taken out by somebody who knows.
    if (serving.length === 0 && key.backends.length > 0) return false;
    return !serving.some(({ address }) => this.#health.of(name, address)?.alive ?? true);
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

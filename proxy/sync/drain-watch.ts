/**
 * Says in the log when a backend that drains has nothing under way any more on this node, once per drain: from then on
 * it can be stopped without anybody noticing. Asks the serving processes about once a second, and only while one drains.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { CompiledService } from '../../shared/routing/decision.ts';

const LOOK_MS = 1_000;
/** Backends that are asked about in one look; the others wait for the next. */
const MAX_LOOKS = 20;

interface Draining {
  readonly service: string;
  readonly address: string;
  readonly since: number;
}

export interface DrainWatchOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Whether no process of the node balances to it or has anything under way there. */
  isDrained(service: string, address: string): Promise<boolean>;
}

export class DrainWatch {
  readonly #options: DrainWatchOptions;
  /** Those that are not done, longest not looked at first. */
  readonly #draining = new Map<string, Draining>();
  /** Those that were reported and still stand as draining. */
  readonly #done = new Set<string>();
  #cancel: (() => void) | null = null;
  #closed = false;

  constructor(options: DrainWatchOptions) {
    this.#options = options;
  }

  /** A service is now as given; null when it is gone. */
  setService(name: string, service: CompiledService | null): void {
    const draining = drainingOf(service);
    for (const [id, entry] of this.#draining) {
      if (entry.service === name && !draining.has(entry.address)) this.#draining.delete(id);
    }
    for (const id of this.#done) {
      if (id.startsWith(`${name} `) && !draining.has(id.slice(name.length + 1))) this.#done.delete(id);
    }
    const since = this.#options.clock.monotonic();
    for (const address of draining) {
      const id = `${name} ${address}`;
      if (!this.#done.has(id) && !this.#draining.has(id)) {
        this.#draining.set(id, { service: name, address, since });
      }
    }
    this.#plan();
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#draining.clear();
  }

  #plan(): void {
    if (this.#closed || this.#draining.size === 0) return;
    this.#cancel ??= this.#options.clock.after(LOOK_MS, () => {
      void this.#look().finally(() => {
        this.#cancel = null;
        this.#plan();
      });
    });
  }

  async #look(): Promise<void> {
    const { clock, log } = this.#options;
    for (const [id, entry] of [...this.#draining].slice(0, MAX_LOOKS)) {
      const { service, address, since } = entry;
      // A process that does not answer has something under way, as far as anybody knows.
      const drained = await this.#options.isDrained(service, address).catch(() => false);
      if (this.#draining.get(id) !== entry) continue;
      this.#draining.delete(id);
      if (!drained) {
        this.#draining.set(id, entry);
        continue;
      }
      this.#done.add(id);
      const seconds = Math.round((clock.monotonic() - since) / 1_000);
      log.info('backend_drained', `backend ${address} of ${service} has nothing under way any more`, {
        service,
        address,
        seconds,
      });
    }
  }
}

function drainingOf(service: CompiledService | null): Set<string> {
  const draining = new Set<string>();
  for (const key of service?.keys.values() ?? []) {
    for (const { address, state } of key.backends) if (state === 'drain') draining.add(address);
  }
  return draining;
}

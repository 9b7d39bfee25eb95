/**
 * Active health checks of every backend of the node, from this one process: concurrent within a bound, spread over the
 * interval, faster while a backend is undecided or went down. A backend is who it is by service and address, so what
 * is known of it survives changes of the table; a new one counts as alive, and its first check runs at once. So does
 * the first of another worker at the address, which serving processes believe alive until they are told. When
 * everything beyond this machine goes bad at once, the checks themselves are not believed until one passes.
 */

import type { Clock } from '../../shared/clock.ts';
import { type Endpoint, parseEndpoint } from '../../shared/model/fields.ts';
import type { ResolvedService } from '../../shared/model/service.ts';
import type { CompiledService } from '../../shared/routing/decision.ts';
import type { HealthVerdict } from '../link/messages.ts';
import type { Probe, Target, Verdict } from './probe.ts';

const MAX_CONCURRENT = 256;
/** Of those, for backends whose last check failed: they may take their whole time-out, and the others must not wait. */
const MAX_FAILING = 128;
/** Interval while a backend is undecided or down, unless its own is shorter. */
const FAST_MS = 1_000;
/** One that was down and passes a check has its next ones at this pace, until it is back or fails. */
const RISING_MS = 200;
/** One that stays down is looked at so often at that pace, then at its own interval. */
const FAST_FAILURES = 60;
/** So many backends of so many services that all went down within this time: that is not them, it is our network. */
const SUSPECT_BACKENDS = 3;
const SUSPECT_SERVICES = 2;
const SUSPECT_MS = 30_000;
/** An error of real traffic triggers a check at once, but no more often than this per backend. */
const TRIGGER_GAP_MS = 200;
/** Verdicts that come together go out as one batch. */
const BATCH_MS = 10;
const MAX_BATCH = 500;

export interface BackendHealth {
  readonly service: string;
  readonly address: string;
  readonly alive: boolean;
  /** Checks in a row that said the opposite of `alive`. */
  readonly against: number;
  /** Why the last check failed; null when it passed or there was none. */
  readonly problem: string | null;
  /** Milliseconds since 1970 of the last check; null before the first. */
  readonly checkedAt: number | null;
}

interface Checked {
  readonly name: string;
  readonly address: string;
  readonly endpoint: Endpoint;
  service: ResolvedService;
  /** Who is at the address; null for a configured backend. */
  worker: string | null;
  alive: boolean;
  /** On this machine: reached without a network. */
  readonly local: boolean;
  /** When it went down, monotonic. */
  diedAt: number;
  /** Its checks are not yet spread over the interval. */
  clumped: boolean;
  /** False until enough checks in a row agreed for the first time. */
  decided: boolean;
  /** A check failed since it was last told to be alive: processes may have it out by what they saw themselves. */
  doubted: boolean;
  passes: number;
  failures: number;
  problem: string | null;
  checkedAt: number | null;
  startedAt: number;
  running: boolean;
  /** Asked for while one was running: once more right after it. */
  again: boolean;
  cancel: (() => void) | null;
  removed: boolean;
}

export interface HealthOptions {
  readonly clock: Clock;
  readonly probe: Probe;
  /** A number from 0 to 1. */
  random(): number;
  /** What a name stands for; empty when that is not known. */
  addresses(name: string): readonly string[];
  /** Whether a backend at this address (`host:port`) may be connected to. */
  mayConnect(address: string): boolean;
  /**
   * Verdicts to be told, in batches: those that changed; the first of each backend, since serving processes may still
   * believe what an earlier sync process found; and alive after a failed check, which brings it back wherever the
   * failures of real traffic took it out. `flipped` has those that went down or came back.
   */
  changed(verdicts: readonly HealthVerdict[], flipped: readonly BackendHealth[]): void;
  /** From now on (or no longer) failing checks are not believed, since all of them fail; `backends` did. */
  suspected?(suspected: boolean, backends: number): void;
}

export class HealthChecks {
  readonly #options: HealthOptions;
  readonly #backends = new Map<string, Map<string, Checked>>();
  readonly #waiting = new Set<Checked>();
  readonly #failing = new Set<Checked>();
  readonly #probing = new Set<AbortController>();
  #closed = false;
  #running = 0;
  #runningFailing = 0;
  #suspected = false;
  readonly #batch = new Set<Checked>();
  readonly #flipped = new Set<Checked>();
  #cancelBatch: (() => void) | null = null;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** A service is now as given; null when it is gone. */
  setService(name: string, service: CompiledService | null): void {
    const known = this.#backends.get(name) ?? new Map<string, Checked>();
    const wanted = service === null ? new Map<string, string | null>() : addressesOf(service);
    for (const [address, backend] of known) {
      if (wanted.has(address)) continue;
      this.#forget(backend);
      known.delete(address);
    }
    if (service === null || wanted.size === 0) {
      this.#backends.delete(name);
      return;
    }
    this.#backends.set(name, known);
    for (const [address, worker] of wanted) {
      const backend = known.get(address);
      if (backend === undefined) this.#add(known, service.config, address, worker);
      else {
        this.#reconfigure(backend, service.config);
        this.#servedBy(backend, worker);
      }
    }
  }

  /** Real traffic failed there: look at once. */
  trigger(service: string, address: string): void {
    const backend = this.#backends.get(service)?.get(address);
    if (backend === undefined || backend.service.health.type === 'off') return;
    if (this.#options.clock.monotonic() - backend.startedAt < TRIGGER_GAP_MS) return;
    this.#enqueue(backend);
  }

  /** A name has another answer (or its first): its backends are checked at once. */
  resolved(name: string): void {
    for (const backends of this.#backends.values()) {
      for (const backend of backends.values()) {
        if (backend.endpoint.type === 'name' && backend.endpoint.host === name) this.#enqueue(backend);
      }
    }
  }

  /** Host names of all backends. */
  names(): Set<string> {
    const names = new Set<string>();
    for (const backends of this.#backends.values()) {
      for (const { endpoint } of backends.values()) if (endpoint.type === 'name') names.add(endpoint.host);
    }
    return names;
  }

  /** What a process that knows nothing has to hear: everything else counts as alive. */
  dead(): HealthVerdict[] {
    return this.verdicts().filter(({ alive }) => !alive);
  }

  /** What was told of every backend, for a process that may have missed some of it. */
  verdicts(): HealthVerdict[] {
    const told: HealthVerdict[] = [];
    for (const backends of this.#backends.values()) {
      for (const { name, address, alive, decided } of backends.values()) {
        if (decided) told.push({ service: name, address, alive });
      }
    }
    return told;
  }

  *all(): IterableIterator<BackendHealth> {
    for (const backends of this.#backends.values()) {
      for (const backend of backends.values()) yield healthOf(backend);
    }
  }

  of(service: string, address: string): BackendHealth | null {
    const backend = this.#backends.get(service)?.get(address);
    return backend === undefined ? null : healthOf(backend);
  }

  /** Failing checks are not believed now: everything went bad at once. */
  get suspected(): boolean {
    return this.#suspected;
  }

  close(): void {
    this.#closed = true;
    for (const controller of this.#probing) controller.abort();
    this.#cancelBatch?.();
    this.#waiting.clear();
    this.#failing.clear();
    for (const backends of this.#backends.values())
      for (const backend of backends.values()) this.#forget(backend);
    this.#backends.clear();
  }

  #add(
    backends: Map<string, Checked>,
    service: ResolvedService,
    address: string,
    worker: string | null,
  ): void {
    const endpoint = parseEndpoint(address);
    if (endpoint === null) return;
    const backend: Checked = {
      name: service.name,
      address,
      endpoint,
      service,
      worker,
      alive: true,
      local: isLocal(endpoint),
      diedAt: Number.NEGATIVE_INFINITY,
      clumped: true,
      decided: false,
      doubted: false,
      passes: 0,
      failures: 0,
      problem: null,
      checkedAt: null,
      startedAt: Number.NEGATIVE_INFINITY,
      running: false,
      again: false,
      cancel: null,
      removed: false,
    };
    backends.set(address, backend);
    if (service.health.type === 'off') this.#decide(backend, true);
    else this.#enqueue(backend);
  }

  #reconfigure(backend: Checked, service: ResolvedService): void {
    const before = backend.service;
    if (before === service) return;
    backend.service = service;
    const same =
      JSON.stringify(before.health) === JSON.stringify(service.health) &&
      before.protocol === service.protocol &&
      before.host === service.host &&
      JSON.stringify(before.tls) === JSON.stringify(service.tls);
    if (same) return;
    backend.passes = 0;
    backend.failures = 0;
    if (service.health.type === 'off') {
      backend.cancel?.();
      backend.cancel = null;
      backend.problem = null;
      this.#decide(backend, true);
    } else this.#enqueue(backend);
  }

  /**
   * Another worker has taken the address over: it is looked at at once, and what the checks find is told even if it is
   * what was told of the one before.
   */
  #servedBy(backend: Checked, worker: string | null): void {
    const another = worker !== null && worker !== backend.worker;
    backend.worker = worker;
    if (!another) return;
    backend.decided = false;
    backend.passes = 0;
    backend.failures = 0;
    this.#enqueue(backend);
  }

  #forget(backend: Checked): void {
    backend.removed = true;
    backend.cancel?.();
    backend.cancel = null;
  }

  #enqueue(backend: Checked): void {
    if (backend.service.health.type === 'off') return;
    backend.cancel?.();
    backend.cancel = null;
    if (backend.running) {
      backend.again = true;
      return;
    }
    backend.running = true;
    (backend.failures > 0 ? this.#failing : this.#waiting).add(backend);
    this.#pump();
  }

  #pump(): void {
    while (this.#running < MAX_CONCURRENT && this.#runningFailing < MAX_FAILING) {
      if (!this.#start(this.#failing)) break;
    }
    while (this.#running < MAX_CONCURRENT) if (!this.#start(this.#waiting)) return;
  }

  /** Begins the check of the first that waits here; false when none does. */
  #start(queue: Set<Checked>): boolean {
    for (const backend of queue) {
      queue.delete(backend);
      if (backend.removed) continue;
      const failing = queue === this.#failing ? 1 : 0;
      this.#running++;
      this.#runningFailing += failing;
      void this.#check(backend).finally(() => {
        this.#running--;
        this.#runningFailing -= failing;
        this.#pump();
      });
      return true;
    }
    return false;
  }

  async #check(backend: Checked): Promise<void> {
    const { clock } = this.#options;
    const { service } = backend;
    backend.startedAt = clock.monotonic();
    const problem = await this.#probe(backend, service);
    backend.running = false;
    if (backend.removed || this.#closed) return;
    // One that was configured anew meanwhile proves nothing.
    if (backend.service === service && problem !== undefined) this.#count(backend, problem);
    if (backend.service.health.type === 'off') return;
    if (backend.again) {
      backend.again = false;
      this.#enqueue(backend);
      return;
    }
    backend.cancel = clock.after(this.#pause(backend), () => this.#enqueue(backend));
  }

  /** Why it is not well, null when it is; undefined when that cannot be told from here. */
  async #probe(backend: Checked, service: ResolvedService): Promise<Verdict> {
    const targets = this.#targets(backend.endpoint);
    // A name that never resolved is not reachable for visitors either; they find that out without being told.
    if (targets.length === 0) return undefined;
    let problem: Verdict = 'its address is refused by settings.backendAddresses';
    for (const target of targets) {
      if (target.type === 'tcp' && !this.#options.mayConnect(textOf(target))) continue;
      problem = await this.#options.probe(target, service, this.#probing);
      // Any of its addresses is enough: that is how connections are made, too.
      if (problem === null || backend.removed || this.#closed) break;
    }
    return problem;
  }

  #targets(endpoint: Endpoint): Target[] {
    if (endpoint.type === 'unix') return [{ type: 'unix', path: endpoint.path }];
    const { host: name, port } = endpoint;
    const hosts = endpoint.type === 'address' ? [name] : this.#options.addresses(name);
    return hosts.map((host) => ({ type: 'tcp', host, port, name }));
  }

  #count(backend: Checked, problem: string | null): void {
    const { rise, fall } = backend.service.health;
    backend.problem = problem;
    backend.checkedAt = this.#options.clock.now();
    if (problem === null) {
      backend.passes++;
      backend.failures = 0;
      if (!backend.local) this.#trust();
      if (backend.passes >= rise) this.#decide(backend, true);
    } else {
      backend.failures++;
      backend.passes = 0;
      backend.doubted = true;
      if (backend.failures >= fall && (!this.#suspected || backend.local)) this.#decide(backend, false);
    }
  }

  #decide(backend: Checked, alive: boolean): void {
    const flips = backend.alive !== alive;
    const recovers = alive && backend.doubted;
    if (alive) backend.doubted = false;
    if (backend.decided && !flips && !recovers) return;
    backend.decided = true;
    backend.alive = alive;
    if (!alive && flips) backend.diedAt = this.#options.clock.monotonic();
    // Twice within one batch is back to where it was.
    if (flips && !this.#flipped.delete(backend)) this.#flipped.add(backend);
    this.#batch.add(backend);
    this.#cancelBatch ??= this.#options.clock.after(BATCH_MS, () => this.#flush());
  }

  /** Whether all that is reached over the network went bad at once; then what was alive before counts as alive. */
  #suspect(): void {
    if (this.#suspected) return;
    const since = this.#options.clock.monotonic() - SUSPECT_MS;
    const suspects: Checked[] = [];
    const services = new Set<string>();
    for (const backends of this.#backends.values()) {
      for (const backend of backends.values()) {
        if (backend.local || backend.service.health.type === 'off') continue;
        if (backend.alive) return;
        if (backend.diedAt < since) continue;
        suspects.push(backend);
        services.add(backend.name);
      }
    }
    if (suspects.length < SUSPECT_BACKENDS || services.size < SUSPECT_SERVICES) return;
    this.#suspected = true;
    for (const backend of suspects) {
      backend.alive = true;
      if (!this.#flipped.delete(backend)) this.#flipped.add(backend);
      this.#batch.add(backend);
    }
    this.#options.suspected?.(true, suspects.length);
  }

  /** A check passed: what fails from now on is a backend's own fault, and has to show it anew. */
  #trust(): void {
    if (!this.#suspected) return;
    this.#suspected = false;
    let failing = 0;
    for (const backends of this.#backends.values()) {
      for (const backend of backends.values()) {
        if (backend.local || !backend.alive || backend.failures === 0) continue;
        backend.failures = 0;
        failing++;
        this.#enqueue(backend);
      }
    }
    this.#options.suspected?.(false, failing);
  }

  #flush(): void {
    this.#cancelBatch = null;
    for (const backend of this.#batch) {
      if (backend.alive) continue;
      this.#suspect();
      break;
    }
    const told = [...this.#batch].filter((backend) => !backend.removed);
    const flipped = told.filter((backend) => this.#flipped.has(backend)).map(healthOf);
    this.#batch.clear();
    this.#flipped.clear();
    for (let from = 0; from < told.length; from += MAX_BATCH) {
      const slice = told.slice(from, from + MAX_BATCH);
      const verdicts = slice.map(({ name, address, alive }) => ({ service: name, address, alive }));
      this.#options.changed(verdicts, from === 0 ? flipped : []);
    }
  }

  #pause(backend: Checked): number {
    const { intervalMs, jitter } = backend.service.health;
    const settled = backend.decided && backend.alive && !backend.doubted;
    if (settled && backend.clumped) {
      // All that came with one load were first checked at once.
      backend.clumped = false;
      return Math.max(10, intervalMs * this.#options.random());
    }
    if (!backend.alive && backend.passes > 0) return Math.min(intervalMs, RISING_MS);
    const fast = !settled && backend.failures < FAST_FAILURES;
    const base = fast ? Math.min(intervalMs, FAST_MS) : intervalMs;
    return Math.max(10, base * (1 + jitter * (2 * this.#options.random() - 1)));
  }
}

function healthOf(backend: Checked): BackendHealth {
  const { name, address, alive, problem, checkedAt, passes, failures } = backend;
  return { service: name, address, alive, against: alive ? failures : passes, problem, checkedAt };
}

/** Addresses of enabled keys that may get traffic, and their workers; those in maintenance are left alone. */
function addressesOf(service: CompiledService): Map<string, string | null> {
  const addresses = new Map<string, string | null>();
  if (!service.config.enabled) return addresses;
  for (const key of service.keys.values()) {
    if (!key.enabled) continue;
    for (const { address, state, worker } of key.backends) {
      if (state !== 'maintenance') addresses.set(address, worker ?? addresses.get(address) ?? null);
    }
  }
  return addresses;
}

function isLocal(endpoint: Endpoint): boolean {
  if (endpoint.type === 'unix') return true;
  const { host } = endpoint;
  return host === '::1' || host.startsWith('127.') || host === 'localhost' || host.endsWith('.localhost');
}

function textOf({ host, port }: Extract<Target, { type: 'tcp' }>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Answers that several visitors may get, of all services of a process: dog-pile protection (`coalesce`) and the cache.
 * A request comes here only after it was decided: rules, limits and maintenance are never passed by.
 */
import type { CompiledService } from '../../shared/routing/decision.ts';
import type { AnswersForSeveral, Asker } from '../http1/answer-source.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import type { Environment } from '../serving/environment.ts';
import { Budget } from './budget.ts';
import type { Invalidation } from './invalidations.ts';
import { KeptHead } from './kept-head.ts';
import { planOf, uriOf } from './plan.ts';
import { Reader } from './reader.ts';
import { ServiceAnswers } from './service-answers.ts';
import { type Store, Tally } from './store.ts';

/** Bytes of answers under way that are kept for more than one visitor, per process. */
const MAX_UNDER_WAY = 64 * 1_048_576;
/** Bytes of stored answers of all services, per process; each service has its own, smaller bound. */
const MAX_STORED = 1_024 * 1_048_576;

interface Known {
  readonly answers: ServiceAnswers;
  compiled: CompiledService;
  /** By key: the backends it had when it last had any. */
  readonly backends: Map<number, ReadonlySet<string>>;
}

export class SharedAnswers implements AnswersForSeveral {
  readonly #environment: () => Environment;
  readonly #services = new Map<string, Known>();
  readonly #underWay = new Budget(MAX_UNDER_WAY);
  readonly #stored = new Tally();
  readonly #maxStored: number;
  readonly #onInvalid: (service: string, uri: string) => void;

  /** `environment` is asked for with the first request; `onInvalid` hears what an unsafe request made invalid here. */
  constructor(
    environment: () => Environment,
    onInvalid: (service: string, uri: string) => void = () => {},
    maxStored: number = MAX_STORED,
  ) {
    this.#environment = environment;
    this.#onInvalid = onInvalid;
    this.#maxStored = maxStored;
  }

  /** Bytes of memory that stored answers take. */
  get bytes(): number {
    return this.#stored.bytes;
  }

  /** Bytes of answers under way; for leak tests. */
  get underWay(): number {
    return this.#underWay.taken;
  }

  /** Requests for several that have not ended; for leak tests. */
  get open(): number {
    let sum = 0;
    for (const { answers } of this.#services.values()) sum += answers.open;
    return sum;
  }

  /** The source of the answer to a request of a service that shares; null when a backend is asked for it alone. */
  sourceFor(asker: Asker): Reader | null {
    const { service } = asker.decision;
    const plan = planOf(asker.visitor, asker.view, asker.decision);
    if (plan === null) return null;
    const { answers } = this.#known(service);
    return new Reader(this.#environment(), asker, plan, answers);
  }

  /** A backend answered a request that was not shared: one that changed something makes stored answers invalid. */
  forwarded(asker: Asker, head: ResponseHead): void {
    const { visitor, view, decision } = asker;
    const { method } = visitor.head;
    if (method === 'GET' || method === 'HEAD' || method === 'OPTIONS' || head.status >= 400) return;
    const service = decision.service.name;
    const uri = uriOf(visitor, view);
    this.#invalid(service, uri);
    const answer = KeptHead.of(head, view.now);
    for (const name of ['location', 'content-location']) {
      const other = sameOrigin(answer.field(name), uri);
      if (other !== null && other !== uri) this.#invalid(service, other);
    }
  }

  /** Unsafe requests that went through other processes made these invalid. */
  invalidate(invalid: readonly Invalidation[]): void {
    for (const [service, uri] of invalid) this.#services.get(service)?.answers.invalidate(uri);
  }

  /** The table has this service now, or has it no more. Answers that it would not give any more go. */
  setService(name: string, compiled: CompiledService | null): void {
    const known = this.#services.get(name);
    if (known === undefined) return;
    const { answers } = known;
    const before = known.compiled;
    if (compiled === null || !shares(compiled)) {
      answers.configure({ coalesce: null, cache: null });
      this.#services.delete(name);
      return;
    }
    known.compiled = compiled;
    answers.configure(compiled.config);
    if (leadsElsewhere(before, compiled)) answers.forget(() => true);
    else {
      const gone = [...known.backends.keys()].filter(
        (build) => !isSameBuild(known.backends, compiled, build),
      );
      if (gone.length > 0) answers.forget(({ build }) => gone.includes(build));
    }
    noteBackends(known.backends, compiled);
  }

  /** Removes stored answers; a path that ends with `*` names all that begin with it, null means all. How many went. */
  purge(service: string, path: string | null): number {
    return this.#services.get(service)?.answers.purge(path) ?? 0;
  }

  #invalid(service: string, uri: string): void {
    this.#services.get(service)?.answers.invalidate(uri);
    this.#onInvalid(service, uri);
  }

  #known(compiled: CompiledService): Known {
    let known = this.#services.get(compiled.name);
    if (known === undefined) {
      const make = () => this.#makeRoom();
      const environment = this.#environment();
      const answers = new ServiceAnswers(environment, compiled.config, this.#underWay, this.#stored, make);
      known = { answers, compiled, backends: new Map() };
      noteBackends(known.backends, compiled);
      this.#services.set(compiled.name, known);
    }
    return known;
  }

  /** At the bound of the process the service that keeps most makes room among its own. */
  #makeRoom(): void {
    if (this.#stored.bytes <= this.#maxStored) return;
    let largest: Store | null = null;
    for (const { answers } of this.#services.values()) {
      const { store } = answers;
      if (store !== null && store.bytes > (largest?.bytes ?? 0)) largest = store;
    }
    while (this.#stored.bytes > this.#maxStored && largest?.drop() === true);
  }
}

export function shares({ config }: CompiledService): boolean {
  return config.coalesce !== null || config.cache !== null;
}

/** Whether the same request may now be answered by something else, whatever its key. */
function leadsElsewhere(before: CompiledService, now: CompiledService): boolean {
  return (
    before.config.host !== now.config.host ||
    before.config.protocol !== now.config.protocol ||
    JSON.stringify(before.config.coalesce?.headers) !== JSON.stringify(now.config.coalesce?.headers)
  );
}

/** A key keeps its answers while workers come and go, but not when none of its backends is the same. */
function isSameBuild(before: Known['backends'], now: CompiledService, build: number): boolean {
  const was = before.get(build);
  const is = now.keys.get(build);
  if (is === undefined || !is.enabled) return false;
  if (was === undefined || is.backends.length === 0) return true;
  return is.backends.some(({ address }) => was.has(address));
}

function noteBackends(backends: Known['backends'], { keys }: CompiledService): void {
  for (const build of backends.keys()) if (!keys.has(build)) backends.delete(build);
  for (const [build, { backends: now }] of keys) {
    if (now.length > 0) backends.set(build, new Set(now.map(({ address }) => address)));
  }
}

function sameOrigin(reference: string | undefined, uri: string): string | null {
  if (reference === undefined || !URL.canParse(reference, uri)) return null;
  const url = new URL(reference, uri);
  const own = new URL(uri);
  if (url.origin !== own.origin) return null;
  // With the authority as it stands in the URI, which may hold a default port.
  return uri.slice(0, uri.indexOf('/', 8)) + url.pathname + url.search;
}

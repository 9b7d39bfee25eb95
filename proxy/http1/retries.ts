/**
 * Whether a request may be sent again (engine.md, Life and death): only where that cannot do anything twice, nothing
 * has reached the client, and both the service's limit and its budget allow it.
 */
import type { CompiledService } from '../../shared/routing/decision.ts';
import type { Backend, Upstreams } from '../upstream/contract.ts';
import type { RequestHead } from './request-head.ts';

const NONE: readonly Backend[] = [];

/** One per exchange, used again for each request. */
export class Retries {
  count = 0;
  readonly #upstreams: Upstreams;
  #tried: Backend[] | null = null;
  /** The service whose budget this request holds a place in. */
  #held: CompiledService | null = null;

  constructor(upstreams: Upstreams) {
    this.#upstreams = upstreams;
  }

  /** Backends this request has failed on. */
  get tried(): readonly Backend[] {
    return this.#tried ?? NONE;
  }

  begin(): void {
    this.count = 0;
    this.#tried = null;
  }

  /** Takes one more try after `backend` failed; false when there is none. */
  take(service: CompiledService, head: RequestHead, backend: Backend): boolean {
    const safe = head.method === 'GET' || head.method === 'HEAD' || head.method === 'OPTIONS';
    if (!safe || head.hasBody || head.websocket || this.count >= service.config.retries.max) return false;
    this.giveBack();
    if (!this.#upstreams.takeRetry(service)) return false;
    this.#held = service;
    this.count++;
    this.#tried ??= [];
    this.#tried.push(backend);
    return true;
  }

  /** The retry is over, or the next one begins. Idempotent. */
  giveBack(): void {
    const service = this.#held;
    this.#held = null;
    if (service !== null) this.#upstreams.retryDone(service);
  }
}

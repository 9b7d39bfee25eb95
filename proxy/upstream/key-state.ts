/**
 * The backends of one key of a service: which of them a request may go to now, the policies that choose, and the
 * requests that wait because all of them are at their limit.
 */
import type { BackendSpec, CompiledKey } from '../../shared/routing/decision.ts';
import { candidatesOf, isReady } from '../balance/candidates.ts';
import type { Policy } from '../balance/policy.ts';
import type { Backend, PickRequest } from './contract.ts';
import type { Endpoint } from './endpoint.ts';
import { IntrusiveList, type Linked } from './intrusive-list.ts';
import { KeyedBackend } from './keyed-backend.ts';
import type { Sticky } from './sticky.ts';

/** A request that waits for room. */
export interface Waiter extends Linked<Waiter> {
  /** Whether it would take any backend new requests may go to; if not, those behind it may have more luck. */
  readonly anyBackend: boolean;
  /** Still in the list; false from the moment it proceeds, gives up or is cancelled. */
  readonly queued: boolean;
  /** Takes room if there is some now (or learns that none will come); true when it waits no longer. */
  proceed(): boolean;
  /** There is nothing to wait for any more. */
  abandon(): void;
}

/** Where a request can go: a backend with room; nowhere until there is room; nowhere at all. */
export type Choice = KeyedBackend | 'full' | 'none';

/** While every backend is marked dead one request per this time may try one all the same. */
const TRIAL_INTERVAL_MS = 1_000;
const NO_BACKENDS: readonly Backend[] = [];

export interface Policies {
  readonly request: Policy;
  readonly tunnel: Policy;
}

export class KeyState {
  readonly key: number;
  policies: Policies;
  /** Null unless visitors stay with their backends. */
  sticky: Sticky | null = null;
  /** Grows whenever another backend may be chosen, or one no more, for another reason than room. */
  version = 0;
  readonly waiting = { request: new IntrusiveList<Waiter>(), tunnel: new IntrusiveList<Waiter>() };
  #backends: readonly KeyedBackend[] = [];
  #candidates: readonly KeyedBackend[] | null = null;
  /** Parts of shares have changed since the backends were weighed. */
  #unweighed = false;
  /** Made when it is first asked for. */
  #byAddress: ReadonlyMap<string, KeyedBackend> | null = null;
  #nextTrial = Number.NEGATIVE_INFINITY;
  #trialTurn = 0;

  constructor(key: number, policies: Policies) {
    this.key = key;
    this.policies = policies;
  }

  get backends(): readonly KeyedBackend[] {
    return this.#backends;
  }

  /** Takes over what the key names now; backends whose address stays are the same objects as before. */
  update(key: CompiledKey, endpointOf: (address: string) => Endpoint): void {
    const before = new Map(this.#backends.map((backend) => [backend.address, backend]));
    this.#backends = key.backends.map((spec) => updated(before.get(spec.address), spec, endpointOf));
    this.#byAddress = null;
    this.invalidate();
  }

  /** A backend came to life, died or changed. */
  invalidate(): void {
    this.#candidates = null;
    this.version++;
  }

  /** Backends get other parts of their shares; with the next request, since thousands may come back together. */
  weigh(): void {
    this.#unweighed = true;
    this.invalidate();
  }

  #takingPart(): readonly KeyedBackend[] {
    if (this.#candidates !== null) return this.#candidates;
    if (this.#unweighed) for (const backend of this.#backends) backend.weigh();
    this.#unweighed = false;
    this.#candidates = candidatesOf(this.#backends);
    return this.#candidates;
  }

  /**
   * Chooses for a request: the backend its visitor is pinned to, else by the policy. `failed`: never again for this request. `avoid`: only when nothing else is left.
   */
  choose(
    tunnel: boolean,
    request: PickRequest,
    failed: ReadonlySet<Backend>,
    avoid: readonly Backend[] = NO_BACKENDS,
  ): Choice {
    const pinned = this.pinned(request, failed, avoid);
    if (pinned !== null) return pinned.endpoint.hasRoom(tunnel) ? pinned : 'full';
    const all = this.#takingPart();
    const candidates = failed.size === 0 && avoid.length === 0 ? all : this.#without(failed, avoid);
    const policy = tunnel ? this.policies.tunnel : this.policies.request;
    const picked = policy.pick(candidates, request);
    if (picked === null) return 'none';
    if (picked.endpoint.hasRoom(tunnel)) return picked;
    const withRoom = candidates.filter((backend) => backend.endpoint.hasRoom(tunnel));
    return policy.pick(withRoom, request) ?? 'full';
  }

  /** The backend the visitor was pinned to, as long as it may have it; the same until `version` changes. */
  pinned(request: PickRequest, failed: ReadonlySet<Backend>, avoid: readonly Backend[]): KeyedBackend | null {
    const address = this.sticky === null ? null : this.sticky.addressOf(request);
    if (address === null) return null;
    this.#byAddress ??= new Map(this.#backends.map((candidate) => [candidate.address, candidate]));
    const backend = this.#byAddress.get(address);
    if (backend === undefined || !backend.keepsPinned) return null;
    return failed.has(backend) || avoid.includes(backend) ? null : backend;
  }

  /** What pins the visitor to the backend it was given; null when it is pinned there already, or nobody is. */
  cookieFor(backend: KeyedBackend, request: PickRequest): string | null {
    return this.sticky === null ? null : this.sticky.cookieFor(backend.address, request);
  }

  #without(failed: ReadonlySet<Backend>, avoid: readonly Backend[]): readonly KeyedBackend[] {
    const left = this.#backends.filter((backend) => !failed.has(backend));
    const preferred = candidatesOf(left.filter((backend) => !avoid.includes(backend)));
    return preferred.length > 0 ? preferred : candidatesOf(left);
  }

  /**
   * A backend that is marked dead, for a request that has nowhere else to go; null when none may be tried now. A
   * request that tries one already goes on to the next. It looks on from the last one tried, so that a round of a
   * thousand that all refuse costs no more than a thousand looks.
   */
  trial(tunnel: boolean, failed: ReadonlySet<Backend>, now: number, trying: boolean): KeyedBackend | null {
    if (now < this.#nextTrial && !trying) return null;
    const { length } = this.#backends;
    for (let looks = 0; looks < length; looks++) {
      // In range: the list is not empty.
      const backend = this.#backends[this.#trialTurn++ % length] as KeyedBackend;
      if (!isReady(backend) || backend.alive || failed.has(backend)) continue;
      if (!backend.endpoint.hasRoom(tunnel)) continue;
      this.#nextTrial = now + TRIAL_INTERVAL_MS;
      return backend;
    }
    return null;
  }

  /** Whether any backend takes part in balancing, dead or alive. */
  get anyReady(): boolean {
    return this.#backends.some((backend) => isReady(backend) || backend.state === 'lost');
  }

  /** Whether a new request would find somebody. */
  get anyAlive(): boolean {
    return this.#takingPart().length > 0;
  }

  /** Whether, with one more out, at most this share of the backends would be. */
  canSpareOne(maxShare: number): boolean {
    let ready = 0;
    let out = 1;
    for (const backend of this.#backends) {
      if (!isReady(backend)) continue;
      ready++;
      if (!backend.alive) out++;
    }
    return out <= ready * maxShare;
  }

  /** Lets those that wait proceed, in order of arrival, until there is no more room. */
  serveWaiting(): void {
    const pins = this.sticky !== null;
    serve(this.waiting.request, pins);
    serve(this.waiting.tunnel, pins);
  }

  /** The key is gone: nobody waits for it any more, and requests under way find no other backend in it. */
  close(): void {
    this.#backends = [];
    this.#byAddress = null;
    this.invalidate();
    for (const list of [this.waiting.request, this.waiting.tunnel]) {
      for (let waiter = list.first; waiter !== null; waiter = list.first) waiter.abandon();
    }
  }
}

/** `pins`: behind one who finds no room anywhere may stand one whose own backend, which gets no others, has some. */
function serve(list: IntrusiveList<Waiter>, pins: boolean): void {
  let waiter = list.first;
  let full = false;
  while (waiter !== null) {
    const after: Waiter | null = waiter.linkAfter;
    if (!(full && waiter.anyBackend) && !waiter.proceed() && waiter.anyBackend) {
      if (!pins) return;
      full = true;
    }
    // Whoever got a connection may have cancelled others meanwhile.
    waiter = after === null || after.queued ? after : list.first;
  }
}

function updated(
  known: KeyedBackend | undefined,
  spec: BackendSpec,
  endpointOf: (address: string) => Endpoint,
): KeyedBackend {
  const endpoint = endpointOf(spec.address);
  // A backend of a removed endpoint never comes back: the address may have been gone for a while in between.
  if (known === undefined || known.endpoint !== endpoint) return new KeyedBackend(endpoint, spec);
  known.update(spec);
  return known;
}

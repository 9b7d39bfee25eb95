/**
 * One request on its way to a connection that was not there at once: waiting for room, connecting, going on to the
 * next backend when that fails. Ends with exactly one answer, or with `cancel`.
 */
import type { Log } from '../../shared/log.ts';
import type { ResolvedService } from '../../shared/model/service.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import type { Connection } from './connection.ts';
import type {
  AcquireOptions,
  Acquirer,
  Backend,
  PickRequest,
  Ticket,
  Unavailable,
  UpstreamConnection,
} from './contract.ts';
import { Dial, type DialOutcome } from './dial.ts';
import type { UpstreamContext } from './endpoint.ts';
import type { Choice, KeyState, Waiter } from './key-state.ts';
import type { KeyedBackend } from './keyed-backend.ts';
import { isOwnFailure } from './own-failures.ts';

/** What an acquisition needs of its service. */
export interface AcquisitionOwner {
  readonly config: ResolvedService;
  readonly context: UpstreamContext;
  /** Requests that wait, over all keys; bounded by `queue.size`. */
  waiting: number;
}

/** Connecting, over all backends together, takes at most this long, or one connect time-out where that is longer. */
const CONNECT_BUDGET_MS = 5_000;
const NONE: ReadonlySet<Backend> = new Set();

export class Acquisition implements Ticket, Waiter, DialOutcome, Timed {
  linkBefore: Waiter | null = null;
  linkAfter: Waiter | null = null;
  timerDue = 0;
  timerQueued = false;
  queued = false;
  readonly #owner: AcquisitionOwner;
  readonly #key: KeyState;
  readonly #request: PickRequest;
  readonly #options: AcquireOptions;
  /** Null once it was answered or cancelled. */
  #acquirer: Acquirer | null;
  /** The backend its visitor is pinned to, as of this version of the key; -1: not looked up yet. */
  #pinned: KeyedBackend | null = null;
  #pinnedAt = -1;
  /** Backends that did not accept a connection for this request. */
  #failed: Set<Backend> | null = null;
  #backend: KeyedBackend | null = null;
  #dial: Dial | null = null;
  /** When the present phase (waiting or connecting) began. */
  #since = 0;
  /** It tries backends that are marked dead, since all are. */
  #trying = false;
  /** This machine could not make a connection to one of them: that all are dead is not known. */
  #ownFailure = false;
  #queuedMs = 0;
  #connectMs = 0;

  constructor(
    owner: AcquisitionOwner,
    key: KeyState,
    request: PickRequest,
    options: AcquireOptions,
    acquirer: Acquirer,
  ) {
    this.#owner = owner;
    this.#key = key;
    this.#request = request;
    this.#options = options;
    this.#acquirer = acquirer;
  }

  get anyBackend(): boolean {
    if (this.#failed !== null || this.#options.tried.length > 0) return false;
    return this.#key.sticky === null || this.#pin() === null;
  }

  /** Goes on from a choice: with the next backend, until one connects, there is no room, or none is left. */
  advance(from: Choice): void {
    let choice = from;
    while (this.#acquirer !== null) {
      const backend = choice === 'none' ? this.#trial() : choice;
      if (backend === null) this.#unavailable(this.#nowhereToGo());
      else if (backend === 'full') this.#enqueue();
      else if (!this.#use(backend)) {
        this.#without(backend);
        choice = this.#choose();
        continue;
      }
      return;
    }
  }

  cancel(): void {
    this.#acquirer = null;
    this.#leaveQueue();
    const dial = this.#dial;
    this.#dial = null;
    dial?.abort();
  }

  proceed(): boolean {
    if (!this.queued) return true;
    const pinned = this.#key.sticky === null ? null : this.#pin();
    if (pinned !== null && !pinned.endpoint.hasRoom(this.#options.websocket)) return false;
    const choice = this.#choose();
    if (choice === 'full') return false;
    this.#leaveQueue();
    this.advance(choice);
    return true;
  }

  abandon(): void {
    this.#leaveQueue();
    this.#unavailable('no_backend');
  }

  /** It waited for as long as the service lets it. */
  onTimeout(): void {
    if (!this.queued) return;
    this.#leaveQueue();
    this.#unavailable('queue_timeout');
  }

  onDialed(connection: Connection): void {
    this.#dial = null;
    this.#connectMs += this.#now() - this.#since;
    if (this.#backend !== null) this.#answer(connection, this.#backend);
  }

  onDialFailed(error: Error): void {
    this.#dial = null;
    if (isOwnFailure(error)) this.#ownFailure = true;
    this.#connectMs += this.#now() - this.#since;
    if (this.#backend !== null) this.#without(this.#backend);
    this.advance(this.#choose());
  }

  /** Takes a connection of this backend or begins to make one; false when that cannot even begin. */
  #use(backend: KeyedBackend): boolean {
    const { websocket, fresh } = this.#options;
    const connection = websocket || fresh ? null : backend.endpoint.takeIdle();
    if (connection !== null) {
      this.#answer(connection, backend);
      return true;
    }
    const dial = new Dial(backend.endpoint, websocket ? 'tunnel' : 'request', false);
    this.#backend = backend;
    this.#dial = dial;
    this.#since = this.#now();
    const error = dial.start(this.#budgetMs, this);
    if (error === null) return true;
    this.#dial = null;
    if (isOwnFailure(error)) this.#ownFailure = true;
    return false;
  }

  get #budgetMs(): number {
    return Math.max(CONNECT_BUDGET_MS, this.#owner.config.timeouts.connectMs) - this.#connectMs;
  }

  /** Looked up once, however often a place becomes free for others. */
  #pin(): KeyedBackend | null {
    const { version } = this.#key;
    if (this.#pinnedAt === version) return this.#pinned;
    this.#pinnedAt = version;
    this.#pinned = this.#key.pinned(this.#request, this.#failed ?? NONE, this.#options.tried);
    return this.#pinned;
  }

  #without(backend: Backend): void {
    this.#failed ??= new Set();
    this.#failed.add(backend);
    this.#pinnedAt = -1;
  }

  #choose(): Choice {
    if (this.#budgetMs <= 0) return 'none';
    return this.#key.choose(
      this.#options.websocket,
      this.#request,
      this.#failed ?? NONE,
      this.#options.tried,
    );
  }

  #trial(): KeyedBackend | null {
    if (this.#budgetMs <= 0) return null;
    const backend = this.#key.trial(this.#options.websocket, this.#failed ?? NONE, this.#now(), this.#trying);
    this.#trying = backend !== null;
    return backend;
  }

  #nowhereToGo(): Unavailable['cause'] {
    if (this.#ownFailure) return 'out_of_sockets';
    return this.#key.anyReady || this.#failed !== null ? 'all_dead' : 'no_backend';
  }

  #enqueue(): void {
    const owner = this.#owner;
    const { size, waitMs } = owner.config.queue;
    if (owner.waiting >= size) {
      this.#unavailable('queue_full');
      return;
    }
    owner.waiting++;
    this.queued = true;
    this.#since = this.#now();
    this.#list.addLast(this);
    owner.context.timers.set(this, Math.max(0, waitMs - this.#queuedMs));
  }

  #leaveQueue(): void {
    if (!this.queued) return;
    this.queued = false;
    this.#owner.waiting--;
    this.#list.remove(this);
    this.#owner.context.timers.remove(this);
    this.#queuedMs += this.#now() - this.#since;
  }

  get #list() {
    return this.#options.websocket ? this.#key.waiting.tunnel : this.#key.waiting.request;
  }

  #answer(connection: Connection, backend: KeyedBackend): void {
    const acquirer = this.#acquirer;
    this.#acquirer = null;
    const setCookie = acquirer === null ? null : this.#key.cookieFor(backend, this.#request);
    const lease = connection.lend(backend, this.#queuedMs, this.#connectMs, setCookie);
    if (acquirer === null) lease.discard(false);
    else handOver(lease, acquirer, this.#owner.context.log);
  }

  #unavailable(cause: Unavailable['cause']): void {
    const acquirer = this.#acquirer;
    this.#acquirer = null;
    const { queue, health } = this.#owner.config;
    const busy = cause !== 'all_dead' && cause !== 'no_backend';
    const ms = busy ? queue.waitMs : health.intervalMs;
    if (acquirer === null) return;
    try {
      acquirer.onUnavailable({ cause, retryAfter: Math.max(1, Math.ceil(ms / 1_000)) });
    } catch (error) {
      report(error, this.#owner.context.log);
    }
  }

  #now(): number {
    return this.#owner.context.clock.monotonic();
  }
}

/** Gives a connection to whoever asked; a defect over there must not reach whoever just gave it back, nor leak it. */
export function handOver(lease: UpstreamConnection, acquirer: Acquirer, log: Log): void {
  try {
    acquirer.onConnection(lease);
  } catch (error) {
    report(error, log);
    lease.discard(false);
  }
}

function report(error: unknown, log: Log): void {
  log.error('exchange_failed', 'an exchange failed as it got its connection', {
    error: error instanceof Error ? error.stack : String(error),
  });
}

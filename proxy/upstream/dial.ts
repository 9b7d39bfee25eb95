/**
 * One attempt to connect to a backend: through all addresses its name stands for, each with the connect time-out of
 * the service, all within one budget. Holds the backend's slot from `start` on and frees it unless it succeeds.
 */
import type { ByteStream } from '../stream/byte-stream.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import { Connection } from './connection.ts';
import type { ConnectOutcome, PendingConnect, Target } from './connector.ts';
import type { Endpoint, Use } from './endpoint.ts';
import { isOwnFailure } from './own-failures.ts';
import type { TlsIdentity } from './tls-identity.ts';

/** Time that passes between two readings of the clock is no part of a budget that somebody was refused. */
const SLACK_MS = 100;

/** Exactly one of the two is called, later than `start` returned null, and neither after `abort`. */
export interface DialOutcome {
  onDialed(connection: Connection): void;
  onDialFailed(error: Error): void;
}

export class Dial implements ConnectOutcome, Timed {
  timerDue = 0;
  timerQueued = false;
  readonly endpoint: Endpoint;
  readonly #use: Use;
  readonly #trial: boolean;
  #outcome: DialOutcome | null = null;
  #targets: readonly Target[] = [];
  #identity: TlsIdentity | null = null;
  #next = 0;
  #deadline = 0;
  /** The budget left the first address less than its full time: that none answers proves nothing. Null before it. */
  #cutShort: boolean | null = null;
  #pending: PendingConnect | null = null;

  /** `trial`: the backend is out and this shows whether it comes back. */
  constructor(endpoint: Endpoint, use: Use, trial: boolean) {
    this.endpoint = endpoint;
    this.#use = use;
    this.#trial = trial;
  }

  /** Starts, or says at once why it cannot; `budgetMs` bounds all addresses together. */
  start(budgetMs: number, outcome: DialOutcome): Error | null {
    const { endpoint } = this;
    const { context, name } = endpoint.owner;
    endpoint.reserve(this.#use);
    this.#outcome = outcome;
    this.#deadline = context.clock.monotonic() + budgetMs;
    const identity = endpoint.owner.identityFor(endpoint.name);
    if (identity instanceof Error) {
      return this.#giveUp(new Error(`service ${name} cannot use TLS: ${identity.message}`));
    }
    this.#identity = identity;
    this.#targets = endpoint.targets();
    if (this.#targets.length === 0) return this.#giveUp(new Error('its name has not been resolved yet'));
    return this.#connectNext(new Error('the time for connecting is over'));
  }

  /** The request it was for is gone. */
  abort(): void {
    if (this.#outcome === null) return;
    this.#outcome = null;
    this.#stop();
    this.endpoint.unreserve(this.#use);
  }

  onConnected(stream: ByteStream): void {
    const outcome = this.#outcome;
    const target = this.#targets[this.#next - 1];
    if (outcome === null || target === undefined) {
      stream.reset();
      return;
    }
    this.#outcome = null;
    this.#pending = null;
    this.endpoint.owner.context.timers.remove(this);
    this.endpoint.connected();
    const tunnel = this.#use === 'tunnel';
    outcome.onDialed(new Connection(this.endpoint, stream, target.text, this.#identity?.key ?? '', tunnel));
  }

  onConnectFailed(error: Error): void {
    this.#pending = null;
    const outcome = this.#outcome;
    const final = this.#connectNext(error);
    if (final !== null) outcome?.onDialFailed(final);
  }

  onTimeout(): void {
    this.#pending?.abort();
    this.onConnectFailed(new Error('it did not accept the connection in time'));
  }

  /** Tries the addresses that are left; answers the last error when none is. */
  #connectNext(failure: Error): Error | null {
    const { context, config } = this.endpoint.owner;
    let error = failure;
    while (this.#next < this.#targets.length) {
      const target = this.#targets[this.#next] as Target;
      const leftMs = this.#deadline - context.clock.monotonic();
      if (leftMs <= 0) break;
      this.#next++;
      if (!context.mayConnect(target.text)) {
        error = new Error(`${target.text} is refused by settings.backendAddresses`);
        continue;
      }
      this.#cutShort ??= leftMs < config.timeouts.connectMs - SLACK_MS;
      try {
        this.#pending = context.connector.connect(target, this.#identity, this);
      } catch (thrown) {
        error = thrown instanceof Error ? thrown : new Error(String(thrown));
        continue;
      }
      context.timers.set(this, Math.min(config.timeouts.connectMs, leftMs));
      return null;
    }
    return this.#giveUp(error);
  }

  #giveUp(error: Error): Error {
    this.#outcome = null;
    this.#stop();
    this.endpoint.unreserve(this.#use);
    const timedOut = (error as NodeJS.ErrnoException).code === undefined && this.#cutShort === true;
    if (isOwnFailure(error)) this.endpoint.owner.context.ownFailures.note(error);
    else if (!timedOut) this.endpoint.connectFailed(error, this.#trial);
    return error;
  }

  #stop(): void {
    this.endpoint.owner.context.timers.remove(this);
    this.#pending?.abort();
    this.#pending = null;
  }
}

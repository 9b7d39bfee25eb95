/**
 * Connects that no request waits for: the trial of a backend whose time out is over, and connections towards
 * `pool.min`. No visitor pays for a trial that fails; one that succeeds leaves a warm connection behind.
 */
import type { Connection } from './connection.ts';
import { Dial, type DialOutcome } from './dial.ts';
import type { Endpoint } from './endpoint.ts';

export class SpareConnect implements DialOutcome {
  readonly #endpoint: Endpoint;
  readonly #dial: Dial;
  readonly #done: (made: boolean) => void;

  /** `done` is called when it ended in whatever way, except by `abort`. */
  constructor(endpoint: Endpoint, trial: boolean, done: (made: boolean) => void) {
    this.#endpoint = endpoint;
    this.#dial = new Dial(endpoint, 'spare', trial);
    this.#done = done;
  }

  start(): void {
    this.#endpoint.sparePending = true;
    if (this.#dial.start(this.#endpoint.owner.config.timeouts.connectMs, this) !== null) this.#end(false);
  }

  abort(): void {
    this.#endpoint.sparePending = false;
    this.#dial.abort();
  }

  onDialed(connection: Connection): void {
    this.#endpoint.keepSpare(connection);
    this.#end(true);
  }

  onDialFailed(): void {
    this.#end(false);
  }

  #end(made: boolean): void {
    this.#endpoint.sparePending = false;
    this.#done(made);
  }
}

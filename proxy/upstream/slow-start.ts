/**
 * Slow start of one service (`slowStart`): a backend that is new or came back gets a growing part of its share, in
 * steps, so that it can fill its caches and pools first. One timer for all that are on their way, none otherwise.
 */
import type { Timed } from '../stream/timer-wheel.ts';
import type { Endpoint, UpstreamContext } from './endpoint.ts';

/** Each step is a twentieth of the share; the first is where a backend begins. */
const STEPS = 20;

export class SlowStart implements Timed {
  timerDue = 0;
  timerQueued = false;
  readonly #context: UpstreamContext;
  readonly #changed: () => void;
  #ms = 0;
  /** When each of them began. */
  readonly #began = new Map<Endpoint, number>();

  /** `changed` is called when parts of shares have changed. */
  constructor(context: UpstreamContext, changed: () => void) {
    this.#context = context;
    this.#changed = changed;
  }

  /** Over how long a backend gets to its full share; 0 gives it to all of them now. */
  configure(ms: number): void {
    if (ms === this.#ms) return;
    this.#ms = ms;
    if (this.#began.size === 0) return;
    // It was set for a step of the time before.
    this.#context.timers.remove(this);
    this.onTimeout();
  }

  begin(endpoint: Endpoint): void {
    if (this.#ms === 0) return;
    this.#began.set(endpoint, this.#context.clock.monotonic());
    endpoint.ramp = 1 / STEPS;
    this.#wait();
    this.#changed();
  }

  forget(endpoint: Endpoint): void {
    this.#began.delete(endpoint);
  }

  onTimeout(): void {
    const now = this.#context.clock.monotonic();
    for (const [endpoint, began] of this.#began) {
      const passed = this.#ms === 0 ? 1 : (now - began) / this.#ms;
      endpoint.ramp = Math.min(1, (Math.floor(passed * STEPS) + 1) / STEPS);
      if (endpoint.ramp === 1) this.#began.delete(endpoint);
    }
    this.#wait();
    this.#changed();
  }

  close(): void {
    this.#began.clear();
    this.#context.timers.remove(this);
  }

  #wait(): void {
    if (this.#began.size === 0) this.#context.timers.remove(this);
    else if (this.timerDue === 0) this.#context.timers.set(this, this.#ms / STEPS);
  }
}

/**
 * Brings messages to one receiver after another attempt, with pauses that grow, until it took them or all attempts are
 * used up. What waits is bounded for each receiver: one that is gone for long costs its own messages, neither our
 * memory nor those of the others.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Message } from './message.ts';

/** Pauses before each attempt after the first, in ms. All attempts together stay below what `Board` takes for dead. */
const PAUSES_MS = [2_000, 8_000, 25_000, 60_000];
/** Messages that wait for one receiver. All attempts take less than five minutes, and a group is half a minute. */
const MAX_WAITING = 20;

/** Sends once. */
export type Attempt = (message: Message) => Promise<void>;

export type Delivered = 'delivered' | 'given up' | 'dropped';

export class Deliveries {
  readonly #clock: Clock;
  readonly #onFailure: (channel: string, error: Error, last: boolean) => void;
  readonly #waiting = new Map<string, number>();
  readonly #wakers = new Set<() => void>();
  #closed = false;

  constructor(clock: Clock, onFailure: (channel: string, error: Error, last: boolean) => void) {
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** Never rejects. `channel` names the receiver. */
  async deliver(channel: string, message: Message, attempt: Attempt): Promise<Delivered> {
    const waiting = this.#waiting.get(channel) ?? 0;
    if (waiting >= MAX_WAITING) {
      this.#onFailure(channel, new Error('too many messages wait already'), true);
      return 'dropped';
    }
    this.#waiting.set(channel, waiting + 1);
    try {
      for (let tries = 0; ; tries++) {
        try {
          await attempt(message);
          return 'delivered';
        } catch (error) {
          const pause = PAUSES_MS[tries];
          const last = pause === undefined || this.#closed;
          this.#onFailure(channel, error as Error, last);
          if (last) return 'given up';
          await this.#pause(pause);
          if (this.#closed) return 'given up';
        }
      }
    } finally {
      const left = (this.#waiting.get(channel) ?? 1) - 1;
      if (left > 0) this.#waiting.set(channel, left);
      else this.#waiting.delete(channel);
    }
  }

  /** Ends all pauses; what was not delivered is given up here, and told by another process or after a restart. */
  close(): void {
    this.#closed = true;
    for (const wake of [...this.#wakers]) wake();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.#wakers.delete(wake);
        resolve();
      };
      const cancel = this.#clock.after(ms, wake);
      this.#wakers.add(wake);
    });
  }
}

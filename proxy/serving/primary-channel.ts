/**
 * What a serving process says to its primary, within bounds: one that does not read its channel (stopped, swapped out)
 * must not make us keep messages without end. What can be done without is not said then; the rest is answers to
 * messages of the primary, which sends none while it does not read.
 */
import type { BetweenServing, FromServing, ServingToPrimary } from '../link/messages.ts';

/** Messages that the kernel has not taken, at which the channel counts as stuck. */
export const MAX_OUTSTANDING = 1_000;

export type ToPrimary = FromServing | BetweenServing | ServingToPrimary;

const SPARABLE: ReadonlySet<ToPrimary['type']> = new Set([
  'stats',
  'failures',
  'recovered',
  'rate-ask',
  'invalid',
]);

/** What is used of `process`. */
export interface Channel {
  readonly connected: boolean;
  send?(message: ToPrimary, done: () => void): unknown;
}

export class PrimaryChannel {
  readonly #channel: Channel;
  #outstanding = 0;
  readonly #done = () => {
    this.#outstanding--;
  };

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** The primary does not read. */
  get stuck(): boolean {
    return this.#outstanding >= MAX_OUTSTANDING;
  }

  /** False when nobody hears it. */
  send(message: ToPrimary): boolean {
    if (!this.#channel.connected || (this.stuck && SPARABLE.has(message.type))) return false;
    this.#outstanding++;
    this.#channel.send?.(message, this.#done);
    return true;
  }
}

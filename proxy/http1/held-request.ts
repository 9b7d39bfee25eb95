/**
 * A request that a rate rule holds until its place is known, a few milliseconds at most: the source of its exchange
 * meanwhile. What arrives of its body is kept (no more than was read already), and the rest is held back.
 */
import type { Decision } from '../../shared/routing/decision.ts';
import type { Phase } from '../observe/record.ts';
import type { Held, Ticket } from '../rate/gate.ts';
import type { AnswerSource } from './answer-source.ts';
import { ByteStore } from './byte-store.ts';

/** The exchange whose request is held. */
export interface HeldExchange {
  pauseBody(): void;
  resumeBody(): void;
  /** The request goes on. */
  counted(decision: Decision): void;
  /** Who gets its body; null when it needs none, or is over (and the next one may have begun). */
  sourceOf(decision: Decision): AnswerSource | null;
  onException(error: unknown): void;
}

export class HeldRequest implements AnswerSource, Held {
  readonly notes = null;
  readonly outcome = null;
  readonly cacheStatus = null;
  readonly #exchange: HeldExchange;
  readonly #body = new ByteStore();
  #ticket: Ticket | null = null;
  #ended = false;

  constructor(exchange: HeldExchange) {
    this.#exchange = exchange;
  }

  begin(ticket: Ticket): void {
    this.#ticket = ticket;
    this.#ended = false;
  }

  start(): void {}

  requestBody(buffer: Buffer, start: number, end: number): void {
    this.#body.append(buffer, start, end);
    this.#exchange.pauseBody();
  }

  requestEnd(): void {
    this.#ended = true;
  }

  flush(): void {}

  clientDrained(): void {}

  get phase(): Phase {
    return 'decide';
  }

  abandon(): void {
    this.#ticket?.cancel();
    this.#ticket = null;
    this.#body.clear();
  }

  onCounted(decision: Decision): void {
    if (this.#ticket === null) return;
    this.#ticket = null;
    // The next request may begin inside these calls, and be held here as well.
    const { length, buffer, start, end } = this.#body;
    const ended = this.#ended;
    this.#body.clear();
    const exchange = this.#exchange;
    try {
      exchange.counted(decision);
      if (length > 0 && exchange.sourceOf(decision) !== null) {
        // First, since the source may hold the body back for reasons of its own.
        exchange.resumeBody();
        exchange.sourceOf(decision)?.requestBody(buffer, start, end);
      }
      if (ended) exchange.sourceOf(decision)?.requestEnd();
      exchange.sourceOf(decision)?.flush();
    } catch (error) {
      exchange.onException(error);
    }
  }
}

/** A request that waits until its place under a rate rule is known. */
import type { Decision } from '../../shared/routing/decision.ts';
import type { RateCount } from '../../shared/routing/rate.ts';

/** What a request has passed by; null when it took nothing. */
export type Taken = 'token' | 'credit' | 'alone' | null;

/** Whose request is held. */
export interface Held {
  /** Called once, later, unless the ticket was cancelled: what becomes of the request. */
  onCounted(decision: Decision): void;
}

/** A request that waits. */
export class Ticket {
  cancelled = false;
  /** With the fields of the limits that it has passed. */
  decision: Decision;
  readonly counts: readonly RateCount[];
  /** Canonical text of the client's address, for the log. */
  readonly address: string;
  readonly held: Held;
  /** Which of the counts it waits for. */
  at = 0;
  /** By what it passed the counts before; null while it has passed none. */
  taken: readonly Taken[] | null = null;

  constructor(decision: Decision, counts: readonly RateCount[], address: string, held: Held) {
    this.decision = decision;
    this.counts = counts;
    this.address = address;
    this.held = held;
  }

  /** The client is gone. */
  cancel(): void {
    this.cancelled = true;
  }
}

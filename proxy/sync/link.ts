/**
 * The channel to the primary, as an object, so that tests can script it. Messages leave one at a time, the next
 * after the send callback: a burst (ten thousand objects for each of many processes) never piles up in the channel.
 */
import type { PrimaryToSync, Relayed, StartMessage, SyncToPrimary, ToServing } from '../link/messages.ts';

export type FromPrimary = PrimaryToSync | Relayed | StartMessage;
export type ToPrimary = SyncToPrimary | Relayed | { readonly type: 'pong'; readonly n: number };

export interface Link {
  /** Sends one message; `sent` is called exactly once, also when the channel is closed. Never throws. */
  send(message: ToPrimary, sent: () => void): void;
}

/** More waiting messages than this for one process mean that it is better loaded afresh. */
const MAX_WAITING = 2_000;

/** Makes the messages of a load one by one, when there is room for the next. */
export type MessageSource = Iterator<ToServing>;

interface Lane {
  readonly waiting: (ToServing | MessageSource)[];
}

/**
 * Messages waiting for the primary: one lane per serving process, in order within a lane, in turn between lanes;
 * words to the primary itself go first.
 */
export class Outbox {
  readonly #link: Link;
  readonly #first: ToPrimary[] = [];
  readonly #lanes = new Map<number, Lane>();
  #busy = false;
  #closed = false;

  constructor(link: Link) {
    this.#link = link;
  }

  toPrimary(message: ToPrimary): void {
    this.#first.push(message);
    this.#pump();
  }

  /** False when the lane is full: the process must be loaded afresh (`clear`, then a load). */
  toServing(id: number, message: ToServing | MessageSource): boolean {
    let lane = this.#lanes.get(id);
    if (lane === undefined) {
      lane = { waiting: [] };
      this.#lanes.set(id, lane);
    }
    if (lane.waiting.length >= MAX_WAITING) return false;
    lane.waiting.push(message);
    this.#pump();
    return true;
  }

  /** Forgets what waits for a process. */
  clear(id: number): void {
    this.#lanes.delete(id);
  }

  close(): void {
    this.#closed = true;
    this.#first.length = 0;
    this.#lanes.clear();
  }

  #pump(): void {
    if (this.#busy || this.#closed) return;
    const message = this.#next();
    if (message === undefined) return;
    this.#busy = true;
    this.#link.send(message, () => {
      this.#busy = false;
      this.#pump();
    });
  }

  #next(): ToPrimary | undefined {
    const first = this.#first.shift();
    if (first !== undefined) return first;
    for (const [id, lane] of this.#lanes) {
      const message = takeFrom(lane);
      // To the end of the line, so that a long load of one process does not hold up a change for the others.
      this.#lanes.delete(id);
      if (message === undefined) continue;
      this.#lanes.set(id, lane);
      return { relay: 'to-serving', to: id, message };
    }
    return undefined;
  }
}

function takeFrom(lane: Lane): ToServing | undefined {
  for (;;) {
    const head = lane.waiting[0];
    if (head === undefined) return undefined;
    if (!('next' in head)) {
      lane.waiting.shift();
      return head;
    }
    const step = head.next();
    if (step.done !== true) return step.value;
    lane.waiting.shift();
  }
}

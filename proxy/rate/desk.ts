/**
 * Gives the serving processes of this node the places that rate rules leave, in batches: from the counts that all
 * nodes share while those are to be had, from this node's own otherwise. The own counts go on all the while, so that
 * losing the shared ones neither opens a limit nor closes it.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import type { FromServing, ToServing } from '../link/messages.ts';
import { type Grant, Ledger } from './ledger.ts';
import type { Asked, SharedCounts } from './redis-ledger.ts';

type Ask = Extract<FromServing, { readonly type: 'rate-ask' }>;

/** Keys that a node counts at the same time; some 250 bytes each, and up to 600 of one that is used all the time. */
export const MAX_KEYS = 200_000;
/** Asks of one message that are answered, and returns that are taken; a process sends fewer. */
const MAX_ASKS = 1_000;
/** Of what is left, at most this part is given for requests to come; per serving process. */
const SHARE = 20;
const SWEEP_MS = 1_000;
const SWEPT = 5_000;
/** Of a longer key its digest is kept: what is remembered stays bounded, and no two keys become one. */
const MAX_KEY_LENGTH = 512;

export interface DeskOptions {
  readonly clock: Clock;
  /** Null without Redis. */
  readonly shared: SharedCounts | null;
  /** Serving processes of this node. */
  processes(): number;
  send(process: number, message: ToServing): void;
}

export class RateDesk {
  readonly #options: DeskOptions;
  readonly #ledger = new Ledger(MAX_KEYS);
  #cancel: (() => void) | null = null;
  #closed = false;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** Keys with counts, and whose they are: of all nodes, or of this one alone. */
  get status(): { readonly keys: number; readonly shared: boolean } {
    return { keys: this.#ledger.size, shared: this.#options.shared?.up ?? false };
  }

  receive(process: number, message: Ask): void {
    if (this.#closed) return;
    const { shared } = this.#options;
    const back = message.back.slice(0, MAX_ASKS).filter(([, , , count]) => count > 0);
    for (const [key, slot, , count] of back) this.#ledger.giveBack(bounded(key), slot, count);
    if (shared !== null) {
      const kept = back.filter(([, , slot]) => slot >= 0);
      if (kept.length > 0)
        shared.giveBack(kept.map(([key, , slot, count]) => ({ key: bounded(key), slot, count })));
    }
    if (message.asks.length > 0) void this.#answer(process, message);
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#options.shared?.close();
  }

  async #answer(process: number, { n, asks }: Ask): Promise<void> {
    const { clock, shared, send } = this.#options;
    const now = clock.monotonic();
    const share = SHARE * Math.max(1, this.#options.processes());
    const asked: Asked[] = asks.slice(0, MAX_ASKS).map(([key, limit, periodMs, waiting, extra, debt]) => {
      return { key: bounded(key), limit, periodMs, wish: { waiting, extra, debt }, share };
    });
    const everywhere = shared?.up ? await shared.take(asked) : null;
    if (this.#closed) return;
    const grants = asked.map((one, i) => {
      const other = everywhere?.[i];
      return other === undefined ? this.#takeHere(one, now) : this.#takeBoth(one, other, now);
    });
    send(process, { type: 'rate-grants', n, grants });
    this.#cancel ??= clock.after(SWEEP_MS, () => {
      this.#cancel = null;
      this.#ledger.sweep(clock.monotonic(), SWEPT);
    });
  }

  #takeHere({ key, limit, periodMs, wish, share }: Asked, now: number): Answer {
    return answerOf(this.#ledger.take(key, limit, periodMs, wish, now, share), -1);
  }

  /** What all nodes leave, and no more than this node's own counts do: they know what passed while Redis was away. */
  #takeBoth(asked: Asked, everywhere: Grant, now: number): Answer {
    const { key, limit, periodMs, wish } = asked;
    const here = this.#ledger.take(
      key,
      limit,
      periodMs,
      { waiting: everywhere.granted, extra: 0, debt: wish.debt },
      now,
      1,
    );
    if (here.granted === everywhere.granted) {
      const left = Math.min(here.left, everywhere.left);
      const resetMs = here.left < everywhere.left ? here.resetMs : everywhere.resetMs;
      return answerOf({ granted: here.granted, left, resetMs, slot: here.slot }, everywhere.slot);
    }
    const count = everywhere.granted - here.granted;
    this.#options.shared?.giveBack([{ key, slot: everywhere.slot, count }]);
    return answerOf(here, everywhere.slot);
  }
}

function bounded(key: string): string {
  return key.length <= MAX_KEY_LENGTH ? key : createHash('sha256').update(key).digest('base64url');
}

type Answer = Extract<ToServing, { readonly type: 'rate-grants' }>['grants'][number];

function answerOf({ granted, left, resetMs, slot }: Grant, sharedSlot: number): Answer {
  return [granted, left, Math.ceil(resetMs), slot, sharedSlot];
}

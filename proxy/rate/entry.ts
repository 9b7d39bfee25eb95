/** One key of a rate rule, as one serving process knows it: the places at hand, and what the desk has to be told. */
import type { RateCount } from '../../shared/routing/rate.ts';
import type { FromServing } from '../link/messages.ts';
import type { Taken, Ticket } from './ticket.ts';

type Ask = Extract<FromServing, { readonly type: 'rate-ask' }>;

/** Requests of a new key that need not wait for the desk: this part of the limit, over all that may serve it. */
const CREDIT_PART = 20 * 4;
const MAX_EXTRA = 10_000;

export interface Entry {
  readonly key: string;
  /** Place in the dense list. */
  index: number;
  limit: number;
  periodMs: number;
  /** Places at hand, and until when. */
  tokens: number;
  leaseUntil: number;
  /** When more are asked for, whatever is at hand: so that who is busy never waits at the end of a lease. */
  renewAt: number;
  slot: number;
  sharedSlot: number;
  /** Requests that passed on credit and are not accounted for yet; how many more may. */
  debt: number;
  credit: number;
  /** What the desk said was left, less what passed since. */
  left: number;
  resetAt: number;
  closedUntil: number;
  /** When a closed one is asked for once more: places at hand elsewhere may have come back unused by then. */
  recheckAt: number;
  /** Requests since the last ask. */
  used: number;
  dirty: boolean;
  asked: boolean;
  waiting: Ticket[];
  /** By the last request that was counted. */
  taken: Taken;
  /** The part of the window in which this process counted for itself. */
  aloneSlot: number;
}

/** `index`: its place in the dense list; `processes`: how many serve this node. */
export function entryOf({ rate, key }: RateCount, index: number, processes: number): Entry {
  return {
    key,
    index,
    limit: rate.requests,
    periodMs: rate.periodMs,
    tokens: 0,
    leaseUntil: 0,
    renewAt: 0,
    slot: 0,
    sharedSlot: -1,
    debt: 0,
    credit: Math.floor(rate.requests / (CREDIT_PART * Math.max(1, processes))),
    left: rate.requests,
    resetAt: 0,
    closedUntil: 0,
    recheckAt: Number.POSITIVE_INFINITY,
    used: 0,
    dirty: false,
    asked: false,
    waiting: [],
    taken: null,
    aloneSlot: 0,
  };
}

/** What the desk is asked; it counts as told. */
export function askOf(entry: Entry): Ask['asks'][number] {
  const waiting = entry.waiting.length;
  // Whoever came alone may stay alone: only a second request says that more are to come.
  const extra = Math.min(MAX_EXTRA, Math.max(0, Math.max(entry.used, waiting) - 1) * 2);
  const { key, limit, periodMs, debt } = entry;
  entry.debt = 0;
  entry.used = 0;
  entry.dirty = false;
  entry.asked = true;
  return [key, limit, periodMs, waiting, extra, debt];
}

/**
 * Stands between the decision about a request and what becomes of it: counts what the decision names, lets pass what
 * has a place, and refuses what has none. Places come in advance from the node's desk, so most requests are counted
 * without waiting for anybody; one for which none is at hand is held until the desk has answered, a few milliseconds.
 * No place is used twice, whatever is late or lost; a desk that is silent is done without.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Decision, FieldChanges } from '../../shared/routing/decision.ts';
import type { RateCount } from '../../shared/routing/rate.ts';
import type { FromServing, ToServing } from '../link/messages.ts';
import { askOf, type Entry, entryOf } from './entry.ts';
import { Ledger } from './ledger.ts';
import { limited, withLimitFields } from './limit-fields.ts';
import { type Held, type Taken, Ticket } from './ticket.ts';

export { type Held, Ticket } from './ticket.ts';

type Ask = Extract<FromServing, { readonly type: 'rate-ask' }>;
type Grants = Extract<ToServing, { readonly type: 'rate-grants' }>;

/** Keys remembered in one process; forgetting one only means to ask again. */
const MAX_ENTRIES = 20_000;
/** Requests held at the same time; those beyond are counted here alone. */
const MAX_HELD = 5_000;
/** Asks in one message. */
const MAX_BATCH = 500;
/** How long the desk may take before it counts as silent, and how often a silent one is asked. */
const SILENT_MS = 300;
/** Unused places go back after the 32nd part of their window, within these bounds. */
const SHORTEST_LEASE_MS = 5;
const LONGEST_LEASE_MS = 50;
const LEASE_PART = 32;
const MAX_LATE = 100;
/** Looked at when one has to be forgotten. */
const SAMPLES = 16;

type Verdict = 'pass' | 'limited' | 'hold';

export interface GateOptions {
  readonly clock: Clock;
  /** Serving processes of this node. */
  readonly processes: number;
  /** False when nobody can be asked. */
  send(message: Ask): boolean;
  /** A request was refused, or would have been. */
  onLimited(rule: string, dryRun: boolean, address: string): void;
}

export class RateGate {
  readonly #options: GateOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #list: Entry[] = [];
  readonly #alone = new Ledger(MAX_ENTRIES);
  /** Entries with something to say to the desk. */
  #dirty: Entry[] = [];
  /** Entries with places at hand. */
  readonly #leased = new Set<Entry>();
  #back: [string, number, number, number][] = [];
  /** Asks under way, by number. */
  readonly #asked = new Map<number, { readonly entries: readonly Entry[]; readonly at: number }>();
  /** Asks that were given up, whose answers may still come. */
  readonly #late = new Map<number, readonly Entry[]>();
  #n = 0;
  #heldCount = 0;
  #silent = false;
  #lastAskAt = Number.NEGATIVE_INFINITY;
  #flushing = false;
  #watching = false;
  #closed = false;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /**
   * Counts what the decision names. Answers what becomes of the request (the decision itself, with the fields of its
   * limit, or the refusal), or a ticket when that is not known yet.
   */
  count(decision: Decision, address: string, held: Held): Decision | Ticket {
    const { counts } = decision;
    if (counts === undefined) return decision;
    return this.#countFrom(decision, counts, 0, held, null, address);
  }

  receive(message: Grants): void {
    const asked = this.#asked.get(message.n);
    if (asked === undefined) {
      this.#receiveLate(message);
      return;
    }
    this.#asked.delete(message.n);
    this.#silent = false;
    const now = this.#options.clock.monotonic();
    for (let i = 0; i < asked.entries.length; i++) {
      const entry = asked.entries[i] as Entry;
      entry.asked = false;
      const grant = message.grants[i];
      if (grant !== undefined) this.#granted(entry, grant, now);
    }
  }

  /** There is another desk, which knows nothing of what the last one was asked. */
  newDesk(): void {
    this.#giveUp();
    this.#late.clear();
    this.#silent = false;
  }

  /** Requests that wait are let go as if the desk were silent. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#giveUp();
    this.#leased.clear();
  }

  /** Nobody waits for these places any more. */
  #receiveLate({ n, grants }: Grants): void {
    const entries = this.#late.get(n);
    if (entries === undefined) return;
    this.#late.delete(n);
    this.#silent = false;
    entries.forEach(({ key }, i) => {
      const [granted = 0, , , slot = 0, sharedSlot = -1] = grants[i] ?? [];
      if (granted > 0) this.#back.push([key, slot, sharedSlot, granted]);
    });
    this.#flushSoon();
  }

  // Counting.

  #countFrom(
    decision: Decision,
    counts: readonly RateCount[],
    from: number,
    held: Held,
    ticket: Ticket | null,
    address: string,
  ): Decision | Ticket {
    const now = this.#options.clock.monotonic();
    let { response } = decision;
    for (let at = from; at < counts.length; at++) {
      // Below the length.
      const count = counts[at] as RateCount;
      const entry = this.#entry(count);
      const verdict = this.#place(entry, now);
      if (verdict === 'hold')
        return this.#hold(entry, told(decision, response), counts, at, held, ticket, address);
      const refusal = this.#settle(verdict, entry, count, decision, now, address);
      if (refusal !== null) {
        if (at > 0) this.#giveBackAll(counts, at, ticket?.taken ?? null, now);
        return refusal;
      }
      if (!count.dryRun) response = withLimitFields(response, count, entry.left, entry.resetAt - now);
    }
    return told(decision, response);
  }

  /** Null when the request goes on. */
  #settle(
    verdict: 'pass' | 'limited',
    entry: Entry,
    count: RateCount,
    decision: Decision,
    now: number,
    address: string,
  ): Decision | null {
    if (verdict === 'pass') return null;
    this.#options.onLimited(count.rule, count.dryRun, address);
    return count.dryRun ? null : limited(decision, count, entry.closedUntil - now);
  }

  #place(entry: Entry, now: number): Verdict {
    entry.taken = null;
    if (now < entry.closedUntil) {
      if (now >= entry.recheckAt) {
        entry.recheckAt = Number.POSITIVE_INFINITY;
        this.#say(entry);
      }
      return 'limited';
    }
    entry.used++;
    if (entry.tokens > 0 && now < entry.leaseUntil) {
      entry.tokens--;
      entry.left--;
      if (entry.tokens === 0) this.#leased.delete(entry);
      entry.taken = 'token';
      if (entry.left > 0 && isShort(entry, now)) this.#say(entry);
      return 'pass';
    }
    if (entry.credit > 0 && !this.#silent) {
      entry.credit--;
      entry.left--;
      entry.debt++;
      entry.taken = 'credit';
      this.#say(entry);
      return 'pass';
    }
    if (this.#silent || this.#closed || this.#heldCount >= MAX_HELD) {
      this.#say(entry);
      return this.#placeAlone(entry, now);
    }
    return 'hold';
  }

  /** Nobody answers: this process counts for itself. */
  #placeAlone(entry: Entry, now: number): 'pass' | 'limited' {
    const wish = { waiting: 1, extra: 0, debt: 0 };
    const grant = this.#alone.take(entry.key, entry.limit, entry.periodMs, wish, now, 1);
    entry.left = grant.left;
    entry.resetAt = now + grant.resetMs;
    // The desk is not told later: what passed would count from then on, and close the limit too long.
    if (grant.granted > 0) {
      entry.taken = 'alone';
      entry.aloneSlot = grant.slot;
      return 'pass';
    }
    entry.taken = null;
    entry.closedUntil = now + grant.resetMs;
    return 'limited';
  }

  #hold(
    entry: Entry,
    decision: Decision,
    counts: readonly RateCount[],
    at: number,
    held: Held,
    ticket: Ticket | null,
    address: string,
  ): Ticket {
    const waiting = ticket ?? new Ticket(decision, counts, address, held);
    if (at > 0) waiting.taken = this.#takenBy(counts, at, waiting.taken);
    waiting.at = at;
    waiting.decision = decision;
    entry.waiting.push(waiting);
    this.#heldCount++;
    this.#say(entry);
    return waiting;
  }

  #granted(
    entry: Entry,
    [granted, left, resetMs, slot, sharedSlot]: Grants['grants'][number],
    now: number,
  ): void {
    this.#returnTokens(entry, granted === 0);
    entry.credit = 0;
    entry.tokens = granted;
    entry.left = left + granted;
    entry.slot = slot;
    entry.sharedSlot = sharedSlot;
    entry.resetAt = now + resetMs;
    const lease = Math.max(SHORTEST_LEASE_MS, Math.min(LONGEST_LEASE_MS, entry.periodMs / LEASE_PART));
    entry.leaseUntil = now + lease;
    entry.renewAt = now + lease / 2;
    if (granted > 0) this.#leased.add(entry);
    const { waiting } = entry;
    entry.waiting = [];
    this.#heldCount -= waiting.length;
    for (const ticket of waiting) {
      if (ticket.cancelled) this.#giveBackAll(ticket.counts, ticket.at, ticket.taken, now);
      else if (entry.tokens > 0) this.#takePlace(entry, ticket, now);
      else if (left === 0) {
        this.#close(entry, now, resetMs);
        entry.taken = null;
        this.#resume(ticket, 'limited', entry, now);
      } else {
        // It came after the ask.
        entry.waiting.push(ticket);
        this.#heldCount++;
      }
    }
    if (left > 0 || granted > 0) entry.closedUntil = 0;
    else this.#close(entry, now, resetMs);
    if (entry.waiting.length > 0 || entry.debt > 0) this.#say(entry);
    this.#watch();
  }

  #close(entry: Entry, now: number, resetMs: number): void {
    // Said again by the second look: then there is no third.
    if (now >= entry.closedUntil) entry.recheckAt = now + 2 * LONGEST_LEASE_MS;
    entry.closedUntil = now + resetMs;
  }

  #takePlace(entry: Entry, ticket: Ticket, now: number): void {
    entry.tokens--;
    entry.left--;
    entry.taken = 'token';
    if (entry.tokens === 0) this.#leased.delete(entry);
    this.#resume(ticket, 'pass', entry, now);
  }

  /** A held request goes on with its next count, or is done with them. */
  #resume(ticket: Ticket, verdict: 'pass' | 'limited', entry: Entry, now: number): void {
    const { decision, counts, address, held, at } = ticket;
    const count = counts[at] as RateCount;
    const refusal = this.#settle(verdict, entry, count, decision, now, address);
    if (refusal !== null) {
      this.#giveBackAll(counts, at, ticket.taken, now);
      held.onCounted(refusal);
      return;
    }
    if (at + 1 < counts.length) ticket.taken = this.#takenBy(counts, at + 1, ticket.taken);
    if (!count.dryRun)
      told(decision, withLimitFields(decision.response, count, entry.left, entry.resetAt - now));
    const next = this.#countFrom(decision, counts, at + 1, held, ticket, address);
    if (!(next instanceof Ticket)) held.onCounted(next);
  }

  /** What a request has taken by its counts before `to`; `known`: by the first of them, before it was held. */
  #takenBy(counts: readonly RateCount[], to: number, known: readonly Taken[] | null): readonly Taken[] {
    const all: Taken[] = known === null ? [] : [...known];
    // In range: `to` is at most the length.
    for (let at = all.length; at < to; at++)
      all.push(this.#entries.get((counts[at] as RateCount).key)?.taken ?? null);
    return all;
  }

  /** A later rule refuses the request, or it left there: what it took by those before `to` is for others. */
  #giveBackAll(counts: readonly RateCount[], to: number, known: readonly Taken[] | null, now: number): void {
    for (let at = 0; at < to; at++) {
      const entry = this.#entries.get((counts[at] as RateCount).key);
      if (entry === undefined) continue;
      this.#giveBack(entry, known !== null && at < known.length ? (known[at] as Taken) : entry.taken, now);
    }
  }

  #giveBack(entry: Entry, taken: Taken, now: number): void {
    if (taken === null) return;
    entry.left++;
    if (taken === 'alone') this.#alone.giveBack(entry.key, entry.aloneSlot, 1);
    else if (taken === 'credit' && entry.debt > 0) {
      entry.debt--;
      entry.credit++;
    } else if (now < entry.leaseUntil) {
      entry.tokens++;
      this.#leased.add(entry);
    } else {
      this.#back.push([entry.key, entry.slot, entry.sharedSlot, 1]);
      this.#flushSoon();
    }
  }

  #entry(count: RateCount): Entry {
    const { rate, key } = count;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      if (known.limit !== rate.requests) {
        known.limit = rate.requests;
        // What was closed by another limit may be open by this one.
        known.closedUntil = 0;
      }
      return known;
    }
    if (this.#entries.size >= MAX_ENTRIES) this.#evict();
    const entry = entryOf(count, this.#list.length, this.#options.processes);
    this.#entries.set(key, entry);
    this.#list.push(entry);
    return entry;
  }

  /** Forgets one with which nothing is under way, of a few taken at random; one that is closed only when all are. */
  #evict(): void {
    const now = this.#options.clock.monotonic();
    let chosen: Entry | null = null;
    for (let sample = 0; sample < SAMPLES; sample++) {
      // The list is not empty, and the random number is below 1.
      const entry = this.#list[Math.floor(Math.random() * this.#list.length)] as Entry;
      if (entry.dirty || entry.asked || entry.waiting.length > 0) continue;
      chosen = entry;
      if (now >= entry.closedUntil) break;
    }
    // Those that wait keep what they hold of theirs; the next who comes makes another.
    const forgotten = chosen ?? (this.#list[0] as Entry);
    this.#returnTokens(forgotten);
    this.#entries.delete(forgotten.key);
    const last = this.#list.pop() as Entry;
    if (last === forgotten) return;
    last.index = forgotten.index;
    this.#list[forgotten.index] = last;
  }

  // Talking with the desk.

  #say(entry: Entry): void {
    if (entry.dirty || entry.asked) return;
    entry.dirty = true;
    this.#dirty.push(entry);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing || this.#closed) return;
    this.#flushing = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#closed) return;
    const now = this.#options.clock.monotonic();
    // A silent desk is asked now and then, so that its first word is noticed.
    if (this.#silent && now - this.#lastAskAt < SILENT_MS) {
      this.#forgetTalk();
      return;
    }
    this.#lastAskAt = now;
    while (this.#dirty.length > 0 || this.#back.length > 0) {
      const entries = this.#dirty.splice(0, MAX_BATCH);
      const back = this.#back.splice(0, MAX_BATCH);
      const n = ++this.#n;
      const asks = entries.map(askOf);
      if (entries.length > 0) this.#asked.set(n, { entries, at: now });
      if (this.#options.send({ type: 'rate-ask', n, asks, back })) continue;
      this.#fallSilent();
      return;
    }
    this.#watch();
  }

  /** What nobody hears is not kept; debts are. */
  #forgetTalk(): void {
    for (const entry of this.#dirty) entry.dirty = false;
    this.#dirty = [];
    this.#back = [];
  }

  /** Unused places go back in time, and a silent desk is noticed. */
  #watch(): void {
    if (this.#watching || this.#closed || (this.#leased.size === 0 && this.#asked.size === 0)) return;
    this.#watching = true;
    this.#options.clock.after(LONGEST_LEASE_MS / 2, () => {
      this.#watching = false;
      this.#look();
      this.#watch();
    });
  }

  #look(): void {
    const now = this.#options.clock.monotonic();
    for (const entry of this.#leased) if (now >= entry.leaseUntil) this.#returnTokens(entry);
    if (this.#back.length > 0) this.#flushSoon();
    const oldest = this.#asked.values().next().value;
    if (oldest !== undefined && now - oldest.at >= SILENT_MS) this.#fallSilent();
  }

  /** `now`: in a message of their own if need be; otherwise with the next, which comes within half a lease. */
  #returnTokens(entry: Entry, now = true): void {
    this.#leased.delete(entry);
    if (entry.tokens === 0) return;
    this.#back.push([entry.key, entry.slot, entry.sharedSlot, entry.tokens]);
    entry.tokens = 0;
    if (now) this.#flushSoon();
  }

  #fallSilent(): void {
    this.#silent = true;
    this.#giveUp();
  }

  /** Whoever waits is counted here. */
  #giveUp(): void {
    const now = this.#options.clock.monotonic();
    this.#silent = true;
    const asked = [...this.#asked.values()].flatMap(({ entries }) => entries);
    for (const [n, { entries }] of this.#asked) if (this.#late.size < MAX_LATE) this.#late.set(n, entries);
    this.#asked.clear();
    const dirty = this.#dirty;
    this.#forgetTalk();
    for (const entry of new Set([...asked, ...dirty])) {
      entry.asked = false;
      const { waiting } = entry;
      entry.waiting = [];
      this.#heldCount -= waiting.length;
      for (const ticket of waiting) {
        if (ticket.cancelled) this.#giveBackAll(ticket.counts, ticket.at, ticket.taken, now);
        else this.#resume(ticket, this.#placeAlone(entry, now), entry, now);
      }
    }
  }
}

/** Whether it would soon have no place at hand. */
function isShort(entry: Entry, now: number): boolean {
  return entry.tokens <= entry.used >> 1 || (now >= entry.renewAt && entry.used > 1);
}

/** The decision, which is the request's own, with what its visitor is told of limits. */
function told(decision: Decision, response: FieldChanges | null): Decision {
  (decision as { response: FieldChanges | null }).response = response;
  return decision;
}

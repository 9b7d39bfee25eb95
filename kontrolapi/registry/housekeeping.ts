/**
 * What happens to workers without their doing: leases that ran out make them lost, lost ones are forgotten, records
 * that nobody needs are removed. Any number of kontrolapi processes do this side by side; each step is decided by
 * compare-and-set, so it happens once.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Store } from '../../shared/store/contract.ts';
import { leave, lose } from './edits.ts';
import type { Leases } from './leases.ts';
import type { Membership, ServiceMembers } from './membership.ts';
import type { Command } from './records.ts';
import { HEARTBEAT_MS, LEASE_MS, type Registry } from './registry.ts';

/** A lost worker is forgotten after this time. */
export const FORGET_MS = 3_600_000;
/** How often the records are compared with the members. */
const STRAYS_MS = 30_000;
/** How long an order is told to the other kontrolapi processes. */
const ORDER_MS = 60_000;
/** Workers that die together run out of their leases within the time of one beat: they are told of in one line. */
const GATHER_MS = HEARTBEAT_MS;
/** Services whose members are changed at the same time. */
const AT_ONCE = 20;

export interface HousekeepingOptions {
  readonly store: Store;
  readonly registry: Registry;
  readonly membership: Membership;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Log;
}

export class Housekeeping {
  readonly #options: HousekeepingOptions;
  /** Since when a member is seen as lost here, on the monotonic clock. */
  #lostSince = new Map<string, number>();
  readonly #orders = new Map<string, { readonly command: Command; readonly at: number }>();
  /** Losses that are not told of yet, by service; `since` on the monotonic clock. */
  readonly #losses = new Map<string, { lost: number; among: number; readonly since: number }>();
  #straysAt: number;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#straysAt = options.clock.monotonic();
  }

  /** An order was given here: the worker may beat elsewhere. */
  ordered(id: string, command: Command): void {
    this.#orders.set(id, { command, at: this.#options.clock.monotonic() });
  }

  /** One turn. Rejects like any call of the store; nothing is lost while the store is away. */
  async sweep(): Promise<void> {
    const { registry, membership, leases, clock } = this.#options;
    for (const [id, command] of await leases.exchange(this.#currentOrders())) registry.ordered(id, command);
    await membership.refresh();
    await registry.writeStates();
    await this.#lose();
    this.#tellLosses(clock.monotonic() - GATHER_MS);
    await this.#forget();
    if (clock.monotonic() - this.#straysAt >= STRAYS_MS) {
      await this.#removeStrays();
      this.#straysAt = clock.monotonic();
    }
    this.#release();
  }

  /** Tells what is not told of yet. */
  close(): void {
    this.#tellLosses(Number.POSITIVE_INFINITY);
  }

  #tellLosses(until: number): void {
    for (const [service, { lost, among, since }] of this.#losses) {
      if (since > until) continue;
      this.#losses.delete(service);
      this.#options.log.warn(
        'workers_lost',
        `${lost} of ${among} workers of ${service} are lost: no beat for ${LEASE_MS / 1_000} s`,
        { service, lost },
      );
    }
  }

  #currentOrders(): Map<string, Command> {
    const now = this.#options.clock.monotonic();
    for (const [id, { at }] of this.#orders) if (now - at > ORDER_MS) this.#orders.delete(id);
    return new Map([...this.#orders].map(([id, { command }]) => [id, command]));
  }

  async #lose(): Promise<void> {
    const { membership, leases, clock } = this.#options;
    const expiredOf = ({ backends }: ServiceMembers) =>
      leases.expired(backends.filter(({ state }) => state !== 'lost').map(({ worker }) => worker));
    const services = [...membership.services()].filter(([, members]) => expiredOf(members).length > 0);
    await inTurns(services, async ([service]) => {
      let among = 0;
      const lost = await membership.change(service, (draft) => {
        among = draft.backends.length;
        // Judged again at the moment it is written: a beat may have come meanwhile.
        return lose(draft, new Set(expiredOf({ v: 0, ...draft })));
      });
      if (lost === 0) return;
      const told = this.#losses.get(service);
      if (told === undefined) this.#losses.set(service, { lost, among, since: clock.monotonic() });
      else told.lost += lost;
    });
  }

  async #forget(): Promise<void> {
    const { membership, registry, clock } = this.#options;
    const now = clock.monotonic();
    const lostSince = new Map<string, number>();
    const forgotten = new Map<string, Set<string>>();
    for (const [service, { backends }] of membership.services()) {
      for (const { worker, state } of backends) {
        if (state !== 'lost') continue;
        const since = this.#lostSince.get(worker) ?? now;
        lostSince.set(worker, since);
        if (now - since <= FORGET_MS) continue;
        forgotten.set(service, (forgotten.get(service) ?? new Set()).add(worker));
      }
    }
    this.#lostSince = lostSince;
    await inTurns([...forgotten], async ([service, workers]) => {
      const left = await membership.change(service, (draft) => {
        const lost = draft.backends.filter(({ worker, state }) => state === 'lost' && workers.has(worker));
        const ids = new Set(lost.map(({ worker }) => worker));
        leave(draft, ids);
        return ids;
      });
      for (const id of left) await registry.forget(id);
    });
  }

  /** Records of workers that are no members and do not beat: they waited and are gone, or were replaced. */
  async #removeStrays(): Promise<void> {
    const { store, registry, leases } = this.#options;
    const members = this.#members();
    const records = await store.live.list('workers');
    const strays = records.map(({ _id }) => _id).filter((id) => !members.has(id));
    await inTurns(leases.expired(strays), (id) => registry.forget(id));
    leases.retain(new Set([...members, ...strays]));
  }

  /** Memory for workers that beat elsewhere, or nowhere, is given back. */
  #release(): void {
    const { registry, leases } = this.#options;
    for (const id of [...registry.remembered()]) {
      if ((leases.sinceBeat(id) ?? Number.POSITIVE_INFINITY) > 2 * LEASE_MS) registry.release(id);
    }
  }

  #members(): Set<string> {
    const members = new Set<string>();
    for (const [, { backends }] of this.#options.membership.services()) {
      for (const { worker } of backends) members.add(worker);
    }
    return members;
  }
}

/** Runs `each` for all items, some at the same time; one that fails stops the rest only when all have begun. */
async function inTurns<T>(items: readonly T[], each: (item: T) => Promise<unknown>): Promise<void> {
  const failures: unknown[] = [];
  for (let start = 0; start < items.length; start += AT_ONCE) {
    const ends = await Promise.allSettled(items.slice(start, start + AT_ONCE).map(each));
    for (const end of ends) if (end.status === 'rejected') failures.push(end.reason);
  }
  if (failures.length > 0) throw failures[0];
}

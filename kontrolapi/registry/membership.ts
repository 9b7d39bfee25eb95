/**
 * Writes the members of services: one document each, by compare-and-set, changes of the same service grouped into
 * one write. After each write the counter `membership` moves and a hint names the service.
 */
import { randomUUID } from 'node:crypto';
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { type Member, memberSchema } from '../../shared/model/live.ts';
import type { LiveDocument, Store } from '../../shared/store/contract.ts';
import type { Draft } from './edits.ts';

interface Waiting {
  /** May run several times, on newer documents: it must only depend on the draft, and replace its list. */
  readonly edit: (draft: Draft) => unknown;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

type Result = { readonly value: unknown } | { readonly error: unknown };

export interface ServiceMembers {
  readonly v: number;
  readonly current: number | null;
  readonly backends: readonly Member[];
}

const NONE: ServiceMembers = { v: 0, current: null, backends: [] };
/** Lost races before a change gives up; each loss means that another process has written. */
const MAX_RACES = 100;
/** All documents are read this often even if the counter says that nothing changed: it moves after the document. */
const FULL_READ_MS = 20_000;

export class Membership {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #known = new Map<string, ServiceMembers>();
  readonly #queues = new Map<string, Waiting[]>();
  #counting: Promise<void> | null = null;
  #countAgain: Promise<void> | null = null;
  /** Members were written, but the counter could not be moved. */
  #countOwed = false;
  /** The counter at the last read of all documents. */
  #counter = -1;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(store: Store, bus: Bus, clock: Clock) {
    this.#store = store;
    this.#bus = bus;
    this.#clock = clock;
  }

  /** The members as this process last saw them; at most a few seconds old while the store answers. */
  peek(service: string): ServiceMembers {
    return this.#known.get(service) ?? NONE;
  }

  services(): IterableIterator<[string, ServiceMembers]> {
    return this.#known.entries();
  }

  /** Reads what others have changed. Rejects like any call of the store. */
  async refresh(): Promise<void> {
    if (this.#countOwed) await this.#count();
    const counter = (await this.#store.live.get('counters', 'membership'))?.v ?? 0;
    const now = this.#clock.monotonic();
    if (counter === this.#counter && now - this.#readAt < FULL_READ_MS) return;
    const before = new Map(this.#known);
    const documents = await this.#store.live.list('members');
    const seen = new Set<string>();
    for (const document of documents) {
      const service = document._id;
      seen.add(service);
      const known = this.#known.get(service);
      if (known?.v === document.v) continue;
      // What this process has written since the read began is newer; a smaller number otherwise is another document.
      if (known !== undefined && known.v > document.v && before.get(service) !== known) continue;
      this.#known.set(service, membersOf(document));
    }
    for (const [service, known] of before) {
      if (!seen.has(service) && this.#known.get(service) === known) this.#known.delete(service);
    }
    this.#counter = counter;
    this.#readAt = now;
  }

  /** Applies `edit` to the service's members, durably, and answers what it returned; rejects with what it threw. */
  change<T>(service: string, edit: (draft: Draft) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting: Waiting = { edit, resolve, reject };
      const queue = this.#queues.get(service);
      if (queue !== undefined) {
        queue.push(waiting);
        return;
      }
      this.#queues.set(service, [waiting]);
      void this.#work(service);
    });
  }

  async #work(service: string): Promise<void> {
    for (;;) {
      const batch = this.#queues.get(service)?.splice(0) ?? [];
      if (batch.length === 0) {
        this.#queues.delete(service);
        return;
      }
      try {
        const results = await this.#write(service, batch);
        batch.forEach((waiting, index) => {
          const result = results[index] as Result;
          if ('error' in result) waiting.reject(result.error);
          else waiting.resolve(result.value as never);
        });
      } catch (error) {
        for (const waiting of batch) waiting.reject(error);
      }
    }
  }

  async #write(service: string, batch: readonly Waiting[]): Promise<Result[]> {
    const remembered = this.#known.get(service);
    let before = remembered ?? (await this.#read(service));
    let fresh = remembered === undefined;
    for (let race = 0; race < MAX_RACES; race++) {
      const draft: Draft = { current: before.current, backends: [...before.backends] };
      const results = batch.map((waiting) => attempt(waiting, draft));
      // What is remembered may be old: that nothing is to be done is only believed of what was just read.
      const unchanged = sameMembers(before, draft);
      if (unchanged && fresh) return results;
      if (!unchanged && (await this.#replace(service, before.v, draft))) return results;
      before = await this.#read(service);
      fresh = true;
    }
    throw new KontrolError('conflict', `the members of ${service} change too fast; try again`);
  }

  async #replace(service: string, v: number, { current, backends }: Draft): Promise<boolean> {
    const { live } = this.#store;
    const fields = { current, backends };
    const written =
      v === 0
        ? await live.insert('members', service, fields)
        : await live.replace('members', service, v, fields);
    if (!written) return false;
    this.#known.set(service, { v: v + 1, current, backends });
    // The members stand; a counter that cannot be moved now only makes nodes find them later.
    await this.#count().catch(() => {
      this.#countOwed = true;
    });
    this.#bus.publish('updateProxy', { members: service });
    return true;
  }

  async #read(service: string): Promise<ServiceMembers> {
    const document = await this.#store.live.get('members', service);
    const members = document === null ? NONE : membersOf(document);
    if (document === null) this.#known.delete(service);
    else this.#known.set(service, members);
    return members;
  }

  /** Moves the counter once for all changes that wait for it: one write under way, one more behind it. */
  #count(): Promise<void> {
    if (this.#counting === null) {
      this.#counting = this.#advance().finally(() => {
        this.#counting = null;
      });
      return this.#counting;
    }
    if (this.#countAgain === null) {
      this.#countAgain = this.#counting
        .catch(() => {})
        .then(() => {
          this.#countAgain = null;
          return this.#count();
        });
    }
    return this.#countAgain;
  }

  async #advance(): Promise<void> {
    const { live } = this.#store;
    for (let race = 0; race < MAX_RACES; race++) {
      const counter = await live.get('counters', 'membership');
      const fields = { token: randomUUID() };
      const written =
        counter === null
          ? await live.insert('counters', 'membership', fields)
          : await live.replace('counters', 'membership', counter.v, fields);
      if (!written) continue;
      this.#countOwed = false;
      return;
    }
    throw new KontrolError('conflict', 'the counter of memberships changes too fast');
  }
}

/** One edit of a batch: what it throws is its own failure, and leaves the draft as it was. */
function attempt(waiting: Waiting, draft: Draft): Result {
  const { current, backends } = draft;
  try {
    return { value: waiting.edit(draft) };
  } catch (error) {
    draft.current = current;
    draft.backends = backends;
    return { error };
  }
}

/** The members in a document; what a hand made unreadable is left out, and those workers join with their next beat. */
function membersOf({ v, current, backends }: LiveDocument): ServiceMembers {
  const list = Array.isArray(backends) ? backends : [];
  return {
    v,
    current: Number.isSafeInteger(current) && (current as number) >= 1 ? (current as number) : null,
    backends: list.flatMap((entry) => {
      const parsed = memberSchema.safeParse(entry);
      return parsed.success ? [parsed.data] : [];
    }),
  };
}

function sameMembers(before: ServiceMembers, draft: Draft): boolean {
  if (before.current !== draft.current || before.backends.length !== draft.backends.length) return false;
  return before.backends.every((member, index) => {
    const other = draft.backends[index] as Member;
    return (
      member === other ||
      (Object.keys(member) as (keyof Member)[]).every((field) => member[field] === other[field])
    );
  });
}

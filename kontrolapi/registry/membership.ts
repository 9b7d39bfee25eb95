/**
 * Writes the members of services: one document each, by compare-and-set, changes of the same service grouped into
 * one write. After each write the counter `membership` moves and a hint names the service.
 */
import { randomUUID } from 'node:crypto';
import type { Bus } from '../../shared/bus/contract.ts';
import { KontrolError } from '../../shared/errors.ts';
import { type Member, membersSchema } from '../../shared/model/live.ts';
import type { Store } from '../../shared/store/contract.ts';
import type { Draft } from './edits.ts';

interface Waiting {
  /** May run several times, on newer documents: it must only depend on the draft. */
  readonly edit: (draft: Draft) => unknown;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

export interface ServiceMembers {
  readonly v: number;
  readonly current: number | null;
  readonly backends: readonly Member[];
}

const NONE: ServiceMembers = { v: 0, current: null, backends: [] };
/** Lost races before a change gives up; each loss means that another process has written. */
const MAX_RACES = 100;

export class Membership {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #known = new Map<string, ServiceMembers>();
  readonly #queues = new Map<string, Waiting[]>();
  #counting: Promise<void> | null = null;
  #countAgain: Promise<void> | null = null;

  constructor(store: Store, bus: Bus) {
    this.#store = store;
    this.#bus = bus;
  }

  /** The members as this process last saw them; at most a few seconds old. */
  peek(service: string): ServiceMembers {
    return this.#known.get(service) ?? NONE;
  }

  services(): IterableIterator<[string, ServiceMembers]> {
    return this.#known.entries();
  }

  /** Reads all documents anew. Rejects like any call of the store. */
  async refresh(): Promise<void> {
    const documents = await this.#store.live.list('members');
    const seen = new Set<string>();
    for (const document of documents) {
      const parsed = membersSchema.safeParse(document);
      if (!parsed.success) continue;
      seen.add(document._id);
      const known = this.#known.get(document._id);
      if (known === undefined || known.v < document.v) this.#known.set(document._id, parsed.data);
    }
    for (const service of this.#known.keys()) if (!seen.has(service)) this.#known.delete(service);
  }

  /** Applies `edit` to the service's members, durably, and answers what it returned. */
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
          waiting.resolve(results[index] as never);
        });
      } catch (error) {
        for (const waiting of batch) waiting.reject(error);
      }
    }
  }

  async #write(service: string, batch: readonly Waiting[]): Promise<unknown[]> {
    const { live } = this.#store;
    for (let race = 0; race < MAX_RACES; race++) {
      const before = race === 0 ? this.peek(service) : await this.#read(service);
      const draft: Draft = { current: before.current, backends: [...before.backends] };
      const results = batch.map((waiting) => waiting.edit(draft));
      if (sameMembers(before, draft)) return results;
      const fields = { current: draft.current, backends: draft.backends };
      const written =
        before.v === 0
          ? await live.insert('members', service, fields)
          : await live.replace('members', service, before.v, fields);
      if (written) {
        this.#known.set(service, { v: before.v + 1, current: draft.current, backends: draft.backends });
        await this.#count();
        this.#bus.publish('updateProxy', { members: service });
        return results;
      }
    }
    throw new KontrolError('conflict', `the members of ${service} change too fast; try again`);
  }

  async #read(service: string): Promise<ServiceMembers> {
    const document = await this.#store.live.get('members', service);
    const parsed = membersSchema.safeParse(document);
    const members = document === null ? NONE : parsed.success ? parsed.data : { ...NONE, v: document.v };
    this.#known.set(service, members);
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
      if (written) return;
    }
  }
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

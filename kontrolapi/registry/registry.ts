/**
 * The workers: who is registered and who may run. Permissions and states are members documents (see `edits.ts`);
 * what only people want to know about a worker is in its record. A beat of a member is answered from memory, so that
 * workers live on while the store is away; what it changes is written when the store is back.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Member } from '../../shared/model/live.ts';
import type { Store } from '../../shared/store/contract.ts';
import { within } from '../within.ts';
import { drain, join, leave, type Permission, report } from './edits.ts';
import type { Leases } from './leases.ts';
import type { Membership } from './membership.ts';
import { type Command, fromDocument, toDocument, type WorkerRecord } from './records.ts';

/** A lease: a worker that has not beaten for this long is lost. */
export const LEASE_MS = 15_000;
export const HEARTBEAT_MS = 5_000;

export interface Beat {
  readonly state: 'starting' | 'ready';
  /** Bytes. */
  readonly memory?: number;
  /** Seconds. */
  readonly uptime?: number;
}

export interface RegistryOptions {
  readonly store: Store;
  readonly membership: Membership;
  readonly leases: Leases;
  readonly clock: Clock;
}

export interface BeatAnswer {
  readonly permission: Permission;
  readonly command: Command | null;
}

/** How long a beat waits for the store when it can be answered without it. */
const PATIENCE_MS = 500;

/** A worker that beats here, or has lately. */
interface Known {
  record: WorkerRecord;
  /** What it was told last; null when it has not asked this process yet. */
  permission: Permission | null;
  /** What it reported last. */
  state: Beat['state'];
  vitals: { readonly memory: number | null; readonly uptime: number | null };
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #workers = new Map<string, Known>();
  readonly #reading = new Map<string, Promise<Known | null>>();
  /** Members whose reported state could not be written yet. */
  readonly #unwritten = new Set<string>();

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** Registers a worker; the newest registration of a service and address replaces an older one. */
  async register(
    input: Omit<WorkerRecord, 'id' | 'since' | 'command'>,
    state: Beat['state'],
  ): Promise<{ id: string; permission: Permission }> {
    const { store, leases, clock } = this.#options;
    const record: WorkerRecord = { ...input, id: randomUUID(), since: clock.now(), command: null };
    await store.live.insert('workers', record.id, toDocument(record));
    leases.beat(record.id);
    try {
      const { permission, replaced } = await this.#join(record, state, true);
      this.#workers.set(record.id, { ...unknown(record), permission, state });
      for (const old of replaced) await this.forget(old);
      return { id: record.id, permission };
    } catch (error) {
      await this.forget(record.id);
      throw error;
    }
  }

  /** Takes a beat. Null when the worker is not registered (any more). */
  async beat(id: string, { state, memory, uptime }: Beat): Promise<BeatAnswer | null> {
    const known = await this.#find(id);
    if (known === null) return null;
    this.#options.leases.beat(id);
    known.vitals = { memory: memory ?? null, uptime: uptime ?? null };
    known.state = state;
    if (!isSettled(this.#memberOf(known.record), state)) {
      const permission = await this.#settlePatiently(known);
      if (permission === null) return null;
      known.permission = permission;
    } else {
      known.permission = 'run';
    }
    return { permission: known.permission, command: known.record.command };
  }

  /** False when there is no such worker. */
  async deregister(id: string): Promise<boolean> {
    const known = await this.#find(id);
    if (known === null) return false;
    await this.#options.membership.change(known.record.service, (draft) => leave(draft, new Set([id])));
    await this.forget(id);
    return true;
  }

  /** Marks it drained (no new traffic) or tells it to stop with its next beat. Null when there is no such worker. */
  async command(id: string, command: Command): Promise<WorkerRecord | null> {
    const { store, membership } = this.#options;
    const known = await this.#read(id);
    if (known === null) return null;
    const record = { ...known.record, command };
    await store.live.put('workers', id, toDocument(record));
    known.record = record;
    if (command === 'drain') await membership.change(record.service, (draft) => drain(draft, id));
    return record;
  }

  /** An order that another kontrolapi took for a worker that beats here. */
  ordered(id: string, command: Command): void {
    const known = this.#workers.get(id);
    if (known !== undefined && known.record.command !== command) known.record = { ...known.record, command };
  }

  /** Somebody gave an order to a worker: if it beats here, its record is read, so that the next beat brings it. */
  async lookAgain(id: string): Promise<void> {
    if (this.#workers.has(id)) await this.#read(id).catch(() => {});
  }

  /** Everything that is known of a worker, for people; null when there is none. */
  async show(id: string): Promise<Record<string, unknown> | null> {
    const known = await this.#find(id);
    return known === null ? null : this.#describe(known, this.#memberOf(known.record)?.state);
  }

  /** All workers, in order of their ids. */
  async list(): Promise<Record<string, unknown>[]> {
    const documents = await this.#options.store.live.list('workers');
    const states = new Map<string, Member['state']>();
    for (const [, { backends }] of this.#options.membership.services()) {
      for (const { worker, state } of backends) states.set(worker, state);
    }
    return documents.flatMap((document) => {
      const record = fromDocument(document);
      if (record === null) return [];
      const { vitals } = this.#workers.get(record.id) ?? unknown(record);
      return [this.#describe({ record, vitals }, states.get(record.id))];
    });
  }

  /** Ids of the workers that are remembered here. */
  remembered(): IterableIterator<string> {
    return this.#workers.keys();
  }

  /** Drops what is remembered of a worker that beats here no more; the store still has it. */
  release(id: string): void {
    this.#workers.delete(id);
    this.#unwritten.delete(id);
  }

  /** The worker is registered no longer. A record that cannot be removed now is found and removed later. */
  async forget(id: string): Promise<void> {
    this.release(id);
    this.#options.leases.forget(id);
    await this.#options.store.live.delete('workers', id).catch(() => {});
  }

  /** Writes the states that members reported while the store was away. Rejects while it still is. */
  async writeStates(): Promise<void> {
    for (const id of [...this.#unwritten]) {
      const known = this.#workers.get(id);
      const member = known === undefined ? undefined : this.#memberOf(known.record);
      // Who is no member asks for permission with its next beat.
      if (known !== undefined && member !== undefined && !isSettled(member, known.state)) {
        await this.#settle(known);
      }
      this.#unwritten.delete(id);
    }
  }

  /**
   * Takes the worker among the members if its mode allows; the ids of older registrations of its address. With
   * `newest` it counts as registered after all of them, whatever the clocks of several machines say.
   */
  async #join(
    record: WorkerRecord,
    state: Member['state'],
    newest = false,
  ): Promise<{ permission: Permission; replaced: string[] }> {
    const { id, service, key, address, weight, since, name, mode, version } = record;
    const member: Member = { worker: id, key, address, weight, state, since, name, mode, version };
    return this.#options.membership.change(service, (draft) => {
      const replaced = draft.backends.filter((other) => other.address === address && other.worker !== id);
      const after = newest
        ? draft.backends.reduce((max, other) => Math.max(max, other.since + 1), since)
        : since;
      const permission = join(draft, { ...member, since: after });
      return { permission, replaced: replaced.map(({ worker }) => worker) };
    });
  }

  /**
   * Settles without waiting long: a worker whose permission is known keeps it while the store does not answer.
   * Null when it turns out not to be registered.
   */
  async #settlePatiently(known: Known): Promise<Permission | null> {
    const { clock, store } = this.#options;
    const { id } = known.record;
    if (known.permission !== null && !store.reachable) {
      this.#unwritten.add(id);
      return known.permission;
    }
    const settling = this.#settle(known);
    if (known.permission === null) return settling;
    try {
      return await within(settling, PATIENCE_MS, clock);
    } catch (error) {
      if (isRefusal(error)) throw error;
      this.#unwritten.add(id);
      return known.permission;
    }
  }

  /** Brings the members in line with what a worker reported. Null when it is not registered (any more). */
  async #settle({ record, state }: Known): Promise<Permission | null> {
    const { membership } = this.#options;
    // One that was told to leave gets no traffic when it was lost meanwhile and is back.
    const reported = record.command === null ? state : 'drain';
    if (await membership.change(record.service, (draft) => report(draft, record.id, reported))) return 'run';
    // No member: it waits, was replaced, or its place was lost. The record has the last word.
    const found = await this.#read(record.id);
    if (found === null) return null;
    const { command, mode } = found.record;
    if (command === null) return (await this.#join(found.record, state)).permission;
    // Told to leave: it never gets anybody's place, and keeps running where it needs none.
    if (mode !== 'many') return 'wait';
    return (await this.#join(found.record, 'drain')).permission;
  }

  #memberOf(record: WorkerRecord): Member | undefined {
    const { backends } = this.#options.membership.peek(record.service);
    return backends.find((member) => member.worker === record.id);
  }

  /** From memory, else from the store. */
  async #find(id: string): Promise<Known | null> {
    return this.#workers.get(id) ?? this.#read(id);
  }

  /** From the store, once for all who ask at the same time. */
  #read(id: string): Promise<Known | null> {
    const running = this.#reading.get(id);
    if (running !== undefined) return running;
    const reading = this.#load(id).finally(() => this.#reading.delete(id));
    this.#reading.set(id, reading);
    return reading;
  }

  async #load(id: string): Promise<Known | null> {
    const document = await this.#options.store.live.get('workers', id);
    const record = document === null ? null : fromDocument(document);
    if (record === null) {
      this.release(id);
      return null;
    }
    const known = this.#workers.get(id) ?? unknown(record);
    known.record = record;
    this.#workers.set(id, known);
    return known;
  }

  #describe(
    { record, vitals }: Pick<Known, 'record' | 'vitals'>,
    state: Member['state'] | 'waiting' = 'waiting',
  ): Record<string, unknown> {
    const since = this.#options.leases.sinceBeat(record.id);
    return {
      ...record,
      state,
      lastBeatMs: since === null ? null : Math.round(since),
      ...vitals,
    };
  }
}

function unknown(record: WorkerRecord): Known {
  return { record, permission: null, state: 'starting', vitals: { memory: null, uptime: null } };
}

/** Whether the members say already what a worker reports; a drained one stays drained. */
function isSettled(member: Member | undefined, state: Beat['state']): boolean {
  return member !== undefined && (member.state === state || member.state === 'drain');
}

/** Refusals are answers; anything else means that the store could not be asked. */
function isRefusal(error: unknown): boolean {
  return error instanceof KontrolError && error.status < 500;
}

/** Throws `forbidden` when a worker's token is bound to another service. */
export function requireService(bound: string | null, service: string): void {
  if (bound === null || bound === service) return;
  throw new KontrolError('forbidden', `this token registers workers of ${bound} only, not of ${service}`);
}

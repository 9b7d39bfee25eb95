/**
 * The workers: who is registered, who may run, who is gone. Permissions and states are members documents (see
 * `edits.ts`); what only people want to know about a worker is in its document of the collection `workers`. A beat
 * is answered from memory, so that workers live on while the store is away.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Member, StartMode } from '../../shared/model/live.ts';
import type { Store } from '../../shared/store/contract.ts';
import { drain, join, leave, lose, type Permission, report } from './edits.ts';
import type { Leases } from './leases.ts';
import type { Membership } from './membership.ts';

/** A lease: a worker that has not beaten for this long is lost. */
export const LEASE_MS = 15_000;
export const HEARTBEAT_MS = 5_000;
/** A lost worker is forgotten after this time. */
export const FORGET_MS = 3_600_000;

export interface WorkerRecord {
  readonly id: string;
  readonly service: string;
  readonly key: number;
  readonly address: string;
  readonly name: string;
  readonly pid: number | null;
  readonly version: string;
  readonly mode: StartMode;
  readonly weight: number;
  readonly meta: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** What an operator asked of it; delivered with its next beat. */
  readonly command: 'drain' | 'stop' | null;
}

export interface Beat {
  readonly state: 'starting' | 'ready';
  readonly memory?: number;
  readonly uptime?: number;
}

export interface RegistryOptions {
  readonly store: Store;
  readonly membership: Membership;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Log;
}

export interface BeatAnswer {
  readonly permission: Permission;
  readonly command: 'drain' | 'stop' | null;
}

/** How long a record from the store is believed before a command of another kontrolapi is looked for, in ms. */
const RECORD_AGE_MS = HEARTBEAT_MS;

interface Known {
  record: WorkerRecord;
  readAt: number;
  vitals: { memory: number | null; uptime: number | null };
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #workers = new Map<string, Known>();
  /** Since when a member is seen as lost here, on the monotonic clock. */
  readonly #lostSince = new Map<string, number>();

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** Registers a worker; the newest registration of a service and address replaces an older one. */
  async register(
    input: Omit<WorkerRecord, 'id' | 'since' | 'command'>,
    state: 'starting' | 'ready',
  ): Promise<{ id: string; permission: Permission }> {
    const { store, leases, clock } = this.#options;
    const record: WorkerRecord = { ...input, id: randomUUID(), since: clock.now(), command: null };
    await store.live.insert('workers', record.id, toDocument(record));
    this.#workers.set(record.id, {
      record,
      readAt: clock.monotonic(),
      vitals: { memory: null, uptime: null },
    });
    leases.beat(record.id);
    const { permission, replaced } = await this.#join(record, state);
    for (const old of replaced) await this.#drop(old);
    return { id: record.id, permission };
  }

  /** Takes a beat. Null when the worker is not registered (any more). */
  async beat(id: string, beat: Beat): Promise<BeatAnswer | null> {
    const known = await this.#find(id);
    if (known === null) return null;
    this.#options.leases.beat(id);
    this.#lostSince.delete(id);
    known.vitals = { memory: beat.memory ?? null, uptime: beat.uptime ?? null };
    const { record } = known;
    const member = this.#memberOf(record);
    const settled = member !== undefined && (member.state === beat.state || member.state === 'drain');
    const permission = settled ? 'run' : await this.#settle(record, beat.state);
    return { permission, command: record.command };
  }

  async deregister(id: string): Promise<boolean> {
    const known = await this.#find(id);
    if (known === null) return false;
    await this.#options.membership.change(known.record.service, (draft) => leave(draft, new Set([id])));
    await this.#drop(id);
    return true;
  }

  /** Marks it drained (no new traffic) or tells it to stop with its next beat. Null when there is no such worker. */
  async command(id: string, command: 'drain' | 'stop'): Promise<WorkerRecord | null> {
    const known = await this.#find(id);
    if (known === null) return null;
    const record = { ...known.record, command };
    await this.#options.store.live.put('workers', id, toDocument(record));
    known.record = record;
    if (command === 'drain')
      await this.#options.membership.change(record.service, (draft) => drain(draft, id));
    return record;
  }

  /** Everything that is known of a worker, for people; null when there is none. */
  async show(id: string): Promise<Record<string, unknown> | null> {
    const known = await this.#find(id);
    return known === null ? null : this.#describe(known);
  }

  async list(): Promise<Record<string, unknown>[]> {
    const documents = await this.#options.store.live.list('workers');
    return documents.flatMap((document) => {
      const record = fromDocument(document);
      if (record === null) return [];
      return [
        this.#describe(
          this.#workers.get(record.id) ?? { record, readAt: 0, vitals: { memory: null, uptime: null } },
        ),
      ];
    });
  }

  /**
   * One turn of the housekeeping: exchanges beats, marks those lost whose lease ran out, forgets the long lost.
   * Rejects like any call of the store; nothing is lost while the store is away.
   */
  async sweep(): Promise<void> {
    const { membership, leases, log, clock } = this.#options;
    await leases.exchange();
    await membership.refresh();
    const now = clock.monotonic();
    for (const [service, { backends }] of [...membership.services()]) {
      const expired = new Set(
        leases.expired(backends.filter((member) => member.state !== 'lost').map((member) => member.worker)),
      );
      if (expired.size > 0) {
        const lost = await membership.change(service, (draft) => lose(draft, expired));
        if (lost > 0)
          log.warn(
            'workers_lost',
            `${lost} of ${backends.length} workers of ${service} are lost: no beat for ${LEASE_MS / 1_000} s`,
            { service, lost },
          );
      }
      await this.#forgetLost(service, backends, now);
    }
    await this.#forgetWaiting();
  }

  async #forgetLost(service: string, backends: readonly Member[], now: number): Promise<void> {
    const forgotten = new Set<string>();
    for (const { worker, state } of backends) {
      if (state !== 'lost') continue;
      const since = this.#lostSince.get(worker) ?? now;
      this.#lostSince.set(worker, since);
      if (now - since > FORGET_MS) forgotten.add(worker);
    }
    if (forgotten.size === 0) return;
    await this.#options.membership.change(service, (draft) => leave(draft, forgotten));
    for (const id of forgotten) await this.#drop(id);
  }

  /** Workers that wait for permission are no members: theirs is only a record, dropped when it stops beating. */
  async #forgetWaiting(): Promise<void> {
    const waiting = [...this.#workers.values()].filter(({ record }) => this.#memberOf(record) === undefined);
    for (const id of this.#options.leases.expired(waiting.map(({ record }) => record.id)))
      await this.#drop(id);
  }

  /** Takes the worker among the members if its mode allows; the ids of older registrations of its address. */
  async #join(
    record: WorkerRecord,
    state: 'starting' | 'ready',
  ): Promise<{ permission: Permission; replaced: string[] }> {
    const member: Member = {
      worker: record.id,
      key: record.key,
      address: record.address,
      weight: record.weight,
      state,
      since: record.since,
      name: record.name,
      mode: record.mode,
      version: record.version,
    };
    return this.#options.membership.change(record.service, (draft) => {
      const replaced = draft.backends.filter(
        (other) => other.address === member.address && other.worker !== member.worker,
      );
      const permission = join(draft, member);
      return { permission, replaced: permission === 'run' ? replaced.map((other) => other.worker) : [] };
    });
  }

  async #settle(record: WorkerRecord, state: 'starting' | 'ready'): Promise<Permission> {
    const reported = await this.#options.membership.change(record.service, (draft) =>
      report(draft, record.id, state),
    );
    return reported ? 'run' : (await this.#join(record, state)).permission;
  }

  #memberOf(record: WorkerRecord): Member | undefined {
    return this.#options.membership
      .peek(record.service)
      .backends.find((member) => member.worker === record.id);
  }

  /** From memory; from the store when it is not there or a command of another kontrolapi may have come. */
  async #find(id: string): Promise<Known | null> {
    const { store, clock } = this.#options;
    const known = this.#workers.get(id);
    if (known !== undefined && clock.monotonic() - known.readAt < RECORD_AGE_MS) return known;
    let document: Awaited<ReturnType<typeof store.live.get>>;
    try {
      document = await store.live.get('workers', id);
    } catch (error) {
      if (known !== undefined) return known;
      throw error;
    }
    const record = document === null ? null : fromDocument(document);
    if (record === null) {
      this.#workers.delete(id);
      return null;
    }
    const found: Known = {
      record,
      readAt: clock.monotonic(),
      vitals: known?.vitals ?? { memory: null, uptime: null },
    };
    this.#workers.set(id, found);
    return found;
  }

  async #drop(id: string): Promise<void> {
    this.#workers.delete(id);
    this.#lostSince.delete(id);
    this.#options.leases.forget(id);
    await this.#options.store.live.delete('workers', id);
  }

  #describe({ record, vitals }: Known): Record<string, unknown> {
    const since = this.#options.leases.sinceBeat(record.id);
    return {
      ...record,
      state: this.#memberOf(record)?.state ?? 'waiting',
      lastBeatMs: since === null ? null : Math.round(since),
      ...vitals,
    };
  }
}

function toDocument({ id: _id, ...fields }: WorkerRecord): Record<string, unknown> {
  return fields;
}

/** A record as it was written; null for a document that is none (edited by hand). */
function fromDocument(document: Readonly<Record<string, unknown>>): WorkerRecord | null {
  const { _id, v: _v, ...fields } = document;
  const record = { id: _id, ...fields } as unknown as WorkerRecord;
  if (
    typeof record.service !== 'string' ||
    typeof record.address !== 'string' ||
    !Number.isSafeInteger(record.key)
  )
    return null;
  return record;
}

/** Throws `forbidden` when a worker's token is bound to another service. */
export function requireService(bound: string | null, service: string): void {
  if (bound === null || bound === service) return;
  throw new KontrolError('forbidden', `this token registers workers of ${bound} only, not of ${service}`);
}

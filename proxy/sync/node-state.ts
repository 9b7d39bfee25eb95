/** The facts of this node in one place: for its record in the store, the internal port, and the alarms in the log. */
import type { Applied as Acknowledgement, Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EmptinessGuard } from '../../shared/emptiness-guard.ts';
import type { Log } from '../../shared/log.ts';
import type { NodeRecord, Quarantined, ServiceTrouble } from '../../shared/model/live.ts';
import type { PrimaryToSync } from '../link/messages.ts';
import type { Applied, Distributor } from './distribute.ts';
import type { Guard } from './guard.ts';
import type { Intake } from './intake.ts';
import type { ListenerStates } from './listeners.ts';
import type { Objects } from './objects.ts';
import type { Found, Replica } from './replica.ts';

/** Quarantined objects, drift and held deletions that a record names at most. */
const MAX_NAMED = 1_000;

/** Quarantined objects that an acknowledgement names itself: a message has room for them. */
const MAX_SAID = 50;

type Processes = Extract<PrimaryToSync, { type: 'processes' }>['processes'];

export interface NodeParts {
  readonly node: string;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly distributor: Distributor;
  readonly guard: Guard;
  readonly emptiness: EmptinessGuard;
  readonly objects: Objects;
  readonly listeners: ListenerStates;
  readonly intake: Intake;
  /** Null until they are open. */
  replica(): Replica | null;
  bus(): Bus | null;
  /** Whether the last-known-good copy cannot be written. */
  copyFailing(): boolean;
  trouble(): ServiceTrouble;
  /** Until when the default certificate is valid; null without one. */
  certificateValidTo(): number | null;
  /** What is quarantined changed. */
  quarantined(list: readonly Quarantined[]): void;
  /** Something that the record says changed. */
  changed(): void;
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly why: readonly string[];
}

export class NodeState {
  readonly #parts: NodeParts;
  processes: Processes = [];
  /** How far the end of this node is, as the primary says; null while it goes on. */
  leaving: 'stopping' | 'stopped' | null = null;
  /** What each sequence number on its way stands for. */
  readonly #sent = new Map<number, { readonly hash: string; readonly at: number | null }>();
  #seq = 0;
  #hash = '';
  #lagMs = 0;
  #quarantinedText = '[]';
  #held = 0;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  get seq(): number {
    return this.#seq;
  }

  get lagMs(): number {
    return this.#lagMs;
  }

  /** The last-known-good copy is in force. */
  resume(seq: number, hash: string): void {
    this.#seq = seq;
    this.#hash = hash;
  }

  /** A look found `found`, which is on its way to the processes now. */
  found({ seq, hash, at }: Found): void {
    this.#sent.set(seq, { hash, at: at ?? this.#sent.get(seq)?.at ?? null });
  }

  /** Every process acknowledged. Returns what to tell the others. */
  applied({ seq, ms }: Applied): Acknowledgement {
    const sent = this.#sent.get(seq);
    if (sent !== undefined) this.#hash = sent.hash;
    if (seq !== this.#seq && sent?.at != null) this.#lagMs = Math.max(0, this.#parts.clock.now() - sent.at);
    this.#seq = seq;
    for (const known of this.#sent.keys()) if (known < seq) this.#sent.delete(known);
    const quarantined = this.quarantined();
    return {
      node: this.#parts.node,
      seq,
      hash: this.#hash,
      ms: Math.round(ms),
      quarantined: quarantined.length > MAX_SAID ? null : quarantined,
    };
  }

  /** Quarantine or alarms may have changed: whoever shows them is told. */
  review(): void {
    const { log, emptiness } = this.#parts;
    const quarantined = this.quarantined();
    const text = JSON.stringify(quarantined);
    if (text !== this.#quarantinedText) {
      this.#quarantinedText = text;
      this.#parts.quarantined(quarantined);
      this.#parts.changed();
    }
    const { held } = emptiness;
    if (held.length > this.#held) {
      log.error(
        'deletions_held',
        'the store suddenly lacks many objects; they stay in force until POST /v1/nodes/confirm says that this is meant',
        { count: held.length, held: held.slice(0, 20) },
      );
    }
    if (held.length !== this.#held) this.#parts.changed();
    this.#held = held.length;
  }

  quarantined(): Quarantined[] {
    return [...this.#parts.guard.quarantined(), ...this.#parts.listeners.quarantined()].slice(0, MAX_NAMED);
  }

  get held(): readonly string[] {
    return this.#parts.emptiness.held.slice(0, MAX_NAMED);
  }

  /** Objects edited by hand; those held back from deletion are told apart. */
  drift(): string[] {
    const held = new Set(this.#parts.emptiness.held);
    return this.#parts.objects
      .drift()
      .filter((name) => !held.has(name))
      .slice(0, MAX_NAMED);
  }

  get storeUp(): boolean {
    return this.#parts.replica()?.up ?? false;
  }

  get busUp(): boolean {
    return this.#parts.bus()?.connected ?? false;
  }

  get copyFailing(): boolean {
    return this.#parts.copyFailing();
  }

  /** Ready: visitors are served by a table, and are not about to be sent away. Nothing else counts. */
  readiness(): Readiness {
    const { distributor } = this.#parts;
    const why: string[] = [];
    if (this.leaving !== null) why.push('the node is stopping');
    if (!distributor.hasTable && !distributor.pending) {
      const store = this.storeUp ? 'the store is being read' : 'the store does not answer';
      why.push(`there is no table: no last-known-good copy, and ${store}`);
    } else if (!distributor.processes().some(({ loaded, state }) => loaded && state === 'ready')) {
      why.push('no serving process holds the table yet');
    }
    return { ready: why.length === 0, why };
  }

  record(): Omit<NodeRecord, 'beat'> {
    const { node, version, distributor, intake } = this.#parts;
    const seqs = new Map(distributor.processes().map(({ id, seq }) => [id, seq]));
    return {
      _id: node,
      version,
      seq: this.#seq,
      hash: this.#hash,
      lagMs: this.#lagMs,
      processes: this.processes.map(({ role, id, pid }) => ({
        role,
        id,
        pid,
        seq: role === 'serving' ? (seqs.get(id) ?? 0) : intake.seq,
      })),
      quarantined: this.quarantined(),
      drift: this.drift(),
      store: this.storeUp ? 'up' : 'down',
      bus: this.busUp ? 'up' : 'down',
      ready: this.readiness().ready,
      state: this.leaving ?? 'running',
      held: this.held,
      trouble: this.#parts.trouble(),
      certificateValidTo: this.#parts.certificateValidTo(),
    };
  }
}

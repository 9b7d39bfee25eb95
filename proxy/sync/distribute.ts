/**
 * Brings every serving process to the table. A change goes to one process first; only what that one acknowledged
 * goes to all, so a change that kills (twice) costs one process and is given back to be quarantined. Processes that
 * are new, or whose table is not known here, get a load; each keeps receiving in order, at its own pace.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { RejectedEntry, TableEntry } from '../../shared/routing/entry.ts';
import type { FromServing, PrimaryToSync, ToServing } from '../link/messages.ts';
import { type Change, ChangeQueue } from './change-queue.ts';
import { entryJson, slices } from './entry-json.ts';
import type { Outbox } from './link.ts';

/** Objects and characters of JSON per message of a load: a receiver stands still for some 2 ms each. */
const LOAD_BATCH = 100;
const LOAD_BATCH_BYTES = 262_144;
/** A greater change goes out as a load, which a process builds aside and swaps at once. */
const MAX_CHANGE_ENTRIES = 1_000;
const MAX_CHANGE_BYTES = 1_048_576;
/** How long a suspected change waits for a process without visitors before it takes one that has them. */
const FRESH_WAIT_MS = 3_000;
/** Quarantining stops after this many objects if no process ever took anything: it is not the objects' fault then. */
const MAX_BLAME_WITHOUT_ACK = 3;
const MAX_UNREPORTED = 256;
const NONE: ReadonlySet<string> = new Set();

export type ProcessState = 'starting' | 'ready' | 'draining';

export interface ServingView {
  readonly id: number;
  readonly pid: number;
  readonly state: ProcessState;
  readonly loaded: boolean;
  /** Sequence number of the last change or load it acknowledged; 0 before. */
  readonly seq: number;
}

interface Serving {
  readonly id: number;
  pid: number;
  state: ProcessState;
  /** It asked for a table (or was found without this sync having started it). */
  asked: boolean;
  /** Last load begun; 0 for none. */
  generation: number;
  /** Number of the last change that the load under way contains. */
  loading: number | null;
  loaded: boolean;
  /** Last change sent and last acknowledged. */
  sent: number;
  acked: number;
  seq: number;
}

export interface Applied {
  readonly seq: number;
  /** Milliseconds from the hint (or tick) to the last acknowledgement. */
  readonly ms: number;
}

export interface DistributeHooks {
  /** Entries are in force in at least one process and will be in all. */
  confirmed(entries: readonly TableEntry[]): void;
  /** Every live process has acknowledged this sequence number. */
  applied(applied: Applied): void;
  /**
   * A process reports these as not (wholly) loaded. Returns the keys (`kind/name`) of those that are news and must
   * not enter the table; what was known before they were sent is no news.
   */
  rejected(rejected: readonly RejectedEntry[]): ReadonlySet<string>;
  /** Processes died of these entries; they are not in the table. */
  deadly(entries: readonly TableEntry[], reason: string): void;
  /**
   * What a loaded process has to know besides the table: health and resolved names. `again`: it had a table before,
   * and does not forget with it what it was told of health; what waited to be told was dropped for the load.
   */
  afterLoad(again: boolean): Iterator<ToServing>;
}

export function entryKey(entry: { readonly kind: string; readonly name: string }): string {
  return `${entry.kind}/${entry.name}`;
}

export class Distributor {
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #hooks: DistributeHooks;
  readonly #processes = new Map<number, Serving>();
  readonly #table = new Map<string, TableEntry>();
  readonly #queue: ChangeQueue;
  /** Confirmed changes that not every process has acknowledged. */
  #unreported: { readonly number: number; readonly seq: number; readonly since: number }[] = [];
  #seq = 0;
  #hasTable = false;
  /** Whether the store was read, or given up on for now: from then on every process gets what there is. */
  #settled = false;
  /** Processes that asked before the primary named them. */
  readonly #early = new Map<number, number>();
  #saidNoTable = false;
  #generation: number;
  #first: { readonly change: Change; readonly process: number } | null = null;
  #cancelWait: (() => void) | null = null;
  #mayUseAny = false;
  /** Number of the last confirmed change. */
  #number: number;
  #everAcked = false;
  #blamed = 0;

  constructor(outbox: Outbox, clock: Clock, log: Log, hooks: DistributeHooks) {
    this.#outbox = outbox;
    this.#clock = clock;
    this.#log = log;
    this.#hooks = hooks;
    // Numbers go on growing when a new sync takes over from one that died.
    this.#generation = clock.now();
    this.#number = clock.now();
    this.#queue = new ChangeQueue(this.#number);
  }

  /** The confirmed table by `kind/name`. */
  get table(): ReadonlyMap<string, TableEntry> {
    return this.#table;
  }

  get seq(): number {
    return this.#seq;
  }

  get hasTable(): boolean {
    return this.#hasTable;
  }

  /** Whether changes wait for a process to take them first. */
  get pending(): boolean {
    return this.#first !== null || this.#queue.size > 0;
  }

  /** Whether every live process has acknowledged everything that was submitted. */
  get converged(): boolean {
    return !this.pending && this.#unreported.length === 0;
  }

  processes(): readonly ServingView[] {
    return [...this.#processes.values()].map(({ id, pid, state, loaded, seq }) => ({
      id,
      pid,
      state,
      loaded,
      seq,
    }));
  }

  /** A table that serving processes are known to survive (the last-known-good copy): to all who wait, at once. */
  install(entries: readonly TableEntry[], seq: number): void {
    for (const entry of entries) this.#put(entry);
    this.#seq = seq;
    this.#hasTable = true;
    this.#hooks.confirmed(entries);
    for (const process of this.#processes.values()) this.#serve(process);
  }

  /** Queues a change: entries to be applied together, which bring the table to `seq`. `since` is monotonic time. */
  submit(parts: readonly (readonly TableEntry[])[], seq: number, since: number): void {
    this.#queue.add(parts, seq, since);
    this.#pump();
  }

  /** There is no table to be had for now: processes without one listen and answer 503. */
  noTable(): void {
    if (this.#hasTable) return;
    this.#saidNoTable = true;
    for (const process of this.#processes.values()) this.#serve(process);
  }

  /** Nothing is to be expected of the store soon: processes an earlier sync left behind get what there is. */
  settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    for (const process of this.#processes.values()) this.#serve(process);
  }

  /** The primary's list: processes that are not in it are gone. */
  announce(list: Extract<PrimaryToSync, { type: 'processes' }>['processes']): void {
    const present = new Set<number>();
    for (const { role, id, pid, state } of list) {
      if (role !== 'serving') continue;
      present.add(id);
      const known = this.#processes.get(id);
      if (known !== undefined && known.pid === pid) known.state = state;
      else {
        if (known !== undefined) this.gone(id);
        const process = fresh(id, pid, state);
        this.#processes.set(id, process);
        process.asked = this.#early.get(id) === pid;
        if (process.asked) this.#serve(process);
      }
    }
    this.#early.clear();
    for (const id of [...this.#processes.keys()]) if (!present.has(id)) this.gone(id);
    this.#pump();
    this.#report();
  }

  gone(id: number): void {
    const process = this.#processes.get(id);
    if (process === undefined) return;
    this.#processes.delete(id);
    this.#outbox.clear(id);
    if (this.#first?.process === id) this.#diedOf(this.#first.change, process);
    else if (process.loading !== null && process.state !== 'draining') {
      this.#log.error('serving_died_loading', 'a serving process died while it took the table; see its log', {
        process: id,
        objects: this.#table.size,
      });
    }
    this.#report();
    this.#pump();
  }

  receive(from: number, message: FromServing): void {
    const process = this.#processes.get(from);
    if (message.type === 'hello') {
      if (process?.pid !== message.pid) this.#early.set(from, message.pid);
      else if (process.loading === null) {
        process.asked = true;
        process.loaded = false;
        process.generation = 0;
        this.#serve(process);
        this.#pump();
      }
      return;
    }
    if (process === undefined) return;
    if (message.type === 'loaded') this.#onLoaded(process, message);
    else if (message.type === 'applied') this.#onApplied(process, message);
  }

  /** To every process that holds a table. */
  broadcast(message: ToServing): void {
    for (const process of this.#processes.values()) {
      if (process.generation > 0) this.#send(process, message);
    }
  }

  close(): void {
    this.#cancelWait?.();
    this.#cancelWait = null;
    this.#processes.clear();
  }

  #onLoaded(process: Serving, message: Extract<FromServing, { type: 'loaded' }>): void {
    if (message.generation !== process.generation || process.loading === null) return;
    process.loaded = true;
    process.acked = Math.max(process.acked, process.loading);
    process.loading = null;
    process.seq = message.seq;
    this.#everAcked = true;
    this.#acknowledged(process, message.rejected);
  }

  #onApplied(process: Serving, message: Extract<FromServing, { type: 'applied' }>): void {
    if (message.change > process.sent || message.change <= process.acked) return;
    process.acked = message.change;
    process.seq = message.seq;
    this.#everAcked = true;
    this.#acknowledged(process, message.rejected);
  }

  #acknowledged(process: Serving, rejected: readonly RejectedEntry[]): void {
    const refused = rejected.length > 0 ? this.#hooks.rejected(rejected) : NONE;
    const first = this.#first;
    if (first !== null && first.process === process.id && process.acked >= first.change.number) {
      this.#first = null;
      this.#confirm(first.change, refused);
    }
    this.#report();
    this.#pump();
  }

  #confirm(change: Change, refused: ReadonlySet<string>): void {
    const good = change.parts.flat().filter((entry) => !refused.has(entryKey(entry)));
    for (const entry of good) this.#put(entry);
    this.#seq = change.seq;
    this.#number = change.number;
    this.#hasTable = true;
    this.#settled = true;
    this.#unreported.push({ number: change.number, seq: change.seq, since: change.since });
    // A process that never answers is ended by the primary; until then only the newest are remembered.
    if (this.#unreported.length > MAX_UNREPORTED) this.#unreported.shift();
    for (const process of this.#processes.values()) {
      if (process.sent >= change.number) continue;
      if (process.generation > 0) this.#deliver(process, change);
      else this.#serve(process);
    }
    this.#hooks.confirmed(good);
  }

  /** Gives a process without a table what there is: the confirmed table, or word that there is none. */
  #serve(process: Serving): void {
    if (process.generation > 0) return;
    // One that has a table of an earlier sync is never sent back to an older copy while the store may answer soon.
    if (process.state !== 'starting' && !this.#settled) return;
    if (this.#hasTable) this.#load(process, null);
    else if (this.#saidNoTable) this.#send(process, { type: 'no-table' });
  }

  #pump(): void {
    const deaths = this.#queue.headDeaths;
    if (this.#first !== null || deaths === null) return;
    const process = this.#chooseFirst(deaths > 0);
    if (process === undefined) return;
    if (!process.loaded && this.#hasTable && (process.state !== 'ready' || deaths > 0)) {
      // A death is blamed on a change only if the process had the rest of the table before.
      this.#serve(process);
      return;
    }
    const change = this.#queue.take();
    if (change === undefined) return;
    this.#first = { change, process: process.id };
    this.#mayUseAny = false;
    this.#deliver(process, change);
  }

  /** A suspected change waits a moment for a process that has no visitors yet. */
  #chooseFirst(suspected: boolean): Serving | undefined {
    const live = [...this.#processes.values()].filter(
      (process) => process.state !== 'draining' && (process.asked || process.state === 'ready'),
    );
    if (suspected && !this.#mayUseAny) {
      const unused = live.find((process) => process.state === 'starting');
      if (unused !== undefined) return unused;
      this.#cancelWait ??= this.#clock.after(FRESH_WAIT_MS, () => {
        this.#cancelWait = null;
        this.#mayUseAny = true;
        this.#pump();
      });
      return undefined;
    }
    return (
      live.find((process) => process.loaded) ?? live.find((process) => process.loading === null) ?? live[0]
    );
  }

  #deliver(process: Serving, change: Change): void {
    const entries = change.parts.flat();
    if (process.generation === 0 || isGreat(entries)) {
      this.#load(process, change);
      return;
    }
    process.sent = change.number;
    this.#send(process, { type: 'change', change: change.number, seq: change.seq, entries });
  }

  /** Sends the confirmed table, and `change` with it where that is not confirmed yet. */
  #load(process: Serving, change: Change | null): void {
    this.#outbox.clear(process.id);
    let entries: TableEntry[];
    if (change === null) entries = [...this.#table.values()];
    else {
      const table = new Map(this.#table);
      for (const entry of change.parts.flat()) putInto(table, entry);
      entries = [...table.values()];
    }
    const again = process.generation > 0;
    process.generation = ++this.#generation;
    process.loading = change?.number ?? this.#number;
    process.sent = process.loading;
    const seq = change?.seq ?? this.#seq;
    this.#outbox.toServing(process.id, loadMessages(process.generation, entries, seq));
    this.#outbox.toServing(process.id, this.#hooks.afterLoad(again));
  }

  #send(process: Serving, message: ToServing): void {
    if (this.#outbox.toServing(process.id, message)) return;
    this.#log.warn('serving_behind', 'a serving process does not keep up with changes; it is loaded afresh', {
      process: process.id,
    });
    const first = this.#first?.process === process.id ? this.#first.change : null;
    this.#load(process, first);
  }

  #diedOf(change: Change, process: Serving): void {
    this.#first = null;
    if (process.state === 'draining') {
      this.#queue.putBack(change, change.deaths);
      return;
    }
    if (change.deaths === 0) {
      this.#log.warn(
        'change_suspected',
        'a serving process died while it took a change; it is tried once more',
        {
          process: process.id,
          objects: change.size,
        },
      );
      this.#queue.putBack(change, 1);
      return;
    }
    if (change.parts.length > 1) {
      this.#queue.split(change, this.#seq);
      return;
    }
    if (change.size === 0 || (!this.#everAcked && ++this.#blamed > MAX_BLAME_WITHOUT_ACK)) {
      this.#log.error('serving_dies', 'serving processes die whatever they are given; see their log', {
        process: process.id,
      });
      this.#queue.putBack(change, 1);
      return;
    }
    // What is left of it is its number, which every process still has to acknowledge.
    this.#queue.putBack({ ...change, parts: [] }, 0);
    this.#hooks.deadly(change.parts[0] ?? [], 'two serving processes died while they took this object');
  }

  #put(entry: TableEntry): void {
    putInto(this.#table, entry);
  }

  #report(): void {
    if (this.#unreported.length === 0) return;
    let acked = Number.POSITIVE_INFINITY;
    for (const process of this.#processes.values()) {
      if (process.loaded && process.state !== 'draining') acked = Math.min(acked, process.acked);
    }
    if (acked === Number.POSITIVE_INFINITY) return;
    let last: { readonly seq: number; readonly since: number } | null = null;
    while (this.#unreported[0] !== undefined && this.#unreported[0].number <= acked) {
      last = this.#unreported.shift() ?? null;
    }
    if (last !== null) {
      this.#hooks.applied({ seq: last.seq, ms: Math.max(0, this.#clock.monotonic() - last.since) });
    }
  }
}

function fresh(id: number, pid: number, state: ProcessState): Serving {
  return {
    id,
    pid,
    state,
    asked: false,
    generation: 0,
    loading: null,
    loaded: false,
    sent: 0,
    acked: 0,
    seq: 0,
  };
}

function putInto(table: Map<string, TableEntry>, entry: TableEntry): void {
  if (entry.doc === null && entry.broken === undefined) table.delete(entryKey(entry));
  else table.set(entryKey(entry), entry);
}

function isGreat(entries: readonly TableEntry[]): boolean {
  if (entries.length > MAX_CHANGE_ENTRIES) return true;
  let bytes = 0;
  for (const entry of entries) {
    bytes += entryJson(entry).length;
    if (bytes > MAX_CHANGE_BYTES) return true;
  }
  return false;
}

function* loadMessages(
  generation: number,
  entries: readonly TableEntry[],
  seq: number,
): Generator<ToServing> {
  yield { type: 'load', generation };
  let held: TableEntry[] = [];
  for (const slice of slices(entries, LOAD_BATCH, LOAD_BATCH_BYTES)) {
    if (held.length > 0) yield { type: 'entries', generation, entries: held, last: false, seq };
    held = slice;
  }
  yield { type: 'entries', generation, entries: held, last: true, seq };
}

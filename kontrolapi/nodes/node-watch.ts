/**
 * Which nodes live, what they serve and what they could not: from their records in the store and from what they say
 * on the bus. Life is told by the changes of a node's beat, timed on our own clock, so that no wrong clock makes a node look dead.
 * One whose record says that it ended in order is not waited for; one that was killed is, until its beat is missed.
 */
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import type { LiveDocument, Store } from '../../shared/store/contract.ts';
import { Agreement, type Standing } from './agreement.ts';
import { type Alarm, alarmsOf } from './alarms.ts';

/** A node whose beat has not changed for this long does not live. Nodes beat every few seconds. */
const LIFE_MS = 15_000;
/** While somebody waits, records are read this often, for acknowledgements that the bus lost. */
const POLL_MS = 250;
const WATCH_MS = 5_000;
const MAX_NODES = 1_000;
/** Problems that an answer names at most. */
const MAX_PROBLEMS = 100;
const NOTHING: readonly Refused[] = [];
/**
 * So long after the start of this process it is not believed that there are no nodes: those that started with it
 * have not written their records yet.
 */
const SETTLED_MS = 10_000;

interface Seen {
  /** Its record was read: when that is gone, so is the node. One that only spoke on the bus is given time. */
  recorded: boolean;
  beat: unknown;
  /** When the beat last changed, on the monotonic clock. */
  changedAt: number;
  seq: number;
  /** Of the objects at `seq`, as the node says. */
  hash: string;
  /** When `seq` was first seen. */
  seqAt: number;
  /** Objects that it could not load, or whose port it could not open, as of `seq`. */
  refused: readonly Refused[];
  /** It said that it is about to end, or has ended, in order. */
  leaving: 'stopping' | 'stopped' | null;
}

interface Refused {
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
}

/** An object of a change that a node does not serve as it was written. */
export interface NodeProblem extends Refused {
  readonly node: string;
}

/** What a change is about. */
export type Subject = { readonly kind: string; readonly name: string };

/** `lost`: nothing was heard of it for a while, and it did not say that it would end. */
export type NodeState = 'running' | 'stopping' | 'stopped' | 'lost';

/** A node's record with its name, and whether it lives. */
export type NodeItem = LiveDocument & {
  readonly name: string;
  readonly live: boolean;
  readonly state: NodeState;
};

export interface Waited {
  /** Nodes that serve the change, with milliseconds from the write until this process knew. */
  readonly nodes: readonly { readonly node: string; readonly ms: number }[];
  readonly pending: readonly string[];
  /** Nodes that do not have it, and are not waited for: they ended in order a moment ago, or are about to. */
  readonly stopped: readonly string[];
  /** Objects of the change that a node has, but could not load or open a port for; such a node is not in `nodes`. */
  readonly problems: readonly NodeProblem[];
  /** Nobody is pending, and it is known who there is. */
  readonly complete: boolean;
}

export class NodeWatch {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #seen = new Map<string, Seen>();
  #records: readonly LiveDocument[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #agreement = new Agreement();
  readonly #listeners = new Set<(nodes: readonly NodeItem[], alarms: readonly Alarm[]) => void>();
  readonly #self: () => Standing | null;
  readonly #unsubscribe: () => void;
  readonly #startedAt: number;
  /** When somebody who waits last had the records read anew. */
  #readAt = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | null = null;
  #closed = false;

  /** `self`: where this process stands, to compare the nodes with. */
  constructor(store: Store, bus: Bus, clock: Clock, self: () => Standing | null = () => null) {
    this.#self = self;
    this.#startedAt = clock.monotonic();
    this.#store = store;
    this.#clock = clock;
    this.#unsubscribe = bus.subscribe('kontrol:applied', (message) => {
      const { node, seq, hash, quarantined } = message ?? {};
      if (typeof node !== 'string' || typeof seq !== 'number') return;
      // Null: too many for a message. Its record, which follows at once, names them.
      if (quarantined === null) this.#applied(node, 0, '', NOTHING);
      else this.#applied(node, seq, typeof hash === 'string' ? hash : '', refusedIn(quarantined));
    });
  }

  /** Watches the beats, also when nobody waits: a node is dead only after it was watched. */
  start(): void {
    void this.#watch();
  }

  /** The records of all nodes, each with `name` and whether it lives; the last known ones while the store is away. */
  async list(): Promise<NodeItem[]> {
    const records = await this.#read().catch(() => this.#records);
    return this.#items(records);
  }

  /** What is wrong with nodes, as last seen. */
  get alarms(): Alarm[] {
    return alarmsOf(this.#items(this.#records), this.#agreement.disagreements);
  }

  /** Calls `listener` after each look, every few seconds. */
  onLook(listener: (nodes: readonly NodeItem[], alarms: readonly Alarm[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Names of the nodes that live, as far as this process has seen. */
  live(): string[] {
    return [...this.#seen.keys()].filter((node) => this.#lives(node));
  }

  /**
   * Resolves when every live node that is not about to end has `seq`, after `timeoutMs`, or when `signal` is aborted. Of the objects that a
   * node could not load, those are its problems that are among `subjects`.
   */
  async waitFor(
    seq: number,
    began: number,
    timeoutMs: number,
    signal: AbortSignal,
    subjects: readonly Subject[] = [],
  ): Promise<Waited> {
    const deadline = this.#clock.monotonic() + timeoutMs;
    for (let first = true; ; first = false) {
      await (first ? this.#read() : this.#readSoon()).catch(() => []);
      const waited = this.#progress(seq, began, subjects);
      const left = deadline - this.#clock.monotonic();
      if (waited.complete || left <= 0 || signal.aborted || this.#closed) return waited;
      await this.#news(Math.min(left, POLL_MS), seq, signal);
    }
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#cancel?.();
    for (const wake of [...this.#waiting]) wake();
  }

  #progress(seq: number, began: number, subjects: readonly Subject[] = []): Waited {
    const nodes: { node: string; ms: number }[] = [];
    const pending: string[] = [];
    const stopped: string[] = [];
    const problems: NodeProblem[] = [];
    let concerned: Set<string> | null = null;
    for (const [node, seen] of this.#seen) {
      if (!this.#beats(seen)) continue;
      if (seen.seq < seq) {
        (seen.leaving === null ? pending : stopped).push(node);
        continue;
      }
      if (seen.leaving === 'stopped') continue;
      let sound = true;
      for (const refused of seen.refused) {
        concerned ??= new Set(subjects.map(keyOf));
        if (!concerned.has(keyOf(refused))) continue;
        sound = false;
        if (problems.length < MAX_PROBLEMS) problems.push({ node, ...refused });
      }
      if (sound) nodes.push({ node, ms: Math.max(0, Math.round(seen.seqAt - began)) });
    }
    return { nodes, pending, stopped, problems, complete: pending.length === 0 && this.#settled };
  }

  /** It is known which nodes there are, also when there are none. */
  get #settled(): boolean {
    if (this.#clock.monotonic() - this.#startedAt >= SETTLED_MS) return true;
    // One that ended in order may have been started again just now, together with this process.
    for (const { leaving } of this.#seen.values()) if (leaving !== 'stopped') return true;
    return false;
  }

  /** Waits for the last acknowledgement, but no longer than `ms`. */
  #news(ms: number, seq: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        if (!this.#closed && !signal.aborted && !this.#progress(seq, 0).complete) return;
        end();
      };
      const end = () => {
        cancel();
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const cancel = this.#clock.after(ms, end);
      signal.addEventListener('abort', end);
      this.#waiting.add(wake);
    });
  }

  #items(records: readonly LiveDocument[]): NodeItem[] {
    return records.map((record) => {
      const live = this.#lives(record._id);
      const said = leavingOf(record['state']);
      const state = live ? (said ?? 'running') : said === 'stopped' ? 'stopped' : 'lost';
      return { ...record, name: record._id, live, state };
    });
  }

  #compare(): void {
    const standings: Standing[] = [];
    for (const [name, { seq, hash }] of this.#seen)
      if (this.#lives(name)) standings.push({ name, seq, hash });
    const self = this.#self();
    if (self !== null) standings.push(self);
    this.#agreement.compare(standings, this.#clock.monotonic());
  }

  #applied(node: string, seq: number, hash: string, refused: readonly Refused[]): void {
    const now = this.#clock.monotonic();
    const seen = this.#seen.get(node);
    if (seen === undefined) {
      if (this.#seen.size < MAX_NODES)
        this.#seen.set(node, {
          recorded: false,
          beat: null,
          changedAt: now,
          seq,
          hash,
          seqAt: now,
          refused,
          leaving: null,
        });
    } else {
      seen.changedAt = now;
      // It was started again; its record says so in a moment.
      if (seen.leaving === 'stopped') seen.leaving = null;
      if (seq > seen.seq) Object.assign(seen, { seq, hash, seqAt: now });
      if (seq === seen.seq) seen.refused = refused;
    }
    for (const wake of [...this.#waiting]) wake();
  }

  #lives(node: string): boolean {
    const seen = this.#seen.get(node);
    return seen !== undefined && seen.leaving !== 'stopped' && this.#beats(seen);
  }

  #beats({ changedAt }: Seen): boolean {
    return this.#clock.monotonic() - changedAt < LIFE_MS;
  }

  /** For those who look again and again: however many they are, the records are read once in their time. */
  async #readSoon(): Promise<readonly LiveDocument[]> {
    if (this.#clock.monotonic() - this.#readAt < POLL_MS) return this.#records;
    this.#readAt = this.#clock.monotonic();
    return this.#read();
  }

  async #read(): Promise<readonly LiveDocument[]> {
    const records = await this.#store.live.list('nodes');
    this.#records = records;
    const now = this.#clock.monotonic();
    for (const { _id, beat, seq, hash: said, quarantined, state } of records) {
      const leaving = leavingOf(state);
      const served = typeof seq === 'number' ? seq : 0;
      const hash = typeof said === 'string' ? said : '';
      const seen = this.#seen.get(_id);
      if (seen === undefined) {
        const refused = refusedIn(quarantined);
        if (this.#seen.size < MAX_NODES)
          this.#seen.set(_id, {
            recorded: true,
            beat,
            changedAt: now,
            seq: served,
            hash,
            seqAt: now,
            refused,
            leaving,
          });
        continue;
      }
      seen.recorded = true;
      const changed = seen.beat !== beat;
      if (changed) Object.assign(seen, { beat, changedAt: now });
      seen.leaving = leaving;
      // A record may lag behind what the node said on the bus, but not for long: then the store was restored.
      const lower = served < seen.seq && now - seen.seqAt > LIFE_MS;
      if (served > seen.seq || lower) Object.assign(seen, { seq: served, hash, seqAt: now });
      else if (served === seen.seq) seen.hash = hash;
      // One that lags says what was wrong before.
      if (served === seen.seq && changed) seen.refused = refusedIn(quarantined);
    }
    this.#forgetRemoved(new Set(records.map((record) => record._id)));
    this.#compare();
    return records;
  }

  /** A dead node whose record stays must stay known too, or it would look new again. */
  #forgetRemoved(recorded: ReadonlySet<string>): void {
    for (const [node, seen] of this.#seen) {
      if (!recorded.has(node) && (seen.recorded || !this.#lives(node))) this.#seen.delete(node);
    }
  }

  async #watch(): Promise<void> {
    const nodes = await this.list();
    const { alarms } = this;
    for (const listener of this.#listeners) listener(nodes, alarms);
    if (!this.#closed) this.#cancel = this.#clock.after(WATCH_MS, () => void this.#watch());
  }
}

function leavingOf(state: unknown): Seen['leaving'] {
  return state === 'stopping' || state === 'stopped' ? state : null;
}

/** What a node says that it could not load; anything may come here. */
function refusedIn(list: unknown): readonly Refused[] {
  if (!Array.isArray(list) || list.length === 0) return NOTHING;
  const refused: Refused[] = [];
  for (const item of list as readonly unknown[]) {
    const { kind, name, reason } = (item ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof kind !== 'string' || typeof name !== 'string') continue;
    refused.push({ kind, name, reason: typeof reason === 'string' ? reason : 'it gives no reason' });
  }
  return refused;
}

function keyOf({ kind, name }: Subject): string {
  return `${kind}/${name}`;
}

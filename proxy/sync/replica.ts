/**
 * Keeps the objects of this node in step with the store: looks when a hint comes, when the bus comes back, and at
 * every tick, when the documents themselves are read too. One look at a time, at most twenty a second however many
 * hints arrive; a store that is away is tried again for ever, ever more rarely, and whatever it was asked meanwhile.
 */
import type { Clock } from '../../shared/clock.ts';
import type { EmptinessGuard } from '../../shared/emptiness-guard.ts';
import type { Log } from '../../shared/log.ts';
import { KINDS } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { Loaded, Store } from '../../shared/store/contract.ts';
import type { Follower } from '../../shared/store/follower.ts';
import type { ObjectChange } from './guard.ts';
import type { MembersFollower } from './members.ts';
import type { Objects } from './objects.ts';

/** Looks begin at most this often. */
const MIN_INTERVAL_MS = 50;
/** While the store is away a hint brings a look at most this often. */
const MIN_INTERVAL_DOWN_MS = 1_000;
const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 5_000;

/** What a look found: parts to be applied together each, which bring the objects to `seq`. */
export interface Found {
  readonly parts: readonly (readonly ObjectChange[])[];
  readonly seq: number;
  /** Hash of the log at `seq`. */
  readonly hash: string;
  /** Time of the newest revision, in milliseconds since 1970; null when there was none. */
  readonly at: number | null;
  /** Monotonic time of the hint (or tick) that brought it. */
  readonly since: number;
  /** Whether the documents were read too. */
  readonly reread: boolean;
}

export interface ReplicaOptions {
  readonly store: Store;
  readonly follower: Follower;
  readonly objects: Objects;
  readonly members: MembersFollower;
  readonly guard: EmptinessGuard;
  readonly clock: Clock;
  readonly log: Log;
  readonly ttlMs: number;
  /** How often to look without any hint; null when hints can be trusted to come. Asked anew each time. */
  pollMs(): number | null;
  /** Called after each look that found anything out, one at a time. Never rejects. */
  found(found: Found): Promise<void>;
  /** Called after a look that did not. */
  failed(error: unknown): void;
}

export class Replica {
  readonly #options: ReplicaOptions;
  #hintedAt: number | null = 0;
  #rereadDue = true;
  #running: Promise<void> | null = null;
  #notBefore = 0;
  #failures = 0;
  #everUp = false;
  #cancelLook: (() => void) | null = null;
  #cancelTick: (() => void) | null = null;
  #cancelPoll: (() => void) | null = null;
  #lookAt = Number.POSITIVE_INFINITY;
  /** Sequence number that was last handed on. */
  #delivered = -1;
  #closed = false;

  constructor(options: ReplicaOptions) {
    this.#options = options;
  }

  /** Whether the last look reached the store. */
  get up(): boolean {
    return this.#everUp && this.#failures === 0;
  }

  start(): void {
    this.#hintedAt = this.#options.clock.monotonic();
    this.#tick();
    this.#poll();
  }

  /** Something may have changed: look soon. */
  hint(): void {
    this.#hintedAt ??= this.#options.clock.monotonic();
    this.#schedule();
  }

  /** Look soon, and read the documents too. */
  hintAll(): void {
    this.#rereadDue = true;
    this.#options.members.hintAll();
    this.hint();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelLook?.();
    this.#cancelTick?.();
    this.#cancelPoll?.();
    await this.#running;
  }

  #tick(): void {
    if (this.#closed) return;
    this.hintAll();
    this.#cancelTick = this.#options.clock.after(this.#options.ttlMs, () => this.#tick());
  }

  #poll(): void {
    if (this.#closed) return;
    const ms = this.#options.pollMs();
    if (ms !== null && this.#failures === 0) this.hint();
    this.#cancelPoll = this.#options.clock.after(ms ?? MIN_INTERVAL_DOWN_MS, () => this.#poll());
  }

  /** Plans the next look, or moves it forward. */
  #schedule(): void {
    if (this.#closed || this.#running !== null || this.#hintedAt === null) return;
    const now = this.#options.clock.monotonic();
    const at = Math.max(now, this.#notBefore);
    if (at >= this.#lookAt) return;
    this.#cancelLook?.();
    this.#lookAt = at;
    this.#cancelLook = this.#options.clock.after(at - now, () => {
      this.#cancelLook = null;
      this.#lookAt = Number.POSITIVE_INFINITY;
      this.#running = this.#look().finally(() => {
        this.#running = null;
        this.#schedule();
      });
    });
  }

  async #look(): Promise<void> {
    const { clock, log } = this.#options;
    const begun = clock.monotonic();
    const since = this.#hintedAt ?? begun;
    this.#hintedAt = null;
    const reread = this.#rereadDue;
    this.#rereadDue = false;
    try {
      await this.#read(since, reread);
      if (this.#failures > 0 || !this.#everUp) log.info('store_up', 'the store answers');
      this.#failures = 0;
      this.#everUp = true;
      this.#notBefore = begun + MIN_INTERVAL_MS;
      const again = this.#options.members.listsInMs;
      if (again !== null) clock.after(again, () => this.hint());
    } catch (error) {
      this.#rereadDue ||= reread;
      this.#hintedAt ??= since;
      this.#fail(error, begun);
    }
  }

  #fail(error: unknown, begun: number): void {
    const { clock, log } = this.#options;
    if (this.#failures++ === 0) {
      log.warn(
        'store_down',
        'the store cannot be read; what is in force stays, and it is tried again for ever',
        {
          error: (error as Error)?.message ?? String(error),
        },
      );
    }
    // A hint is worth a try, since it may say that the store is back; without one the pauses grow.
    const wait = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#failures - 1, 10));
    this.#notBefore = begun + Math.min(wait, MIN_INTERVAL_DOWN_MS);
    this.#options.failed(error);
    const hintedAt = this.#hintedAt;
    this.#hintedAt = null;
    clock.after(wait, () => {
      this.#hintedAt ??= hintedAt;
      this.#schedule();
    });
  }

  async #read(since: number, reread: boolean): Promise<void> {
    const { follower, objects, members, guard } = this.#options;
    const parts: ObjectChange[][] = [];
    let at: number | null = null;
    const catchUp = async (): Promise<boolean> => {
      const { reloaded, revisions } = await follower.catchUp();
      if (reloaded) parts.push(KINDS.flatMap((kind) => objects.reload(kind, follower.objects(kind))));
      for (const revision of revisions) {
        for (const { kind, name } of revision.changes) guard.release(kind, name);
        parts.push(objects.revise(revision.seq, revision.changes));
        at = revision.at;
      }
      return reloaded;
    };
    let documents = reread;
    try {
      if (await catchUp()) documents = true;
      if (documents) {
        const loaded = await this.#load();
        // Revisions appended since are read before the documents are judged by them.
        if (await catchUp()) this.#again();
        else parts.push(this.#compare(loaded));
      }
      parts.push(await members.look());
    } catch (error) {
      // What was read is not lost: a store that breaks off in the middle holds up nothing.
      this.#rereadDue ||= documents;
      if (parts.length > 0) await this.#deliver(parts, at, since, false);
      throw error;
    }
    await this.#deliver(parts, at, since, documents);
  }

  /** The documents just read are of another log than the one followed now. */
  #again(): void {
    this.#rereadDue = true;
    this.#hintedAt ??= this.#options.clock.monotonic();
  }

  async #deliver(parts: ObjectChange[][], at: number | null, since: number, reread: boolean): Promise<void> {
    const { follower } = this.#options;
    const { seq, hash } = follower;
    const filled = parts.filter((part) => part.length > 0);
    if (filled.length === 0 && !reread && seq === this.#delivered) return;
    this.#delivered = seq;
    await this.#options.found({ parts: filled, seq, hash, at, since, reread });
  }

  async #load(): Promise<Map<(typeof KINDS)[number], Loaded>> {
    const loaded = new Map<(typeof KINDS)[number], Loaded>();
    for (const kind of KINDS) loaded.set(kind, await this.#options.store.load(kind));
    return loaded;
  }

  #compare(loaded: ReadonlyMap<(typeof KINDS)[number], Loaded>): Change[] {
    const { objects, guard, follower } = this.#options;
    const changes: Change[] = [];
    for (const [kind, documents] of loaded) {
      const { changes: found, missing } = objects.reread(kind, documents, follower.seq);
      changes.push(...found);
      changes.push(...objects.remove(kind, guard.judge(kind, objects.count(kind), missing)));
    }
    return changes;
  }
}

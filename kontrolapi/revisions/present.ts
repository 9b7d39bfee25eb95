/**
 * The newest state this process knows, kept up by a follower of the log, with the indexes that validation needs.
 * Reads are answered from it also while the store is away.
 */
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { KINDS } from '../../shared/model/kinds.ts';
import type { Revision } from '../../shared/model/revision.ts';
import type { Store } from '../../shared/store/contract.ts';
import { type CaughtUp, Follower } from '../../shared/store/follower.ts';
import { within } from '../within.ts';
import { State } from './view.ts';

/** How long a read waits for the store before it answers from memory. */
const PATIENCE_MS = 500;
const FIRST_PATIENCE_MS = 2_000;

export class Present {
  readonly #store: Store;
  readonly #log: Log;
  readonly #follower: Follower;
  readonly #listeners = new Set<(revisions: readonly Revision[]) => void>();
  #state = new State();
  /** How often the state was read afresh; more than once when the store was restored or is another one. */
  reloads = 0;

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
    this.#follower = new Follower(store, undefined, (step) => this.#take(step));
  }

  /** True once the state was read from the store. */
  get loaded(): boolean {
    return this.reloads > 0;
  }

  get state(): State {
    return this.#state;
  }

  get seq(): number {
    return this.#follower.seq;
  }

  /** Hash of all objects at `seq`; nodes report theirs. */
  get hash(): string {
    return this.#follower.hash;
  }

  /** What the next revision must name. Throws before the first catch-up. */
  head(): { readonly seq: number; readonly id: string; readonly store: string } {
    if (!this.loaded) throw new KontrolError('store_unavailable');
    const { seq, id, store } = this.#follower;
    return { seq, id, store };
  }

  /** Reads what is newer in the store; callers at the same time share a read that begins after they asked. */
  async catchUp(): Promise<void> {
    await this.#follower.catchUp();
  }

  /**
   * For reads: the state at the newest revision, or as remembered when the store does not answer in half a second.
   * Throws `store_unavailable` when nothing was ever read.
   */
  async fresh(clock: Clock): Promise<State> {
    if (!this.loaded) await within(this.catchUp(), FIRST_PATIENCE_MS, clock).catch(() => {});
    else if (this.#store.reachable) await within(this.catchUp(), PATIENCE_MS, clock).catch(() => {});
    if (this.loaded) return this.#state;
    throw new KontrolError(
      'store_unavailable',
      'The store has not answered since the start; nothing is known yet',
    );
  }

  /** A revision that this process just put on top of `head()`: known at once, without reading it back. */
  appended(revision: Revision): void {
    this.#follower.appended(revision);
  }

  /** Calls `listener` with the revisions of each step; with none when everything was read afresh. */
  onStep(listener: (revisions: readonly Revision[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #take({ reloaded, revisions }: CaughtUp): void {
    if (reloaded) this.#takeAll();
    for (const { seq, changes } of revisions) {
      for (const { kind, name, doc } of changes) {
        this.#state.put(kind, name, doc === null ? null : { rev: seq, doc });
      }
    }
    if (reloaded || revisions.length > 0) for (const listener of this.#listeners) listener(revisions);
  }

  #takeAll(): void {
    const state = new State();
    for (const kind of KINDS) {
      for (const [name, { rev, doc }] of this.#follower.objects(kind)) state.put(kind, name, { rev, doc });
    }
    this.#state = state;
    this.reloads++;
    this.#log.info('state_loaded', 'the objects were read from the store', { seq: this.seq });
  }
}

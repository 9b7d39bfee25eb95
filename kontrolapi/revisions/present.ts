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
import { Follower } from '../../shared/store/follower.ts';
import { within } from '../within.ts';
import { State } from './view.ts';

/** How long a read waits for the store before it answers from memory. */
const PATIENCE_MS = 500;
const FIRST_PATIENCE_MS = 2_000;

export class Present {
  readonly #store: Store;
  readonly #log: Log;
  readonly #follower: Follower;
  #state = new State();
  #seq = 0;
  #id = '';
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  /** How often the state was read afresh; more than once when the store was restored or is another one. */
  reloads = 0;

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
    this.#follower = new Follower(store);
  }

  /** True once the state was read from the store. */
  get loaded(): boolean {
    return this.reloads > 0;
  }

  get state(): State {
    return this.#state;
  }

  get seq(): number {
    return this.#seq;
  }

  /** Hash of all objects as last read from the store; nodes report theirs. */
  get hash(): string {
    return this.#follower.hash;
  }

  /** What the next revision must name. Throws before the first catch-up. */
  head(): { readonly seq: number; readonly id: string; readonly store: string } {
    if (!this.loaded) throw new KontrolError('store_unavailable');
    return { seq: this.#seq, id: this.#id, store: this.#follower.store };
  }

  /** Reads what is newer in the store; callers at the same time share a read that begins after they asked. */
  catchUp(): Promise<void> {
    if (this.#running === null) {
      this.#running = this.#step().finally(() => {
        this.#running = null;
      });
      return this.#running;
    }
    const again = () => {
      this.#next = null;
      return this.catchUp();
    };
    this.#next ??= this.#running.then(again, again);
    return this.#next;
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
    if (revision.seq === this.#seq + 1 && revision.previous === this.#id) this.#apply(revision);
  }

  async #step(): Promise<void> {
    const began = this.#seq;
    const { reloaded, revisions } = await this.#follower.catchUp();
    // A store that ends before what was known when the step began was restored to an earlier state.
    if (reloaded || this.#follower.seq < began || !this.#goesOn(revisions)) this.#takeAll();
    else for (const revision of revisions) if (revision.seq > this.#seq) this.#apply(revision);
  }

  /** Whether what was read is, or follows on, what this process has appended meanwhile. */
  #goesOn(revisions: readonly Revision[]): boolean {
    return revisions.every(
      ({ seq, id, previous }) =>
        (seq !== this.#seq || id === this.#id) && (seq !== this.#seq + 1 || previous === this.#id),
    );
  }

  #apply({ seq, id, changes }: Revision): void {
    for (const { kind, name, doc } of changes) {
      this.#state.put(kind, name, doc === null ? null : { rev: seq, doc });
    }
    this.#seq = seq;
    this.#id = id;
  }

  #takeAll(): void {
    const state = new State();
    for (const kind of KINDS) {
      for (const [name, { rev, doc }] of this.#follower.objects(kind)) state.put(kind, name, { rev, doc });
    }
    this.#state = state;
    this.#seq = this.#follower.seq;
    this.#id = this.#follower.id;
    this.reloads++;
    this.#log.info('state_loaded', 'the objects were read from the store', { seq: this.#seq });
  }
}

/**
 * Follows the log of a store: holds the current state of all objects, and says with each step which revisions led
 * there. A log that does not go on where it was (another store, a restored backup, a trimmed or broken chain) is
 * read afresh from the documents. A step that fails changes nothing.
 */
import { KINDS, type Kind } from '../model/kinds.ts';
import type { Change, Revision } from '../model/revision.ts';
import { objectDigest, StateHash } from '../state-hash.ts';
import type { Head, Loaded, Store } from './contract.ts';

export interface FollowedObject {
  readonly doc: Readonly<Record<string, unknown>>;
  /** Number of the revision that wrote it. */
  readonly rev: number;
}

export interface CaughtUp {
  /** True when the state was read afresh: compare all of it with what you had. `revisions` is empty then. */
  readonly reloaded: boolean;
  /** Applied in this step, in order. */
  readonly revisions: readonly Revision[];
}

/** What a copy on disk keeps of a follower, to start from without the store. */
export interface FollowerState {
  readonly store: string;
  readonly seq: number;
  readonly id: string;
  readonly objects: readonly (Change & { readonly doc: FollowedObject['doc']; readonly rev: number })[];
}

/** Further behind than this, in revisions or changes, the documents are read instead of the log. */
const MAX_BEHIND = 10_000;
const MAX_CHANGES = 100_000;
const RELOAD_ATTEMPTS = 5;

/** Hears of each step in the same turn in which the follower makes it, so that what it keeps never lags behind. */
export type OnStep = (step: CaughtUp) => void;

export class Follower {
  readonly #store: Store;
  readonly #onStep: OnStep;
  #state: State;
  #running: Promise<CaughtUp> | null = null;
  #waiting: Promise<CaughtUp> | null = null;

  constructor(store: Store, from?: FollowerState, onStep: OnStep = () => {}) {
    this.#store = store;
    this.#onStep = onStep;
    this.#state = new State(from?.store ?? '', from?.seq ?? 0, from?.id ?? '');
    for (const { kind, name, doc, rev } of from?.objects ?? []) this.#state.set(kind, name, { doc, rev });
  }

  /** Number of the last revision applied; 0 before the first. */
  get seq(): number {
    return this.#state.seq;
  }

  /** `id` of that revision. */
  get id(): string {
    return this.#state.id;
  }

  /** Identity of the store that is followed; empty before the first successful step. */
  get store(): string {
    return this.#state.store;
  }

  /** Of all objects at `seq`; the same for every follower that is there. */
  get hash(): string {
    return this.#state.hash.value;
  }

  /** The objects of a kind by name. It changes with each step that is made: read it, do not keep it. */
  objects(kind: Kind): ReadonlyMap<string, FollowedObject> {
    return this.#state.objects(kind);
  }

  state(): FollowerState {
    const { store, seq, id } = this.#state;
    const objects = KINDS.flatMap((kind) =>
      [...this.objects(kind)].map(([name, { doc, rev }]) => ({ kind, name, doc, rev })),
    );
    return { store, seq, id, objects };
  }

  /**
   * Reads and applies what is new. One step runs at a time; calls during one share the step after it, which begins
   * late enough to see what they were called for. Rejects when the store cannot be read.
   */
  catchUp(): Promise<CaughtUp> {
    if (this.#running === null) return this.#start();
    this.#waiting ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#waiting;
  }

  /**
   * A revision that this process just put on top of what is known here: taken in without reading it back. One that
   * does not go on from here is left to the next step.
   */
  appended(revision: Revision): void {
    const { store, seq, id } = this.#state;
    if (revision.store !== store || revision.seq !== seq + 1 || revision.previous !== id) return;
    this.#state.apply(revision);
    this.#onStep({ reloaded: false, revisions: [revision] });
  }

  #start(): Promise<CaughtUp> {
    this.#waiting = null;
    const running = this.#step().finally(() => {
      if (this.#running === running) this.#running = null;
    });
    this.#running = running;
    return running;
  }

  async #step(): Promise<CaughtUp> {
    const { store, seq, id } = this.#state;
    const identity = await this.#store.identity();
    const head = await this.#store.head();
    if (identity === store) {
      const read = await this.#newer({ seq, id }, head);
      const revisions = read === null ? null : this.#notAppended(read);
      if (revisions !== null) {
        for (const revision of revisions) this.#state.apply(revision);
        return this.#made({ reloaded: false, revisions });
      }
    }
    this.#state = await this.#reload();
    return this.#made({ reloaded: true, revisions: [] });
  }

  #made(step: CaughtUp): CaughtUp {
    this.#onStep(step);
    return step;
  }

  /** What was read, without what was appended here meanwhile; null when the two do not go together. */
  #notAppended(read: readonly Revision[]): Revision[] | null {
    const { seq, id } = this.#state;
    const fits = read.every(
      (revision) =>
        (revision.seq !== seq || revision.id === id) &&
        (revision.seq !== seq + 1 || revision.previous === id),
    );
    return fits ? read.filter((revision) => revision.seq > seq) : null;
  }

  /** The revisions after `from` up to `head`; null when the log does not go on from there. */
  async #newer(from: Head, head: Head): Promise<Revision[] | null> {
    let { seq, id } = from;
    if (head.seq < seq || head.seq > seq + MAX_BEHIND || (head.seq === seq && head.id !== id)) return null;
    const newer: Revision[] = [];
    let changes = 0;
    while (seq < head.seq) {
      const since = await this.#store.since(seq);
      if (since.trimmed || since.revisions.length === 0 || changes > MAX_CHANGES) return null;
      for (const revision of since.revisions) {
        if (revision.seq !== seq + 1 || revision.previous !== id) return null;
        newer.push(revision);
        changes += revision.changes.length;
        ({ seq, id } = revision);
      }
    }
    return newer;
  }

  async #reload(): Promise<State> {
    for (let attempt = 1; ; attempt++) {
      const identity = await this.#store.identity();
      const loaded = new Map<Kind, Loaded>();
      for (const kind of KINDS) loaded.set(kind, await this.#store.load(kind));
      const mark = Math.min(...[...loaded.values()].map((each) => each.mark));
      const state = await this.#fromDocuments(identity, mark, loaded, attempt === RELOAD_ATTEMPTS);
      if (state !== null) return state;
    }
  }

  /** The documents, and the log from the mark on; null when it went on too fast to be read, unless `anyway`. */
  async #fromDocuments(
    identity: string,
    mark: number,
    loaded: ReadonlyMap<Kind, Loaded>,
    anyway: boolean,
  ): Promise<State | null> {
    const revisions: Revision[] = [];
    let seq = mark;
    for (;;) {
      const since = await this.#store.since(seq);
      if (since.trimmed) {
        if (!anyway) return null;
        break;
      }
      const last = since.revisions.at(-1);
      if (last === undefined) break;
      revisions.push(...since.revisions);
      seq = last.seq;
    }
    const first = revisions[0];
    const head = await this.#store.head();
    if (first === undefined && head.seq !== mark && !anyway) return null;
    const state = new State(identity, mark, first === undefined ? head.id : first.previous);
    for (const [kind, { documents }] of loaded) {
      for (const { name, rev, deleted, doc } of documents) {
        // Without a number it was written by hand and is not in the log.
        if (rev !== null && !deleted) state.set(kind, name, { doc, rev });
      }
    }
    // Documents may be ahead of the mark; then these revisions lead to the same once more.
    for (const revision of revisions) state.apply(revision);
    return state;
  }
}

/** The objects at one revision, with their hash. */
class State {
  readonly store: string;
  seq: number;
  id: string;
  readonly hash = new StateHash();
  readonly #kinds = new Map<Kind, Map<string, FollowedObject & { readonly digest: Buffer }>>(
    KINDS.map((kind) => [kind, new Map()]),
  );

  constructor(store: string, seq: number, id: string) {
    this.store = store;
    this.seq = seq;
    this.id = id;
  }

  objects(kind: Kind): Map<string, FollowedObject & { readonly digest: Buffer }> {
    return this.#kinds.get(kind) ?? new Map();
  }

  apply({ seq, id, changes }: Revision): void {
    for (const { kind, name, doc } of changes) {
      if (doc === null) this.#delete(kind, name);
      else this.set(kind, name, { doc, rev: seq });
    }
    this.seq = seq;
    this.id = id;
  }

  set(kind: Kind, name: string, { doc, rev }: FollowedObject): void {
    this.#delete(kind, name);
    const digest = objectDigest(kind, name, doc);
    this.hash.add(digest);
    this.objects(kind).set(name, { doc, rev, digest });
  }

  #delete(kind: Kind, name: string): void {
    const objects = this.objects(kind);
    const old = objects.get(name);
    if (old === undefined) return;
    this.hash.remove(old.digest);
    objects.delete(name);
  }
}

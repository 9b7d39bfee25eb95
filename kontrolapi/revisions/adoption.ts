/**
 * Documents that somebody edited in the database become revisions by author `mongodb`, so that history and If-Match
 * hold for them too. Every re-read interval the documents are compared with the log; only good ones are adopted, and
 * deletions that look like an accident are held back until they are confirmed. Several API processes may do this
 * at once: the edit is taken back to the log once, since whoever comes second finds nothing that differs.
 */
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import { EmptinessGuard } from '../../shared/emptiness-guard.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { KINDS, type Kind, nameOf, parseObject } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { Loaded, Store, StoredDocument } from '../../shared/store/contract.ts';
import { sameDocument } from './difference.ts';
import type { History } from './history.ts';
import type { Present } from './present.ts';
import type { Doc, View } from './view.ts';
import type { Writer } from './writer.ts';

export const ADOPTION_AUTHOR = 'mongodb';

/** An edit by hand, and the revision of the object that it was seen beside. */
interface Edit {
  readonly change: Change;
  /** 0 when the log has no such object. */
  readonly rev: number;
}

export interface AdoptionOptions {
  readonly store: Store;
  readonly present: Present;
  readonly history: History;
  readonly writer: Writer;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly intervalMs: number;
}

export class Adoption {
  readonly #options: AdoptionOptions;
  readonly #unsubscribe: () => void;
  #cancel: (() => void) | null = null;
  #running: Promise<void> | null = null;
  #confirmed = false;
  /** The reload of the state after which the log was compared. */
  #verified = 0;
  #closed = false;
  /** Documents that were reported as bad, by what was said, so that each is said once. */
  #reported = new Map<string, string>();
  readonly #emptiness = new EmptinessGuard();

  constructor(options: AdoptionOptions) {
    this.#options = options;
    this.#unsubscribe = options.bus.subscribe('kontrol:ask', (message) => {
      if (message?.ask === 'confirm') this.confirm();
    });
  }

  start(): void {
    this.#schedule();
  }

  /** The deletions that are held back are meant: the next look takes them. */
  confirm(): void {
    this.#confirmed = true;
    // A look that runs already began without knowing.
    void Promise.resolve(this.#running).then(() => {
      if (!this.#closed) void this.look();
    });
  }

  /** Compares all documents with the log once. Never rejects. */
  look(): Promise<void> {
    this.#running ??= this.#look()
      .catch((error: unknown) => {
        this.#options.log.debug('adoption_failed', 'edits by hand are looked for again at the next turn', {
          reason: (error as Error).message,
        });
      })
      .finally(() => {
        this.#running = null;
      });
    return this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe();
    this.#cancel?.();
    await this.#running;
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#cancel = this.#options.clock.after(this.#options.intervalMs, () => {
      void this.look().finally(() => this.#schedule());
    });
  }

  async #look(): Promise<void> {
    const { present } = this.#options;
    const confirmed = this.#confirmed;
    this.#confirmed = false;
    if (confirmed) this.#emptiness.confirm();
    try {
      await this.#compare(confirmed);
    } catch (error) {
      this.#confirmed ||= confirmed;
      throw error;
    }
    if (this.#verified !== present.reloads) await this.#adoptUnlogged();
  }

  async #compare(confirmed: boolean): Promise<void> {
    const { store, present } = this.#options;
    const edits: Edit[] = [];
    for (const kind of KINDS) {
      const loaded = await store.load(kind);
      // The log is read after the documents: what it does not have then, it will not get from a writer.
      await present.catchUp();
      edits.push(...this.#editsOf(kind, loaded, confirmed));
    }
    if (edits.length > 0) await this.#adopt(edits);
  }

  /**
   * What was edited before this process read the documents is part of its state, but not of the log. The log is
   * compared once after each time the documents were read: only the revisions that wrote what there is, which are few
   * beside all that a log of months may have.
   */
  async #adoptUnlogged(): Promise<void> {
    const { present, history } = this.#options;
    const { reloads } = present;
    const oldest = await history.oldest();
    const numbers = new Set<number>();
    for (const { rev } of present.state.all()) if (rev >= oldest) numbers.add(rev);
    const edits: Edit[] = [];
    for (const seq of numbers) {
      if (this.#closed) return;
      for (const { kind, name, doc } of await this.#changesOf(seq)) {
        const held = present.state.get(kind, name);
        if (doc === null || held === undefined || held.rev !== seq) continue;
        if (!sameDocument(doc, held.doc)) edits.push({ change: { kind, name, doc: held.doc }, rev: seq });
      }
    }
    if (edits.length > 0) await this.#adopt(edits, true);
    this.#verified = reloads;
  }

  /** None where the log has no such revision: a number that was edited by hand, or one that was removed meanwhile. */
  async #changesOf(seq: number): Promise<readonly Change[]> {
    try {
      return (await this.#options.history.get(seq)).changes;
    } catch (error) {
      if (error instanceof KontrolError && error.status < 500) return [];
      throw error;
    }
  }

  #editsOf(kind: Kind, loaded: Loaded, confirmed: boolean): Edit[] {
    const { state, seq } = this.#options.present;
    const changed: Edit[] = [];
    const there = new Set<string>();
    for (const document of loaded.documents) {
      if (!document.deleted) there.add(document.name);
      const held = state.get(kind, document.name);
      const doc = this.#edited(kind, document, held, seq, loaded.mark);
      if (doc === null) there.add(document.name);
      else if (doc !== undefined)
        changed.push({ change: { kind, name: document.name, doc }, rev: held?.rev ?? 0 });
    }
    const lost: Edit[] = [];
    for (const [name, held] of state.entries(kind)) {
      if (there.has(name) || held.rev > loaded.mark) continue;
      lost.push({ change: { kind, name, doc: null }, rev: held.rev });
    }
    return [...changed, ...this.#believed(kind, lost, state.count(kind), confirmed)];
  }

  /** The document to adopt; undefined when it is as the log says; null when it is bad, so nothing is done with it. */
  #edited(
    kind: Kind,
    document: StoredDocument,
    held: { readonly rev: number; readonly doc: Doc } | undefined,
    seq: number,
    mark: number,
  ): Doc | null | undefined {
    const { name, rev, deleted, doc } = document;
    if (deleted) return undefined;
    if (held !== undefined && sameDocument(doc, held.doc)) return undefined;
    // Written after the documents were read: what was read is not an edit of that.
    if (held !== undefined && held.rev > mark) return undefined;
    // The projection never writes over a greater number, so adopting this would revert each later change.
    if (rev !== null && rev > seq)
      return this.#bad(kind, name, `its rev ${rev} is of no revision; remove rev`);
    if (rev !== null && held !== undefined && rev !== held.rev) return undefined;
    // A delete that is not projected yet; after that a tombstone stands here.
    if (rev !== null && held === undefined && mark < seq) return undefined;
    const parsed = parseObject(kind, doc);
    if (!parsed.ok)
      return this.#bad(kind, name, parsed.problems.map((p) => `${p.path}: ${p.message}`).join('; '));
    const value = parsed.value as unknown as Doc;
    if (nameOf(kind, value as { name?: string }) !== name) {
      return this.#bad(kind, name, 'its name is not the one of its _id');
    }
    return held !== undefined && sameDocument(value, held.doc) ? undefined : value;
  }

  #bad(kind: Kind, name: string, reason: string): null {
    const key = `${kind}/${name}`;
    if (this.#reported.get(key) === reason) return null;
    if (this.#reported.size >= 1_000) this.#reported.clear();
    this.#reported.set(key, reason);
    this.#options.log.warn('edit_not_adopted', `the edit of ${key} in the database is not valid: ${reason}`, {
      kind,
      name,
    });
    return null;
  }

  /** What of `lost` is to be deleted: not what looks like an accident, nor what did when it was lost. */
  #believed(kind: Kind, lost: Edit[], count: number, confirmed: boolean): Edit[] {
    if (confirmed) return lost;
    const before = this.#emptiness.held.length;
    const believed = new Set(
      this.#emptiness.judge(
        kind,
        count,
        lost.map(({ change }) => change.name),
      ),
    );
    if (this.#emptiness.held.length > before)
      this.#options.log.warn(
        'deletions_held',
        `${lost.length} of ${count} objects of kind ${kind} are gone from the database; they are kept until POST /v1/nodes/confirm`,
        { kind, count: lost.length },
      );
    return lost.filter(({ change }) => believed.has(change.name));
  }

  /** One revision for all; when they do not go together, one each, so that a bad one does not hold up the others. */
  async #adopt(edits: readonly Edit[], unlogged = false): Promise<void> {
    try {
      await this.#submit(edits, unlogged);
    } catch (error) {
      if (!(error instanceof KontrolError) || error.status >= 500) throw error;
      if (edits.length === 1) {
        const change = edits[0]?.change;
        if (change !== undefined) this.#bad(change.kind, change.name, error.message);
        return;
      }
      for (const edit of edits) await this.#adopt([edit], unlogged);
    }
  }

  async #submit(edits: readonly Edit[], unlogged: boolean): Promise<void> {
    const outcome = await this.#options.writer.submit({
      writeUnchanged: unlogged,
      objects: edits.length,
      author: ADOPTION_AUTHOR,
      message: 'edited in the database',
      decide: (view: View) =>
        edits
          .filter(({ change, rev }) => (view.get(change.kind, change.name)?.rev ?? 0) === rev)
          .map(({ change }) => change),
    });
    if (!outcome.written) return;
    const names = outcome.changes.slice(0, 20).map(({ kind, name }) => `${kind}/${name}`);
    this.#options.log.info('edits_adopted', 'edits in the database became a revision', {
      seq: outcome.seq,
      objects: names,
    });
  }
}

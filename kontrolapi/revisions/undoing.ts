/**
 * Undoes what nobody confirmed in time, as a revision of its own. Every kontrolapi looks; whoever comes first
 * closes the confirmation, and the log itself says whether the revision that undoes it was written already: it is
 * looked for under the number that the next one would take. So it happens once, whoever dies in between.
 */
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { KINDS, type Kind, parseObject } from '../../shared/model/kinds.ts';
import type { Change, Revision } from '../../shared/model/revision.ts';
import type { KindRules } from '../resources/kind-rules.ts';
import { type Confirmation, type Confirmations, isSettled } from './confirmations.ts';
import { sameDocument } from './difference.ts';
import type { History } from './history.ts';
import type { Present } from './present.ts';
import { validateChanges } from './validation.ts';
import { type Doc, Draft, type View } from './view.ts';
import type { Writer } from './writer.ts';

export const UNDO_AUTHOR = 'kontrol';

/** Confirmations that other processes opened are found this often, in milliseconds. */
const LOOK_MS = 5_000;
/** After this a revision that was announced but is not in the log was never written, in milliseconds. */
const NEVER_WRITTEN_MS = 60_000;
const MAX_MESSAGE = 500;
const MAX_KEPT = 100;

export interface UndoingOptions {
  readonly confirmations: Confirmations;
  readonly present: Present;
  readonly history: History;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly log: Log;
  readonly rules: (kind: Kind) => KindRules;
}

export class Undoing {
  readonly #options: UndoingOptions;
  #cancel: (() => void) | null = null;
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(options: UndoingOptions) {
    this.#options = options;
  }

  start(): void {
    this.#options.confirmations.onOpened = () => this.#plan(0);
    this.#plan(0);
  }

  /** Undoes what is due. Never rejects. */
  look(): Promise<void> {
    this.#running ??= this.#look()
      .catch((error: unknown) => {
        this.#options.log.debug('undoing_failed', 'unconfirmed changes are looked for at the next turn', {
          reason: (error as Error).message,
        });
        return LOOK_MS;
      })
      .then((next) => {
        this.#running = null;
        this.#plan(next);
      });
    return this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#running;
  }

  #plan(ms: number): void {
    this.#cancel?.();
    if (!this.#closed) this.#cancel = this.#options.clock.after(ms, () => void this.look());
  }

  /** Answers in how many milliseconds to look again. */
  async #look(): Promise<number> {
    const { confirmations, clock } = this.#options;
    let next = LOOK_MS;
    for (const confirmation of await confirmations.list()) {
      if (isSettled(confirmation) || this.#closed) continue;
      const left = confirmation.state === 'open' ? confirmation.until - clock.now() : 0;
      if (left > 0) next = Math.min(next, left);
      else await this.#tryUndo(confirmation);
    }
    return next;
  }

  /** One that can never be undone must not hold up the others, nor be tried for ever. */
  async #tryUndo(confirmation: Confirmation): Promise<void> {
    const { confirmations, log } = this.#options;
    try {
      await this.#undo(confirmation);
    } catch (error) {
      if (!(error instanceof KontrolError)) {
        log.error(
          'undoing_failed',
          `revision ${confirmation.seq} is tried again: ${(error as Error).message}`,
          {
            seq: confirmation.seq,
          },
        );
        return;
      }
      if (error.status >= 500) throw error;
      // Nobody can confirm it any more; who did a moment ago has the last word.
      if (!(await confirmations.expire(confirmation))) return;
      log.error('revision_not_undone', `revision ${confirmation.seq} cannot be undone: ${error.message}`, {
        seq: confirmation.seq,
      });
      await confirmations.undone(confirmation, null, [`everything: ${error.message}`]);
    }
  }

  async #undo(confirmation: Confirmation): Promise<void> {
    const { confirmations, present, history, log, clock, writer } = this.#options;
    await present.catchUp();
    const revision = await this.#revisionOf(confirmation);
    if (revision === null) {
      if (clock.now() > confirmation.until + NEVER_WRITTEN_MS) await confirmations.forget(confirmation);
      return;
    }
    if (!(await confirmations.expire(confirmation))) return;
    const undo = new Undo(revision, history, confirmations, this.#options.rules);
    const within = Math.round((revision.confirmWithinMs ?? 0) / 1_000);
    const why = `revision ${revision.seq} of ${revision.author} was not confirmed within ${within} s`;
    const outcome = await writer.submit({
      author: UNDO_AUTHOR,
      message: why,
      undoes: revision.seq,
      objects: revision.changes.length,
      decide: (view) => undo.decide(view),
    });
    const undoneBy = outcome.written ? outcome.seq : undo.found;
    await confirmations.undone(confirmation, undoneBy, undo.kept.slice(0, MAX_KEPT));
    if (!outcome.written && undo.found !== null) return;
    const kept = undo.kept.length === 0 ? '' : `; not put back: ${undo.kept.join('; ')}`;
    log.warn('revision_undone', `${why}: it is undone${kept}`.slice(0, MAX_MESSAGE), {
      seq: revision.seq,
      undoneBy,
    });
  }

  /** Null when the log has another revision, or none, under its number. */
  async #revisionOf({ id, seq }: Confirmation): Promise<Revision | null> {
    try {
      const revision = await this.#options.history.get(seq);
      return revision.id === id ? revision : null;
    } catch (error) {
      if (error instanceof KontrolError && error.code === 'not_found') return null;
      throw error;
    }
  }
}

/** What undoing one revision comes to; decided afresh against each newer state. */
class Undo {
  readonly #revision: Revision;
  readonly #history: History;
  readonly #confirmations: Confirmations;
  readonly #rules: (kind: Kind) => KindRules;
  /** The revision that undid it before. */
  found: number | null = null;
  kept: string[] = [];

  constructor(
    revision: Revision,
    history: History,
    confirmations: Confirmations,
    rules: (kind: Kind) => KindRules,
  ) {
    this.#revision = revision;
    this.#history = history;
    this.#confirmations = confirmations;
    this.#rules = rules;
  }

  async decide(view: View): Promise<Change[]> {
    this.kept = [];
    this.found = await this.#undoneAlready();
    if (this.found !== null) return [];
    const former = await this.#former();
    const wanted: Change[] = [];
    for (const change of this.#revision.changes) {
      const { kind, name, doc } = change;
      const held = view.get(kind, name);
      const before = former.get(`${kind}/${name}`);
      // What workers added meanwhile is nobody's change, and stays.
      const retain = (before === null ? undefined : this.#rules(kind).retain) ?? ((each: Doc) => each);
      // Somebody has changed it since: their change stands.
      if (!sameDocument(held?.doc ?? null, doc === null ? null : retain(doc, held))) {
        this.#keep(change, 'it was changed since');
        continue;
      }
      if (before === undefined) this.#keep(change, 'the history does not tell what it was');
      else if (before !== null && !parseObject(kind, before).ok)
        this.#keep(change, 'what it was is not valid any more');
      else wanted.push({ kind, name, doc: before === null ? null : retain(before, held) });
    }
    return this.#acceptable(
      view,
      wanted.sort((a, b) => place(a) - place(b)),
    );
  }

  #keep({ kind, name }: Change, why: string): void {
    this.kept.push(`${kind}/${name}: ${why}`);
  }

  async #undoneAlready(): Promise<number | null> {
    const { seq } = this.#revision;
    for await (const later of this.#history.ascending(seq)) if (later.undoes === seq) return later.seq;
    return null;
  }

  /** The documents before the revision; what unconfirmed revisions before it wrote does not count. */
  async #former(): Promise<Map<string, Doc | null | undefined>> {
    const { seq, changes } = this.#revision;
    const found = new Map<string, Doc | null | undefined>();
    const open = new Set<string>();
    for (const { kind, name, created } of changes) {
      if (created === true) found.set(`${kind}/${name}`, null);
      else open.add(`${kind}/${name}`);
    }
    let reached = seq;
    for await (const revision of this.#history.descending(seq)) {
      if (open.size === 0) break;
      reached = revision.seq;
      const touched = revision.changes.filter(({ kind, name }) => open.has(`${kind}/${name}`));
      if (touched.length === 0 || (await this.#wasUndone(revision))) continue;
      for (const { kind, name, doc } of touched) {
        open.delete(`${kind}/${name}`);
        found.set(`${kind}/${name}`, doc);
      }
    }
    for (const key of open) found.set(key, reached <= 1 ? null : undefined);
    return found;
  }

  async #wasUndone({ id, confirmWithinMs }: Revision): Promise<boolean> {
    if (confirmWithinMs === undefined) return false;
    const state = (await this.#confirmations.get(id))?.state;
    return state === 'undone' || state === 'undoing';
  }

  /** As much of `wanted` as may be written: what is refused (others name it now) is left as it is. */
  #acceptable(view: View, wanted: readonly Change[]): Change[] {
    const accepted: Change[] = [];
    const accept = (changes: readonly Change[]): void => {
      if (changes.length === 0) return;
      const refusal = this.#refusal(view, [...accepted, ...changes]);
      const [first] = changes;
      if (refusal === null) accepted.push(...changes);
      else if (changes.length === 1 && first !== undefined) this.#keep(first, refusal);
      else {
        const middle = changes.length >> 1;
        accept(changes.slice(0, middle));
        accept(changes.slice(middle));
      }
    };
    accept(wanted);
    return accepted;
  }

  #refusal(view: View, changes: readonly Change[]): string | null {
    try {
      validateChanges(new Draft(view, changes), changes, this.#rules, () => '');
      return null;
    } catch (error) {
      if (!(error instanceof KontrolError) || error.status >= 500) throw error;
      return error.problems[0]?.message ?? error.message;
    }
  }
}

/** Hosts are given back first, then things return before those that name them, then they go after those. */
function place({ kind, doc }: Change): number {
  const order = KINDS.indexOf(kind);
  if (doc !== null) return order;
  return kind === 'domain' || kind === 'listener' ? -1 : 100 - order;
}

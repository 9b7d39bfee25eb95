/**
 * The one way objects change: a queue that decides each change against the newest state, appends it as a revision,
 * and tells the nodes. Whoever loses a number to another API process reads what was written, decides again, and
 * tries the next number. Callers get an answer within five seconds, whatever the store does; of a change of thousands
 * of objects as much later as it is large.
 */
import { randomUUID } from 'node:crypto';
import type { Bus, UpdateHint } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Change, Revision } from '../../shared/model/revision.ts';
import type { Store } from '../../shared/store/contract.ts';
import type { Effect } from '../lint/effect.ts';
import { effectOf } from '../lint/effect.ts';
import { lint } from '../lint/lint.ts';
import type { KindRules } from '../resources/kind-rules.ts';
import { Turns } from '../turns.ts';
import type { Confirmations } from './confirmations.ts';
import { type Difference, difference, effectiveChanges } from './difference.ts';
import type { Present } from './present.ts';
import { Projector } from './projector.ts';
import { type Locate, validateChanges, type Warning } from './validation.ts';
import { type Doc, Draft, type View } from './view.ts';

/** A change that is wanted. `decide` may run several times, each time against a newer state. */
export interface Intent {
  readonly author: string;
  readonly message: string;
  /**
   * The documents as they shall be, in long form; those that are so already are left out by the writer. Throws what
   * the caller is told (`not_found`, `precondition_failed`, `invalid`).
   */
  decide(view: View): readonly Change[] | Promise<readonly Change[]>;
  /** How many objects it is about; default one. Its time grows with them. */
  readonly objects?: number;
  /** Writes what is so already too: for state that is not in the log yet. */
  readonly writeUnchanged?: boolean;
  /** The change is undone unless it is confirmed within this many milliseconds. */
  readonly confirmWithinMs?: number | undefined;
  /** The address of whoever makes the change, to warn them before they lock themselves out. */
  readonly address?: string | undefined;
  /** Number of the unconfirmed revision that this change undoes. */
  readonly undoes?: number;
  /** Where an object stands in the request, for the paths of problems; default at its top. */
  readonly locate?: Locate;
}

export interface Outcome {
  /** The revision written, or the newest one when nothing was to be changed. */
  readonly seq: number;
  readonly written: boolean;
  /** Until when it must be confirmed, in milliseconds since 1970; null when it need not. */
  readonly confirmUntil: number | null;
  readonly changes: readonly Change[];
  /** Every object that the change named, those included that were so already. */
  readonly subjects: readonly Pick<Change, 'kind' | 'name'>[];
  /** Field by field. Computed when asked. */
  differences(): readonly Difference[];
  readonly warnings: readonly Warning[];
  /** Whom it would concern; null unless it is a dry run. */
  readonly effect: Effect | null;
  /** When the writer began to append, on the monotonic clock. */
  readonly began: number;
}

/** A caller waits at most this long for its change, and for each object of it so much longer. */
const DEADLINE_MS = 4_700;
const PER_OBJECT_MS = 3;
/** The documents usually follow at once; a slow projection does not hold up an answer longer than this. */
const PROJECTION_PATIENCE_MS = 300;
const MAX_WAITING = 2_000;

interface Job {
  readonly intent: Intent;
  readonly dryRun: boolean;
  /** From `appending` on a late answer cannot say that nothing was written. */
  stage: 'waiting' | 'appending' | 'written';
  settled: boolean;
  resolve(outcome: Outcome): void;
  reject(error: unknown): void;
}

export interface WriterOptions {
  readonly store: Store;
  readonly bus: Bus;
  readonly present: Present;
  readonly clock: Clock;
  readonly log: Log;
  readonly rules: (kind: Kind) => KindRules;
  readonly confirmations: Pick<Confirmations, 'open' | 'withdraw'>;
  /** Warnings that take asking others; for dry runs. */
  readonly inquire?: (draft: View, changes: readonly Change[]) => Promise<readonly Warning[]>;
}

export class Writer {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #present: Present;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #rules: (kind: Kind) => KindRules;
  readonly #confirmations: WriterOptions['confirmations'];
  readonly #inquire: NonNullable<WriterOptions['inquire']>;
  readonly #projector: Projector;
  readonly #queue: Job[] = [];
  #current: Job | null = null;
  #running = false;
  #closed = false;
  /** Revisions appended by this process. */
  written = 0;

  constructor(options: WriterOptions) {
    this.#store = options.store;
    this.#bus = options.bus;
    this.#present = options.present;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#rules = options.rules;
    this.#confirmations = options.confirmations;
    this.#inquire = options.inquire ?? (() => Promise.resolve([]));
    this.#projector = new Projector(options.store, options.clock, options.log);
  }

  /** Makes a change. Rejects with KontrolError; `store_unavailable` when nothing was written. */
  submit(intent: Intent, dryRun = false): Promise<Outcome> {
    if (this.#closed || this.#queue.length >= MAX_WAITING) {
      return Promise.reject(
        new KontrolError('store_unavailable', 'Too many changes wait for the store; try again in a moment'),
      );
    }
    return new Promise((resolve, reject) => {
      const job: Job = {
        intent,
        dryRun,
        stage: 'waiting',
        settled: false,
        resolve: (outcome) => settle(() => resolve(outcome)),
        reject: (error) => settle(() => reject(error)),
      };
      const deadline = DEADLINE_MS + PER_OBJECT_MS * Math.max(0, (intent.objects ?? 1) - 1);
      const cancel = this.#clock.after(deadline, () => {
        if (job.stage === 'waiting') job.reject(new KontrolError('store_unavailable'));
        else if (job.stage === 'appending') job.reject(new KontrolError('outcome_unknown'));
      });
      const settle = (tell: () => void) => {
        if (job.settled) return;
        job.settled = true;
        cancel();
        tell();
      };
      this.#queue.push(job);
      void this.#run();
    });
  }

  /** Brings the documents up to the newest revision known, if another process left them behind. */
  repairProjection(revision: Revision): void {
    this.#projector.repair(revision);
  }

  close(): void {
    this.#closed = true;
    this.#projector.close();
    if (this.#current?.stage === 'waiting') this.#current.reject(new KontrolError('store_unavailable'));
    for (const job of this.#queue.splice(0)) job.reject(new KontrolError('store_unavailable'));
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      if (job.settled) continue;
      this.#current = job;
      try {
        await this.#perform(job);
      } catch (error) {
        job.reject(error);
        // Everyone who waits would get the same answer, seconds later each.
        if (isAway(error)) for (const other of this.#queue.splice(0)) other.reject(error);
      }
    }
    this.#current = null;
    this.#running = false;
  }

  /**
   * Decides on what is known and appends: a number that is still free proves that nothing newer was missed. A
   * refusal, or that nothing is to be done, holds only against a state that was read after the change was asked for.
   */
  async #perform(job: Job): Promise<void> {
    let fresh = false;
    while (!job.settled) {
      // A dry run ends with what is fresh in any case: deciding twice would be for nothing.
      if (!fresh && (job.dryRun || !this.#present.loaded)) {
        await this.#present.catchUp();
        fresh = true;
      }
      const plan = await this.#plan(job).catch((error: unknown) => {
        if (fresh) throw error;
        return null;
      });
      const idle = plan !== null && (plan.changes.length === 0 || job.dryRun);
      if (plan !== null && !idle) {
        if (await this.#append(job, plan)) return;
      } else if (plan !== null && fresh) {
        job.resolve(outcomeOf(plan, this.#present.seq, null));
        return;
      }
      if (!job.settled) await this.#present.catchUp();
      fresh = true;
    }
  }

  /** What the change would write. Should the state move on while it is decided, its number is taken by then. */
  async #plan(job: Job): Promise<Plan> {
    const head = this.#present.head();
    const view = this.#present.state;
    const turns = new Turns();
    const wanted = await job.intent.decide(view);
    await turns.give();
    const changes = job.intent.writeUnchanged === true ? wanted : effectiveChanges(view, wanted);
    const locate = job.intent.locate ?? atTop;
    const draft = new Draft(view, changes);
    await turns.give();
    const warnings = validateChanges(draft, changes, this.#rules, locate);
    await turns.give();
    warnings.push(...lint(draft, changes, job.intent.address ?? null, this.#clock.now(), view));
    await turns.give();
    const before = changes.map(({ kind, name }) => view.get(kind, name)?.doc ?? null);
    const effect = job.dryRun ? effectOf(view, draft, changes) : null;
    if (job.dryRun) warnings.push(...(await this.#inquire(draft, changes)));
    return { head, changes, subjects: wanted, before, warnings, effect, began: this.#clock.monotonic() };
  }

  /** True when the revision is in the log; then this process and the nodes know it too. */
  async #append(job: Job, plan: Plan): Promise<boolean> {
    const revision = this.#revision(job.intent, plan);
    const asks = revision.confirmWithinMs !== undefined;
    if (asks) await this.#confirmations.open(revision);
    if (job.settled) {
      if (asks) void this.#confirmations.withdraw(revision.id);
      return true;
    }
    job.stage = 'appending';
    if ((await this.#store.append(revision)) === 'taken') {
      if (asks) void this.#confirmations.withdraw(revision.id);
      job.stage = 'waiting';
      return false;
    }
    job.stage = 'written';
    this.written++;
    this.#present.appended(revision);
    this.#bus.publish('updateProxy', { seq: revision.seq } satisfies UpdateHint);
    const { seq, author, changes } = revision;
    this.#log.info('revision_written', `${author}: ${changes.length} object(s)`, { seq, author });
    const outcome = outcomeOf(plan, seq, revision);
    void this.#projector.project(revision, PROJECTION_PATIENCE_MS).then(() => job.resolve(outcome));
    return true;
  }

  #revision(intent: Intent, { head, changes, before }: Plan): Revision {
    const { author, message, confirmWithinMs, undoes } = intent;
    return {
      seq: head.seq + 1,
      id: randomUUID(),
      previous: head.id,
      store: head.store,
      at: this.#clock.now(),
      author,
      message,
      changes: changes.map(({ kind, name, doc }, index) => {
        const created = doc !== null && before[index] === null;
        return { kind, name, doc, ...(created ? { created } : {}) };
      }),
      ...(confirmWithinMs === undefined ? {} : { confirmWithinMs }),
      ...(undoes === undefined ? {} : { undoes }),
    };
  }
}

/** A change that was decided and validated against one state. */
interface Plan {
  readonly head: ReturnType<Present['head']>;
  readonly changes: readonly Change[];
  readonly subjects: Outcome['subjects'];
  /** The documents that the changes replace; null for what is not there. */
  readonly before: readonly (Doc | null)[];
  readonly warnings: readonly Warning[];
  /** Null unless it is a dry run. */
  readonly effect: Effect | null;
  readonly began: number;
}

/** `revision` is null when nothing was written. */
function outcomeOf(plan: Plan, seq: number, revision: Revision | null): Outcome {
  const { changes, subjects, before, warnings, effect, began } = plan;
  const differences = () => changes.map((change, index) => difference(change, before[index] ?? null));
  const confirmUntil =
    revision?.confirmWithinMs === undefined ? null : revision.at + revision.confirmWithinMs;
  const written = revision !== null;
  return { seq, written, confirmUntil, changes, subjects, differences, warnings, effect, began };
}

function isAway(error: unknown): boolean {
  return error instanceof KontrolError && error.code === 'store_unavailable';
}

function atTop(): string {
  return '';
}

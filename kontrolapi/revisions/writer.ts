/**
 * The one way objects change: a queue that decides each change against the newest state, appends it as a revision,
 * and tells the nodes. Whoever loses a number to another API process reads what was written, decides again, and
 * tries the next number. Callers get an answer within five seconds, whatever the store does.
 */
import { randomUUID } from 'node:crypto';
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Change, Revision } from '../../shared/model/revision.ts';
import type { Store } from '../../shared/store/contract.ts';
import type { KindRules } from '../resources/kind-rules.ts';
import { within } from '../within.ts';
import { type Difference, describe, difference, effectiveChanges } from './difference.ts';
import type { Present } from './present.ts';
import { Projector } from './projector.ts';
import { type Locate, validateChanges, type Warning } from './validation.ts';
import { Draft, type View } from './view.ts';

/** A change that is wanted. `decide` may run several times, each time against a newer state. */
export interface Intent {
  readonly author: string;
  readonly message: string;
  /**
   * The documents as they shall be, in long form; those that are so already are left out by the writer. Throws what
   * the caller is told (`not_found`, `precondition_failed`, `invalid`).
   */
  decide(view: View): readonly Change[] | Promise<readonly Change[]>;
  /** Writes what is so already too: for state that is not in the log yet. */
  readonly writeUnchanged?: boolean;
  /** Where an object stands in the request, for the paths of problems; default at its top. */
  readonly locate?: Locate;
}

export interface Outcome {
  /** The revision written, or the newest one when nothing was to be changed. */
  readonly seq: number;
  readonly written: boolean;
  readonly changes: readonly Change[];
  /** Field by field. Computed when asked. */
  differences(): readonly Difference[];
  readonly warnings: readonly Warning[];
  /** When the writer began to append, on the monotonic clock. */
  readonly began: number;
}

/** A caller waits at most this long for its change. */
const DEADLINE_MS = 4_700;
/** The documents usually follow at once; a slow projection does not hold up an answer longer than this. */
const PROJECTION_PATIENCE_MS = 300;
const KNOWN_PATIENCE_MS = 500;
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
}

export class Writer {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #present: Present;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #rules: (kind: Kind) => KindRules;
  readonly #projector: Projector;
  readonly #queue: Job[] = [];
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
      const cancel = this.#clock.after(DEADLINE_MS, () => {
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
    void this.#projector.project(revision, PROJECTION_PATIENCE_MS);
  }

  close(): void {
    this.#closed = true;
    this.#projector.close();
    for (const job of this.#queue.splice(0)) job.reject(new KontrolError('store_unavailable'));
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (this.#queue.length > 0) {
      try {
        await this.#present.catchUp();
      } catch (error) {
        // Everyone who waits would get the same answer, five seconds later each.
        for (const job of this.#queue.splice(0)) job.reject(error);
        break;
      }
      // What arrives meanwhile waits for the next look at the head.
      for (const job of this.#queue.splice(0)) {
        if (!job.settled) await this.#perform(job).catch((error: unknown) => job.reject(error));
      }
    }
    this.#running = false;
  }

  async #perform(job: Job): Promise<void> {
    while (!job.settled) {
      const view = this.#present.state;
      const wanted = await job.intent.decide(view);
      const changes = job.intent.writeUnchanged === true ? wanted : effectiveChanges(view, wanted);
      const warnings = validateChanges(
        new Draft(view, changes),
        changes,
        this.#rules,
        job.intent.locate ?? atTop,
      );
      const began = this.#clock.monotonic();
      if (changes.length === 0 || job.dryRun) {
        const differences = describe(view, changes);
        const seq = this.#present.seq;
        job.resolve({ seq, written: false, changes, differences: () => differences, warnings, began });
        return;
      }
      const before = changes.map(({ kind, name }) => view.get(kind, name)?.doc ?? null);
      const revision = this.#revision(job.intent, changes);
      if (!(await this.#append(job, revision))) {
        await this.#present.catchUp();
        continue;
      }
      this.written++;
      const outcome: Outcome = {
        seq: revision.seq,
        written: true,
        changes,
        differences: () => changes.map((change, index) => difference(change, before[index] ?? null)),
        warnings,
        began,
      };
      this.#log.info('revision_written', `${revision.author}: ${changes.length} object(s)`, {
        seq: revision.seq,
        author: revision.author,
      });
      void this.#projector.project(revision, PROJECTION_PATIENCE_MS).then(() => job.resolve(outcome));
      return;
    }
  }

  /** True when the revision is in the log; then this process and the nodes know it too. */
  async #append(job: Job, revision: Revision): Promise<boolean> {
    job.stage = 'appending';
    if ((await this.#store.append(revision)) === 'taken') {
      job.stage = 'waiting';
      return false;
    }
    job.stage = 'written';
    this.#bus.publish('updateProxy', { seq: revision.seq });
    // The revision stands; should the store be gone right now, the next change begins with a catch-up.
    await within(this.#present.catchUp(), KNOWN_PATIENCE_MS, this.#clock).catch(() => {});
    return true;
  }

  #revision(intent: Intent, changes: readonly Change[]): Revision {
    const { seq, id, store } = this.#present.head();
    return {
      seq: seq + 1,
      id: randomUUID(),
      previous: id,
      store,
      at: this.#clock.now(),
      author: intent.author,
      message: intent.message,
      changes: changes.map(({ kind, name, doc }) => {
        const created = doc !== null && this.#present.state.get(kind, name) === undefined;
        return { kind, name, doc, ...(created ? { created } : {}) };
      }),
    };
  }
}

function atTop(): string {
  return '';
}

/**
 * A visitor's share of an answer that others may get, too: it waits for the answer under way (`flight.ts`), reads it
 * or a stored one at the visitor's own pace, or is the one who gets an answer that turns out to be for one alone.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { AnswerSource, Asker } from '../http1/answer-source.ts';
import type { BackendNotes } from '../http1/journal.ts';
import type { PageOptions } from '../http1/own-answer.ts';
import { ReaderPace } from '../http1/reader-pace.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import type { CacheOutcome, EndedBy, Phase } from '../observe/record.ts';
import type { Environment } from '../serving/environment.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import type { KeptBody } from './body.ts';
import { isNotModified, rangeOf } from './conditions.ts';
import { KeptHead } from './kept-head.ts';
import type { Plan } from './plan.ts';

/** What brings its answer: a request for several (`flight.ts`) or for it alone (`alone.ts`). */
export interface Carrier {
  readonly phase: Phase;
  /** The visitor takes more. */
  drained(): void;
  /** The reader needs it no more. */
  left(reader: Reader): void;
}

export interface Pins {
  pin(): void;
  unpin(): void;
}

/** An answer to read: stored, or under way. `length` is -1 while it is not known. */
export interface Readable {
  /** Told while a slow visitor keeps its memory; null while it is not stored. */
  readonly pins: Pins | null;
  readonly head: KeptHead;
  readonly body: KeptBody;
  readonly length: number;
}

/** How an answer is shown to the visitor: `ageSeconds` null adds no Age, an empty `cacheStatus` no Cache-Status. */
export interface Shown {
  readonly ageSeconds: number | null;
  readonly cacheStatus: string;
  readonly outcome: CacheOutcome;
}

/** Handed on at once; a slow visitor is written to in such pieces. */
const PIECE = 65_536;

/** Who finds its answer. */
export interface AnswerFinder {
  begin(reader: Reader): void;
}

export class Reader implements AnswerSource, Timed {
  timerDue = 0;
  timerQueued = false;
  readonly asker: Asker;
  readonly plan: Plan;
  outcome: CacheOutcome | null = null;
  /** For a head that is handed on as it came. */
  cacheStatus: string | null = null;
  notes: BackendNotes | null = null;
  /** How often it waited for an answer that it could not have. */
  attempts = 0;
  readonly #finder: AnswerFinder;
  readonly #environment: Environment;
  #carrier: Carrier | null = null;
  #answer: Readable | null = null;
  #position = 0;
  #end = Number.POSITIVE_INFINITY;
  #began = false;
  #over = false;
  readonly #pace = new ReaderPace();
  #pinned: Pins | null = null;

  /** `finder` is asked when the exchange is ready for an answer. */
  constructor(environment: Environment, asker: Asker, plan: Plan, finder: AnswerFinder) {
    this.#environment = environment;
    this.asker = asker;
    this.plan = plan;
    this.#finder = finder;
  }

  /** Bytes of the body that it has taken. */
  get position(): number {
    return this.#position;
  }
  /** A head went to the visitor. */
  get began(): boolean {
    return this.#began;
  }
  /** The visitor has its answer, or left. */
  get over(): boolean {
    return this.#over;
  }

  // From the exchange.

  start(): void {
    this.#finder.begin(this);
  }

  requestBody(): void {}
  requestEnd(): void {}
  flush(): void {}

  get phase(): Phase {
    return this.#carrier === null ? 'queue' : this.#carrier.phase;
  }

  clientDrained(): void {
    if (this.#over) return;
    if (this.#answer === null) {
      this.#carrier?.drained();
      return;
    }
    if (!this.#pace.unblock()) return;
    this.#environment.timers.clear(this);
    this.pump();
    this.#carrier?.drained();
  }

  abandon(): void {
    this.#leave();
  }

  onTimeout(): void {
    if (!this.#pace.blocked || this.#over) return;
    if (this.#pace.moved(this.asker.pendingBytes)) this.#awaitVisitor();
    else this.asker.onBroken('client_gone', 'client');
  }

  // From what brings its answer.

  joined(carrier: Carrier): void {
    this.#carrier = carrier;
  }

  /** That goes on without it. */
  left(): void {
    this.#carrier = null;
  }

  /** The answer is this visitor's alone: its head goes on as it came. */
  direct(cacheStatus: string | null, outcome: CacheOutcome | null): void {
    this.#began = true;
    this.cacheStatus = cacheStatus;
    this.outcome = outcome;
  }

  /** The answer was handed on directly and is complete. */
  done(): void {
    this.#leave();
    this.asker.onDone();
  }

  /** Begins to read. */
  read(answer: Readable, shown: Shown): void {
    if (this.#over) return;
    const { asker, plan } = this;
    this.outcome = shown.outcome;
    this.#began = true;
    try {
      this.#answer = answer;
      const head = this.#headOf(answer, shown);
      const length = this.#end - this.#position;
      const framing = length === 0 ? 'none' : Number.isFinite(length) ? 'length' : 'close';
      asker.onHead(head, plan.headOnly ? 'none' : framing);
      this.pump();
      if (!this.#over) asker.flushAnswer();
    } catch (error) {
      asker.onException(error);
    }
  }

  /** It gets an answer as it is: no condition, range or method of it asks for less. */
  get takesAll(): boolean {
    const { headOnly, conditions, range } = this.plan;
    return !headOnly && conditions === null && range === undefined;
  }

  /**
   * Begins to read an answer of known length whose head came just now and is handed on as it came. Its end comes by
   * `pump`, in a later call.
   */
  readArriving(answer: Readable, head: ResponseHead, { cacheStatus, outcome }: Shown): void {
    const { asker } = this;
    this.outcome = outcome;
    this.cacheStatus = cacheStatus === '' ? null : cacheStatus;
    this.#began = true;
    try {
      this.#answer = answer;
      this.#end = answer.length;
      asker.onHead(head, 'length');
      if (this.#handOn(answer.body) && this.#position === 0) asker.flushAnswer();
    } catch (error) {
      asker.onException(error);
    }
  }

  /** Hands on what is there, as far as the visitor takes it, and ends with the answer. */
  pump(): void {
    if (this.#answer === null || this.#over || this.#pace.blocked) return;
    const { body } = this.#answer;
    try {
      if (this.#handOn(body) && !this.#over && this.#isComplete(body)) this.#complete();
    } catch (error) {
      this.asker.onException(error);
    }
  }

  /** False when the visitor takes no more for now. */
  #handOn(body: KeptBody): boolean {
    const { asker } = this;
    for (;;) {
      const until = Math.min(body.end, this.#end);
      if (this.#position >= until || this.#over) return true;
      const size = Math.min(PIECE, until - this.#position);
      const piece = body.from(this.#position, this.#position + size);
      this.#position += size;
      asker.onBody(piece, 0, size);
      if (asker.flushAnswer() || this.#over) continue;
      if (this.#isComplete(body)) return true;
      if (this.#pace.block(asker.pendingBytes)) this.#awaitVisitor();
      return false;
    }
  }

  /** There is no answer for it. */
  unanswered(cause: CauseCode, phase: Phase, endedBy: EndedBy, options?: PageOptions): void {
    if (this.#over) return;
    this.#leave();
    this.asker.onUnanswered(cause, phase, endedBy, options);
  }

  /** The answer will not be complete. */
  broken(cause: CauseCode, endedBy: EndedBy): void {
    if (this.#over) return;
    const { began } = this;
    this.#leave();
    if (began) this.asker.onBroken(cause, endedBy);
    else this.asker.onUnanswered(cause, 'response', endedBy);
  }

  // Inside.

  #isComplete(body: KeptBody): boolean {
    return this.#position >= this.#end || (body.complete && this.#position >= body.end);
  }

  #complete(): void {
    this.asker.onBodyEnd();
    this.#leave();
    this.asker.onDone();
  }

  /** The head that the request gets, and which bytes follow it. */
  #headOf({ head, body, length }: Readable, { ageSeconds, cacheStatus }: Shown): ResponseHead {
    const { plan } = this;
    this.#end = plan.headOnly || head.status === 204 || head.status === 304 ? 0 : length;
    if (length < 0 && this.#end !== 0) this.#end = Number.POSITIVE_INFINITY;
    if (plan.conditions !== null && isNotModified(head, plan.conditions)) {
      this.#end = 0;
      return head.notModified(ageSeconds, cacheStatus);
    }
    if (plan.range !== undefined && head.status === 200 && body.complete) {
      const range = rangeOf(plan.range, length);
      if (range === 'outside') {
        this.#end = 0;
        return KeptHead.unsatisfiable(length, cacheStatus);
      }
      if (range !== null) {
        this.#position = range.first;
        this.#end = range.last + 1;
        return head.part(range.first, range.last, length, ageSeconds, cacheStatus);
      }
    }
    return head.answer(length, ageSeconds, cacheStatus);
  }

  #awaitVisitor(): void {
    if (this.#pinned === null) {
      this.#pinned = this.#answer?.pins ?? null;
      this.#pinned?.pin();
    }
    this.#environment.timers.set(this, this.asker.decision.service.config.timeouts.idleMs);
  }

  #leave(): void {
    if (this.#over) return;
    this.#over = true;
    this.#environment.timers.remove(this);
    this.#pinned?.unpin();
    this.#pinned = null;
    const carrier = this.#carrier;
    this.#carrier = null;
    carrier?.left(this);
  }
}

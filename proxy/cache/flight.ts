/**
 * One request to a backend whose answer several visitors may get. They wait together; when the head comes it decides:
 * the answer is for all of them, or for the one whose request it was, and the others go on without. Its body is kept
 * while there are readers, so that each may take it at its own pace; how much is kept is bounded, and the backend is
 * never held back by a slow visitor while another one waits.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { AnswerReceiver } from '../http1/answer-source.ts';
import type { FieldLines } from '../http1/field-lines.ts';
import { requestOutbox } from '../http1/outbox.ts';
import type { PageOptions } from '../http1/own-answer.ts';
import type { ResponseFraming, ResponseHead } from '../http1/response-head.ts';
import { UpstreamRequest } from '../http1/upstream-request.ts';
import { logFailure } from '../observe/failure.ts';
import type { EndedBy, Phase } from '../observe/record.ts';
import type { Environment } from '../serving/environment.ts';
import { KeptBody } from './body.ts';
import type { SharedRequest } from './copied-request.ts';
import { HeadInPlace } from './head-in-place.ts';
import { KeptHead } from './kept-head.ts';
import type { Plan } from './plan.ts';
import type { Carrier, Pins, Readable, Reader } from './reader.ts';
import { Renewal } from './renewal.ts';
import { type AnswerHead, isShareable, isStream, servesError, type Terms, termsOf, useOf } from './rules.ts';
import type { ServiceAnswers } from './service-answers.ts';
import { type Selecting, StoredAnswer, selectingOf, selects } from './store.ts';

/** A longer answer that is not stored is for one visitor. */
export const MAX_SHARED = 1_048_576;
/** An answer longer than this part of the cache is not stored. */
const LARGEST_PART = 8;
/** A lone reader may be this far behind its backend. */
const MAX_BEHIND = 65_536;
const ERRORS: ReadonlySet<number> = new Set([500, 502, 503, 504]);

/**
 * `waiting` for the head; `shared`: read by all; `followed`: too long for that, read by one; `direct`: handed on to
 * one as it comes; `renewing`: the backend says that the stored answer is still good.
 */
type Mode = 'waiting' | 'shared' | 'followed' | 'direct' | 'renewing' | 'over';

export class Flight implements AnswerReceiver, Carrier {
  readonly plan: Plan;
  readonly #environment: Environment;
  readonly #service: ServiceAnswers;
  readonly #request: SharedRequest;
  /** The stored answer that is asked for anew. */
  readonly #kept: StoredAnswer | null;
  readonly #upstream: UpstreamRequest;
  readonly #readers = new Set<Reader>();
  /** The visitor whose request is sent; null once it has left, or when the answer is renewed for nobody. */
  #leader: Reader | null;
  #mode: Mode = 'waiting';
  #answer: (Readable & { length: number; pins: Pins | null }) | null = null;
  /** The head of the answer as it came, within the event that brought it. */
  #arriving: ResponseHead | null = null;
  #terms: Terms | null = null;
  #selecting: Selecting = [];
  #renewal: Renewal | null = null;
  /** The stored answer was purged or overtaken meanwhile: what comes is not stored. */
  #forgotten = false;
  #taken = 0;
  readonly #requestAt: number;
  #responseAt = 0;
  /** The same, monotonic. */
  #receivedAt = 0;
  /** Why a backend is asked (RFC 9211 §2.2). */
  readonly #reason: string;

  constructor(
    environment: Environment,
    service: ServiceAnswers,
    request: SharedRequest,
    plan: Plan,
    leader: Reader | null,
    kept: StoredAnswer | null,
  ) {
    this.plan = plan;
    this.#environment = environment;
    this.#service = service;
    this.#request = request;
    this.#kept = kept;
    this.#leader = leader;
    this.#upstream = new UpstreamRequest(environment, request, this);
    this.#requestAt = environment.clock.now();
    this.#reason = service.reasonFor(plan, request.view, kept);
    if (leader !== null) {
      this.#readers.add(leader);
      leader.joined(this);
      leader.notes = this.#upstream.notes;
    }
  }

  start(): void {
    if (this.#kept !== null) this.#kept.refreshing = true;
    try {
      this.#upstream.start();
      this.#upstream.flush();
    } catch (error) {
      this.onException(error);
    }
  }

  get phase(): Phase {
    return this.#upstream.phase;
  }

  get size(): number {
    return this.#readers.size;
  }

  /** What is under way is not to be stored: it may be older than what made it invalid. Nobody joins any more. */
  forget(): void {
    this.#forgotten = true;
    this.#terms = null;
    this.#service.landed(this);
  }

  /** Whether the answer, as far as it is known, is for this visitor, too. */
  takes(reader: Reader): boolean {
    if (this.#mode === 'waiting') return true;
    if (this.#mode !== 'shared' || this.#terms === null) return false;
    const use = useOf(this.#terms, this.#terms.initialAgeMs, reader.plan.asked);
    return use === 'fresh' && selects(this.#selecting, reader.asker.view);
  }

  join(reader: Reader): void {
    this.#readers.add(reader);
    reader.joined(this);
    if (this.#mode === 'shared') this.#serve(reader);
  }

  // From the readers.

  left(reader: Reader): void {
    this.#readers.delete(reader);
    const led = this.#leader === reader;
    if (led) this.#leader = null;
    if (this.#readers.size === 0) {
      this.#giveBack();
      if (this.#mode === 'over') return;
      if (!this.#goesOn) {
        this.#end();
        return;
      }
    }
    // From its head on an answer needs nothing of the request.
    if (led && this.#mode === 'waiting' && !this.#request.copy()) this.onBroken('internal', 'proxy');
  }

  /** The visitor who is followed, or gets the answer directly, takes more. */
  drained(): void {
    if (this.#mode === 'direct') this.#upstream.clientDrained();
    else if (this.#mode === 'followed' && this.#isNear()) this.#upstream.clientDrained();
  }

  // From the request to the backend.

  get pendingBytes(): number {
    const reader = this.#first();
    if (reader === undefined) return 0;
    const behind = this.#mode === 'followed' ? (this.#answer?.body.end ?? 0) - reader.position : 0;
    return reader.asker.pendingBytes + behind;
  }

  onInformational(head: ResponseHead): boolean {
    return this.#leader?.asker.onInformational(head) ?? false;
  }

  onSwitch(): void {
    throw new Error('a request that is shared never asks for an upgrade');
  }

  onHead(head: ResponseHead, framing: ResponseFraming): boolean {
    const { clock } = this.#environment;
    const kept = this.#kept;
    if (kept !== null && ERRORS.has(head.status) && this.#standIn()) return false;
    this.#responseAt = clock.now();
    this.#receivedAt = clock.monotonic();
    if (kept !== null && head.status === 304) {
      this.#mode = 'renewing';
      const says = KeptHead.of(head, this.#responseAt);
      this.#renewal = new Renewal(kept, says, this.#request.view, `kontrol; fwd=${this.#reason}`);
      return false;
    }
    const answer = new HeadInPlace(head, this.#responseAt);
    const length =
      framing === 'none' && !this.plan.headOnly ? 0 : framing === 'chunked' ? -1 : head.contentLength;
    const bodyLength = this.plan.headOnly ? 0 : length;
    const shareable = isShareable(answer) && !isStream(answer);
    this.#terms = shareable && framing !== 'close' ? this.#termsOf(answer) : null;
    // What the backend cannot answer now may still be good later.
    if (kept !== null && this.#terms === null && head.status < 500) this.#service.store?.remove(kept);
    if (!shareable || bodyLength > this.#limit || !this.#take(Math.max(0, bodyLength))) {
      this.#releaseAll();
      return this.#goDirect(head, framing);
    }
    this.#selecting = selectingOf(answer, this.#request.view);
    this.#regroup();
    if (this.#terms === null) {
      this.#service.landed(this);
      if (this.#readers.size === 0 || (this.#readers.size === 1 && this.#leader !== null)) {
        return this.#goDirect(head, framing);
      }
    }
    this.#mode = 'shared';
    this.#answer = { head: KeptHead.of(head, this.#responseAt), body: new KeptBody(), length, pins: null };
    if (bodyLength > 0) {
      this.#answer.body.reserve(bodyLength);
      if (framing === 'length' && this.#leader?.takesAll === true) this.#arriving = head;
    }
    return false;
  }

  onBody(buffer: Buffer, start: number, end: number): void {
    if (this.#mode === 'direct') {
      this.#leader?.asker.onBody(buffer, start, end);
      return;
    }
    const answer = this.#answer;
    if (answer === null) return;
    if (this.#mode === 'shared' && answer.length < 0) {
      const size = end - start;
      if (answer.body.end + size > this.#limit || !this.#take(size)) this.#outgrow();
      // Nobody may be left.
      if ((this.#mode as Mode) === 'over') return;
    }
    answer.body.append(buffer, start, end);
  }

  onTrailers(fields: FieldLines): void {
    if (this.#mode === 'direct') this.#leader?.asker.onTrailers?.(fields);
  }

  flushAnswer(): boolean {
    if (this.#mode === 'direct') return this.#leader?.asker.flushAnswer() ?? true;
    if (this.#mode !== 'shared' && this.#mode !== 'followed') return true;
    this.#serveLeader();
    this.#serveAll();
    return this.#mode !== 'followed' || this.#isNear();
  }

  onBodyEnd(): void {
    if (this.#mode === 'direct') {
      this.#leader?.asker.onBodyEnd();
      return;
    }
    this.#service.landed(this);
    // Before the connection, and with it the head, may serve another request.
    this.#serveLeader();
    const answer = this.#answer;
    if (answer === null) return;
    answer.body.finish();
    if (answer.length < 0 && this.#mode === 'shared' && !this.plan.headOnly) answer.length = answer.body.end;
    if (this.#terms === null) return;
    answer.pins = this.#keep(answer, this.#terms);
    // From here on the store counts it.
    if (answer.pins !== null) this.#giveBack();
  }

  onDone(): void {
    const mode = this.#mode;
    const leader = this.#leader;
    if (mode === 'direct') {
      this.#end();
      leader?.done();
      return;
    }
    this.#mode = 'over';
    this.#service.ended(this);
    if (this.#kept !== null) this.#kept.refreshing = false;
    this.#upstream.close();
    if (mode === 'renewing') this.#renew();
    else this.#serveAll();
    if (this.#readers.size === 0) this.#giveBack();
  }

  onUnanswered(cause: CauseCode, phase: Phase, endedBy: EndedBy, options?: PageOptions): void {
    if (this.#standIn()) return;
    for (const reader of this.#endForAll()) reader.unanswered(cause, phase, endedBy, options);
  }

  onBroken(cause: CauseCode, endedBy: EndedBy): void {
    for (const reader of this.#endForAll()) reader.broken(cause, endedBy);
  }

  pauseBody(): void {}
  resumeBody(): void {}

  onException(error: unknown): void {
    logFailure(this.#environment.log, error, this.#request.requestId);
    // What was being composed is sent by nobody.
    requestOutbox.begin(0);
    for (const reader of this.#endForAll()) {
      if (reader.began) reader.broken('internal', 'proxy');
      else reader.unanswered('internal', 'wait', 'proxy');
    }
  }

  // Inside.

  get #limit(): number {
    const { cache } = this.#service.config;
    return this.#terms === null || cache === null
      ? MAX_SHARED
      : Math.max(MAX_SHARED, cache.size / LARGEST_PART);
  }

  #termsOf(answer: AnswerHead): Terms | null {
    const { cache } = this.#service.config;
    if (cache === null || !this.plan.caches || this.plan.headOnly || this.#forgotten) return null;
    const times = { requestAt: this.#requestAt, responseAt: this.#responseAt };
    return termsOf(answer, this.plan.asked, times, cache);
  }

  /** Without readers: what renews a stored answer, or will be stored, is worth its rest. */
  get #goesOn(): boolean {
    if (this.#mode === 'waiting') return this.#kept !== null;
    return this.#mode === 'renewing' || (this.#mode === 'shared' && this.#terms !== null);
  }

  /** The answer is the leader's alone, who gets it as it comes. */
  #goDirect(head: ResponseHead, framing: ResponseFraming): boolean {
    const leader = this.#leader;
    this.#terms = null;
    this.#service.ended(this);
    if (leader === null) {
      this.#end();
      return false;
    }
    this.#mode = 'direct';
    leader.direct(this.plan.caches ? `kontrol; fwd=${this.#reason}` : null, this.plan.caches ? 'miss' : null);
    return leader.asker.onHead(head, framing);
  }

  /** All but the leader go on without this answer. */
  #releaseAll(): void {
    this.#service.unshareable(this.plan, this.#environment.clock.monotonic());
    for (const reader of [...this.#readers]) if (reader !== this.#leader) this.#release(reader);
  }

  #release(reader: Reader): void {
    this.#readers.delete(reader);
    if (this.#leader === reader) this.#leader = null;
    reader.left();
    this.#service.alone(reader);
  }

  /** Those for whom the answer is not, because `Vary` names a field in which they differ, try again together. */
  #regroup(): void {
    if (this.#selecting.length === 0) return;
    const others = [...this.#readers].filter(
      (reader) => reader !== this.#leader && !selects(this.#selecting, reader.asker.view),
    );
    if (others.length === 0) return;
    this.#service.landed(this);
    for (const reader of others) {
      this.#readers.delete(reader);
      reader.left();
    }
    for (const reader of others) this.#service.again(reader);
  }

  /** It became too long to be kept for all. Only one visitor has begun to read it; the others are free to go. */
  #outgrow(): void {
    const first = this.#first();
    this.#terms = null;
    this.#service.landed(this);
    this.#service.unshareable(this.plan, this.#environment.clock.monotonic());
    this.#mode = 'followed';
    for (const reader of [...this.#readers]) if (reader !== first) this.#release(reader);
    if (first === undefined) this.#end();
    else this.#serveAll();
  }

  /** Whoever reads an answer without a length while it comes. */
  #first(): Reader | undefined {
    for (const reader of this.#readers) if (reader.began) return reader;
    return this.#readers.values().next().value;
  }

  #isNear(): boolean {
    const reader = this.#first();
    const body = this.#answer?.body;
    if (reader === undefined || body === undefined) return true;
    body.discardTo(reader.position);
    return body.end - reader.position <= MAX_BEHIND;
  }

  #serveAll(): void {
    if (this.#answer === null) return;
    const only = this.#readers.size === 1 ? this.#leader : null;
    if (only !== null) this.#serve(only);
    else for (const reader of [...this.#readers]) this.#serve(reader);
  }

  /** The leader gets the head as it came, while that stands there; the end of the answer comes with the others'. */
  #serveLeader(): void {
    const head = this.#arriving;
    const leader = this.#leader;
    this.#arriving = null;
    if (head === null || leader === null || leader.over || this.#answer === null) return;
    const cacheStatus = this.#statusFor(false);
    leader.readArriving(this.#answer, head, { ageSeconds: null, cacheStatus, outcome: 'miss' });
  }

  #serve(reader: Reader): void {
    const answer = this.#answer;
    if (answer === null || reader.over) return;
    if (reader.began) {
      reader.pump();
      return;
    }
    // Without a length the others wait for the end: nobody is cut because it was slow and the answer too long.
    const whole = answer.length >= 0 || answer.body.complete;
    if (!whole && reader !== this.#first()) return;
    const collapsed = reader !== this.#leader;
    reader.read(answer, {
      ageSeconds: null,
      cacheStatus: this.#statusFor(collapsed),
      outcome: collapsed ? 'collapsed' : 'miss',
    });
  }

  #statusFor(collapsed: boolean): string {
    if (!this.plan.caches) return collapsed ? 'kontrol; fwd=miss; collapsed' : '';
    const stored = this.#terms === null ? '' : '; stored';
    return `kontrol; fwd=${this.#reason}${collapsed ? '; collapsed' : stored}`;
  }

  #keep({ head, body }: Readable, terms: Terms): Pins | null {
    const { uri, key, build, paths } = this.plan;
    const [receivedAt, selecting] = [this.#receivedAt, this.#selecting];
    const answer = new StoredAnswer({ head, terms, receivedAt, body, uri, key, build, paths, selecting });
    return this.#service.keep(answer, this.plan) ? answer : null;
  }

  /** The stored answer is given although it is stale, because a new one cannot be had. */
  #standIn(): boolean {
    const kept = this.#kept;
    if (kept === null || this.#forgotten || this.#mode !== 'waiting') return false;
    if (!servesError(kept.terms, kept.ageMs(this.#environment.clock.monotonic()))) return false;
    for (const reader of this.#endForAll()) {
      if (useOf(kept.terms, 0, reader.plan.asked) === 'unusable') this.#service.alone(reader);
      else this.#service.serve(reader, kept, 'stale', '; detail=stale-if-error');
    }
    return true;
  }

  #renew(): void {
    const kept = this.#kept as StoredAnswer;
    const readers = [...this.#readers];
    const leader = this.#leader;
    const renewal = this.#renewal as Renewal;
    const { head } = renewal;
    this.#service.store?.remove(kept);
    if (head !== null) {
      const terms = this.#termsOf(head);
      if (renewal.take(head, terms, this.#environment.clock.monotonic())) this.#service.keep(kept, this.plan);
    }
    for (const reader of readers) {
      this.#readers.delete(reader);
      reader.left();
      if (!renewal.shareable && reader !== leader) this.#service.alone(reader);
      else if (!renewal.serves(reader)) this.#service.again(reader);
      else renewal.serve(reader, this.#environment.clock.monotonic());
    }
  }

  #take(bytes: number): boolean {
    if (!this.#service.budget.take(bytes)) return false;
    this.#taken += bytes;
    return true;
  }

  #giveBack(): void {
    this.#service.budget.give(this.#taken);
    this.#taken = 0;
  }

  #endForAll(): readonly Reader[] {
    const readers = [...this.#readers];
    this.#end();
    return readers;
  }

  /** Nothing is asked any more. Readers who read what is there are not touched. */
  #end(): void {
    if (this.#mode === 'over') return;
    this.#mode = 'over';
    if (this.#kept !== null) this.#kept.refreshing = false;
    this.#service.ended(this);
    this.#upstream.abandon();
    this.#upstream.close();
    this.#giveBack();
    if (this.#readers.size === 0) return;
    for (const reader of this.#readers) reader.left();
    this.#readers.clear();
  }
}

/**
 * One request and its answer: decided, answered by us or by the source that it is given (`answer-source.ts`), recorded.
 * Whatever ends it, in whatever phase, it frees what it holds, and it is recorded exactly once. One object per
 * visitor, used again for each of its requests.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { Decision, FieldChanges, Forward } from '../../shared/routing/decision.ts';
import { logFailure } from '../observe/failure.ts';
import type { EndedBy, Phase } from '../observe/record.ts';
import type { PageAnswer } from '../pages/contract.ts';
import { Ticket } from '../rate/gate.ts';
import type { Environment } from '../serving/environment.ts';
import type { UpstreamConnection } from '../upstream/contract.ts';
import type { AnswerReceiver, AnswerSource, OutgoingRequest } from './answer-source.ts';
import { withAdded } from './field-changes.ts';
import type { FieldLines } from './field-lines.ts';
import { HeldRequest } from './held-request.ts';
import { Journal } from './journal.ts';
import { requestOutbox } from './outbox.ts';
import { optionsAnswer, ownAnswer, type PageOptions, pageFor } from './own-answer.ts';
import { requestIdFor } from './request-id.ts';
import type { HttpRequestView } from './request-view.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';
import { UpstreamRequest } from './upstream-request.ts';
import { MAX_PASSES } from './via.ts';
import type { Visitor } from './visitor.ts';

export class Exchange implements AnswerReceiver, OutgoingRequest {
  readonly #environment: Environment;
  readonly #visitor: Visitor;
  readonly #journal: Journal;
  /** To a backend for this request alone. */
  readonly #own: UpstreamRequest;

  #active = false;
  #forward: Forward | null = null;
  /** Why a service that shares answers is asked for this request alone, as Cache-Status says it. */
  #bypass: 'bypass' | 'method' | null = null;
  /** For requests that a rate rule holds; made for the first of them. */
  #held: HeldRequest | null = null;
  /** Null when nobody is asked. */
  #source: AnswerSource | null = null;
  /** The final answer (a source's or ours) has begun. */
  #answering = false;

  constructor(environment: Environment, visitor: Visitor) {
    this.#environment = environment;
    this.#visitor = visitor;
    this.#journal = new Journal(environment.clock);
    this.#own = new UpstreamRequest(environment, this, this);
  }

  get active(): boolean {
    return this.#active;
  }

  /** Limits of the request's body that differ from the settings. */
  get limits(): Forward['limits'] {
    return this.#forward?.limits ?? null;
  }

  // From the visitor.

  /** A complete request head stands in the visitor's `head`. `requestBody`… and then `flush` follow at once. */
  begin(): void {
    const { head, view, trusted } = this.#visitor;
    this.#active = true;
    this.#forward = null;
    this.#bypass = null;
    this.#source = null;
    this.#answering = false;
    this.#journal.begin(requestIdFor(head, trusted), view.now);
    const decision = this.#environment.decide(view);
    if (decision.counts === undefined) this.counted(decision);
    else this.#count(decision);
  }

  /** What the decision says comes true: nothing is to be counted, or it has been. */
  counted(decision: Decision): void {
    const { head } = this.#visitor;
    this.#source = null;
    this.#journal.decision = decision;
    if (decision.type === 'forward') {
      this.#startForward(decision);
      return;
    }
    const own = ownAnswer(decision, head, this.requestId);
    if (own !== null) this.#answerOwn(own, null, 'decide', 'proxy');
    else if (decision.type === 'page') {
      this.#answerPage(decision.cause, 'decide', 'proxy', { retryAfter: decision.retryAfter });
    }
  }

  /** Who answers the request of this decision; null when that is over or took nobody. */
  sourceOf(decision: Decision): AnswerSource | null {
    return this.#active && this.#journal.decision === decision ? this.#source : null;
  }

  /** Bytes of the request's body, framed as the backend gets them. May hold the visitor back (`pauseBody`). */
  requestBody(buffer: Buffer, start: number, end: number): void {
    if (!this.#active) return;
    this.#journal.bytesIn += end - start;
    this.#source?.requestBody(buffer, start, end);
  }

  /** The request is complete. */
  requestEnd(): void {
    this.#source?.requestEnd();
  }

  /** Sends what was composed; called at the end of each event that brought a part of the request. */
  flush(): void {
    if (this.#active) this.#source?.flush();
  }

  /** The client is gone: everything is freed at once. */
  clientGone(): void {
    if (this.#active) this.#finish('client_gone', this.#phase(), 'client');
  }

  /** The client broke a rule or a limit in the middle of its request. */
  refuse(cause: CauseCode): void {
    if (!this.#active) return;
    if (this.#answering) this.onBroken(cause, 'client');
    else this.#answerPage(cause, 'send', 'client');
  }

  /** An exception of ours: the exchange ends, nothing else does, and what it was composing is sent by nobody. */
  fail(): void {
    requestOutbox.begin(0);
    if (!this.#active) return;
    if (!this.#answering) {
      try {
        this.#answerPage('internal', this.#phase(), 'proxy');
        return;
      } catch (error) {
        // There is no page to be had, and yet nobody is left waiting.
        logFailure(this.#environment.log, error, this.requestId);
      }
    }
    this.onBroken('internal', 'proxy');
  }

  /** The process stops: ends without another word. */
  stop(): void {
    if (this.#active) this.#finish(null, this.#phase(), 'proxy');
  }

  /** The visitor is gone for good: nothing is held for it, also when its ending failed half-way. */
  close(): void {
    if (this.#active) {
      this.#active = false;
      this.#source?.abandon();
    }
    this.#own.close();
  }

  /** The client takes more of the answer again. */
  clientDrained(): void {
    this.#source?.clientDrained();
  }

  // From the source.

  get pendingBytes(): number {
    return this.#visitor.pendingBytes;
  }

  onInformational(head: ResponseHead): boolean {
    if (this.#visitor.head.minor === 0) return false;
    this.#visitor.sendInformational(head);
    if (head.status === 100) this.#visitor.bodyInvited();
    return true;
  }

  onSwitch(
    head: ResponseHead,
    connection: UpstreamConnection,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    this.#answering = true;
    this.#journal.status = 101;
    const changes = withAdded(this.#response, 'set-cookie', connection.setCookie);
    const tunnel = this.#visitor.startTunnel(head, connection, changes, (tunnelEnd) => {
      this.#journal.bytesIn = tunnelEnd.bytesIn;
      this.#journal.bytesOut = tunnelEnd.bytesOut;
      this.#end(null, 'tunnel', tunnelEnd.endedBy);
    });
    tunnel.fromBackend(buffer, start, end);
  }

  onHead(head: ResponseHead, framing: ResponseFraming): boolean {
    this.#answering = true;
    this.#journal.status = head.status;
    if (this.#bypass !== null) this.#environment.answers?.forwarded(this, head);
    return this.#visitor.sendHead(head, framing, this.#headChanges());
  }

  onBody(buffer: Buffer, start: number, end: number): void {
    this.#journal.bytesOut += end - start;
    this.#visitor.sendBody(buffer, start, end);
  }

  onTrailers(fields: FieldLines): void {
    this.#visitor.sendTrailers?.(fields);
  }

  onBodyEnd(): void {
    this.#visitor.sendEnd();
    this.#visitor.flush();
  }

  onDone(): void {
    this.#end(null, 'done', 'complete');
  }

  onUnanswered(cause: CauseCode, phase: Phase, endedBy: EndedBy, options?: PageOptions): void {
    this.#answerPage(cause, phase, endedBy, options);
  }

  /** The client must see that the answer is not complete. */
  onBroken(cause: CauseCode, endedBy: EndedBy): void {
    this.#visitor.cut();
    this.#finish(cause, 'response', endedBy);
  }

  flushAnswer(): boolean {
    return this.#visitor.flush();
  }

  pauseBody(): void {
    this.#visitor.pauseBody();
  }

  resumeBody(): void {
    this.#visitor.resumeBody();
  }

  onException(error: unknown): void {
    logFailure(this.#environment.log, error, this.requestId);
    this.fail();
  }

  // What is sent to a backend.

  get decision(): Forward {
    return this.#forward as Forward;
  }
  get requestId(): string {
    return this.#journal.requestId;
  }
  get via(): boolean {
    return this.#environment.via();
  }
  get visitor(): Visitor {
    return this.#visitor;
  }
  get view(): HttpRequestView {
    return this.#visitor.view;
  }
  get startedAt(): number {
    return this.#journal.startedAt;
  }

  // Inside.

  get #response(): FieldChanges | null {
    const { decision } = this.#journal;
    return decision === null ? null : decision.response;
  }

  /** By the rate rules that were asked; the request may have to wait for their answer. */
  #count(decision: Decision): void {
    const { rates } = this.#environment;
    this.#journal.decision = decision;
    this.#held ??= new HeldRequest(this);
    const counted = rates?.count(decision, this.#visitor.view.address, this.#held) ?? decision;
    if (counted instanceof Ticket) {
      this.#held.begin(counted);
      // Its body is measured from now on, by the limits that it will have.
      if (decision.type === 'forward') this.#forward = decision;
      this.#source = this.#held;
    } else this.counted(counted);
  }

  #startForward(forward: Forward): void {
    this.#forward = forward;
    const { head } = this.#visitor;
    if (head.maxForwards === 0) {
      this.#answerOwn(optionsAnswer(this.requestId), null, 'decide', 'proxy');
      return;
    }
    if (head.passes >= MAX_PASSES) {
      this.#answerPage('loop', 'decide', 'proxy');
      return;
    }
    const limit = forward.limits?.body ?? this.#environment.limits().body;
    if (limit > 0 && head.contentLength > limit) {
      this.#answerPage('body_too_large', 'decide', 'client');
      return;
    }
    const { coalesce, cache } = forward.service.config;
    const source = coalesce === null && cache === null ? this.#own : this.#sharedSource();
    this.#source = source;
    source.start();
  }

  #sharedSource(): AnswerSource {
    const source = this.#environment.answers?.sourceFor(this) ?? null;
    if (source !== null) return source;
    const { method } = this.#visitor.head;
    if (this.decision.service.config.cache !== null) {
      this.#bypass = method === 'GET' || method === 'HEAD' ? 'bypass' : 'method';
    }
    return this.#own;
  }

  /** Changes to the fields of a source's answer. */
  #headChanges(): FieldChanges | null {
    const changes = withAdded(this.#response, 'set-cookie', this.#source?.notes?.setCookie);
    const status = this.#bypass !== null ? `kontrol; fwd=${this.#bypass}` : this.#source?.cacheStatus;
    return withAdded(changes, 'cache-status', status);
  }

  #answerPage(cause: CauseCode, phase: Phase, endedBy: EndedBy, options?: PageOptions): void {
    const { pages } = this.#environment;
    const page = pageFor(pages, cause, this.#visitor.view, this.#journal, options);
    this.#answerOwn(page, cause, phase, endedBy);
  }

  #answerOwn(answer: PageAnswer, cause: CauseCode | null, phase: Phase, endedBy: EndedBy): void {
    this.#answering = true;
    this.#journal.status = answer.status;
    this.#journal.bytesOut = this.#visitor.sendOwn(answer, this.#response);
    this.#finish(cause, phase, endedBy);
  }

  #phase(): Phase {
    if (this.#answering) return 'response';
    return this.#source === null ? 'decide' : this.#source.phase;
  }

  #finish(cause: CauseCode | null, phase: Phase, endedBy: EndedBy): void {
    this.#source?.abandon();
    this.#end(cause, phase, endedBy);
  }

  /** Exactly once for each `begin`. */
  #end(cause: CauseCode | null, phase: Phase, endedBy: EndedBy): void {
    if (!this.#active) return;
    this.#active = false;
    const source = this.#source;
    if (source !== null) {
      this.#journal.notes = source.notes;
      this.#journal.cache = this.#bypass === null ? source.outcome : 'bypass';
    }
    const { view, protocol } = this.#visitor;
    const spoken = this.#journal.status === 101 ? 'websocket' : protocol;
    try {
      this.#environment.observer.record(this.#journal.record(view, spoken, cause, phase, endedBy));
    } catch (error) {
      // The visitor has its answer all the same, and goes on.
      logFailure(this.#environment.log, error, this.requestId);
    }
    this.#visitor.exchangeEnded();
  }
}

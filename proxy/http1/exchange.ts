/**
 * One request and its answer: decided, sent to a backend (again to another where that is safe), answered, recorded.
 * Whatever ends it, in whatever phase, it frees what it holds, and it is recorded exactly once. One object per
 * visitor, used again for each of its requests.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { Forward } from '../../shared/routing/decision.ts';
import type { EndedBy, Phase } from '../observe/record.ts';
import type { PageAnswer } from '../pages/contract.ts';
import type { Environment } from '../serving/environment.ts';
import type { ByteStreamHandler } from '../stream/byte-stream.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import type {
  AcquireOptions,
  Acquirer,
  Ticket,
  Unavailable,
  UpstreamConnection,
} from '../upstream/contract.ts';
import { logFailure } from './failure.ts';
import { Journal } from './journal.ts';
import { requestOutbox } from './outbox.ts';
import { optionsAnswer, ownAnswer, type PageOptions, pageFor } from './own-answer.ts';
import { ReaderPace } from './reader-pace.ts';
import { requestIdFor } from './request-id.ts';
import { writeRequestHead } from './request-writer.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';
import { type ResponseEvents, ResponseReader } from './response-reader.ts';
import { Retries } from './retries.ts';
import { isSwitchAccepted } from './switch.ts';
import type { Visitor } from './visitor.ts';

const FIRST_TRY: AcquireOptions = { websocket: false, tried: [], fresh: false };

export class Exchange implements Acquirer, ByteStreamHandler, ResponseEvents, Timed {
  timerDue = 0;
  timerQueued = false;
  readonly #environment: Environment;
  readonly #visitor: Visitor;
  readonly #reader = new ResponseReader(this);
  readonly #journal: Journal;
  readonly #retries: Retries;

  #active = false;
  /** Number of the request on this visitor: a call that began in an earlier one must not touch the next. */
  #serial = 0;
  #forward: Forward | null = null;
  #ticket: Ticket | null = null;
  #connection: UpstreamConnection | null = null;
  /** The head has to be composed and sent on the connection. */
  #headDue = false;
  /** Inside `begin`…`flush`: what is sent waits for the first bytes of the body. */
  #corked = false;
  /** Body that came before there was a connection; the visitor is held back meanwhile. */
  #stash: Buffer[] = [];
  #requestDone = false;
  /** The backend takes no more of the request for now. */
  #uploadBlocked = false;
  readonly #pace = new ReaderPace();
  /** An interim answer went to the client. */
  #informed = false;
  /** The final answer (a backend's or ours) has begun. */
  #answering = false;
  #framing: ResponseFraming = 'none';

  constructor(environment: Environment, visitor: Visitor) {
    this.#environment = environment;
    this.#visitor = visitor;
    this.#journal = new Journal(environment.clock);
    this.#retries = new Retries(environment.upstreams);
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
    const { head, view } = this.#visitor;
    this.#reset(head.hasBody);
    const decision = this.#environment.decide(view);
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

  /** Bytes of the request's body, framed as the backend gets them. May hold the visitor back (`pauseBody`). */
  requestBody(buffer: Buffer, start: number, end: number): void {
    if (!this.#active) return;
    this.#journal.bytesIn += end - start;
    const connection = this.#connection;
    if (connection === null) {
      this.#stash.push(Buffer.from(buffer.subarray(start, end)));
      this.#visitor.pauseBody();
      return;
    }
    if (this.#headDue) this.#composeHead(connection);
    this.#sendBody(connection, buffer, start, end);
  }

  /** The request is complete. */
  requestEnd(): void {
    this.#requestDone = true;
  }

  /** Sends what was composed; called at the end of each event that brought a part of the request. */
  flush(): void {
    this.#corked = false;
    const connection = this.#connection;
    if (connection === null || !this.#active) return;
    if (this.#headDue) this.#composeHead(connection);
    if (requestOutbox.length > 0) this.#wrote(requestOutbox.flush(connection.stream));
    if (this.#answering) return;
    if (this.#requestDone || (this.#visitor.head.expectContinue && !this.#informed)) this.#awaitAnswer();
  }

  /** The client is gone: everything is freed at once. */
  clientGone(): void {
    if (this.#active) this.#finish('client_gone', this.#phase(), 'client');
  }

  /** The client broke a rule or a limit in the middle of its request. */
  refuse(cause: CauseCode): void {
    if (!this.#active) return;
    if (this.#answering) this.#cut(cause, 'client');
    else this.#answerPage(cause, 'send', 'client');
  }

  /** An exception of ours: the exchange ends, nothing else does, and what it was composing is sent by nobody. */
  fail(): void {
    requestOutbox.begin(0);
    if (!this.#active) return;
    if (this.#answering) this.#cut('internal', 'proxy');
    else this.#answerPage('internal', this.#phase(), 'proxy');
  }

  /** The process stops: ends without another word. */
  stop(): void {
    if (this.#active) this.#finish(null, this.#phase(), 'proxy');
  }

  /** The visitor is gone for good; the wheel may forget this object. */
  close(): void {
    this.#environment.timers.remove(this);
  }

  /** The client takes more of the answer again. */
  clientDrained(): void {
    if (!this.#pace.unblock() || this.#connection === null) return;
    this.#awaitMore();
    this.#connection.stream.resume();
  }

  // From upstreams.

  onConnection(connection: UpstreamConnection): void {
    this.#ticket = null;
    this.#connection = connection;
    this.#journal.connected(connection);
    connection.stream.handler = this;
    this.#headDue = true;
    this.#reader.start(this.#visitor.head.method);
    if (this.#corked) return;
    try {
      this.flush();
      this.#visitor.resumeBody();
    } catch (error) {
      this.#report(error);
    }
  }

  onUnavailable(why: Unavailable): void {
    this.#ticket = null;
    const queued = why.cause === 'queue_full' || why.cause === 'queue_timeout';
    const status = queued ? this.#service.config.queue.status : undefined;
    this.#answerPage(why.cause, queued ? 'queue' : 'connect', 'proxy', {
      retryAfter: why.retryAfter,
      ...(status === undefined ? {} : { status }),
    });
  }

  // From the backend's connection.

  onData(buffer: Buffer, start: number, end: number): void {
    try {
      this.#journal.heard();
      const serial = this.#serial;
      this.#reader.receive(buffer, start, end);
      if (this.#active && serial === this.#serial) this.#afterData();
    } catch (error) {
      this.#report(error);
    }
  }

  onEnd(): void {
    this.#lost(true);
  }

  onClose(): void {
    this.#lost(false);
  }

  onDrain(): void {
    if (!this.#uploadBlocked) return;
    this.#uploadBlocked = false;
    if (!this.#answering) {
      if (this.#requestDone) this.#awaitAnswer();
      else this.#environment.timers.clear(this);
    }
    this.#visitor.resumeBody();
  }

  onTimeout(): void {
    try {
      if (this.#pace.blocked) {
        if (this.#pace.moved(this.#visitor.pendingBytes)) this.#awaitMore();
        else this.#cut('client_gone', 'client');
      } else if (this.#answering) this.#cut('idle_timeout', 'backend');
      else this.#backendFailed('first_byte_timeout', false);
    } catch (error) {
      this.#report(error);
    }
  }

  // From the reader.

  onInformational(head: ResponseHead): void {
    if (this.#visitor.head.minor === 0) return;
    this.#informed = true;
    this.#visitor.sendInformational(head);
    if (head.status === 100) this.#visitor.bodyInvited();
    if (this.#requestDone) this.#awaitAnswer();
    else this.#environment.timers.clear(this);
  }

  onSwitch(head: ResponseHead, buffer: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    const request = this.#visitor.head;
    if (connection === null || !request.websocket || !isSwitchAccepted(request, head)) {
      this.#backendFailed('backend_upgrade', false);
      return;
    }
    this.#environment.timers.remove(this);
    this.#connection = null;
    this.#answering = true;
    this.#journal.status = 101;
    this.#journal.backendStatus = 101;
    const tunnel = this.#visitor.startTunnel(head, connection, this.decision.response, (tunnelEnd) => {
      this.#journal.bytesIn = tunnelEnd.bytesIn;
      this.#journal.bytesOut = tunnelEnd.bytesOut;
      this.#end(null, 'tunnel', tunnelEnd.endedBy);
    });
    tunnel.fromBackend(buffer, start, end);
    this.#reader.stop();
  }

  onHead(head: ResponseHead, framing: ResponseFraming): boolean {
    this.#journal.backendStatus = head.status;
    if (this.#service.config.retries.onStatus.includes(head.status) && this.#retry(false)) return false;
    this.#answering = true;
    this.#journal.status = head.status;
    this.#framing = framing;
    return this.#visitor.sendHead(head, framing, this.decision.response);
  }

  onBody(buffer: Buffer, start: number, end: number): void {
    this.#journal.bytesOut += end - start;
    this.#visitor.sendBody(buffer, start, end);
  }

  onComplete(excess: boolean): void {
    const connection = this.#connection;
    const { head } = this.#reader;
    this.#visitor.sendEnd();
    this.#visitor.flush();
    const reusable =
      !excess && head.keepAlive && this.#requestDone && this.#framing !== 'close' && !this.#uploadBlocked;
    this.#connection = null;
    if (reusable) connection?.release(head.keepAliveMs());
    else connection?.discard(false);
    this.#end(null, 'done', 'complete');
  }

  onInvalid(began: boolean): void {
    if (began) this.#cut('backend_protocol', 'backend');
    else this.#backendFailed('backend_protocol', false);
  }

  // What the request writer reads.

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

  // Inside.

  get #service() {
    return this.decision.service;
  }

  #reset(hasBody: boolean): void {
    this.#serial++;
    this.#active = true;
    const { head, trusted, view } = this.#visitor;
    this.#journal.begin(requestIdFor(head, trusted), view.now);
    this.#retries.begin();
    this.#forward = null;
    this.#requestDone = !hasBody;
    this.#corked = true;
    this.#uploadBlocked = false;
    this.#pace.reset();
    this.#informed = false;
    this.#answering = false;
    this.#framing = 'none';
  }

  #startForward(forward: Forward): void {
    this.#forward = forward;
    const { head } = this.#visitor;
    if (head.maxForwards === 0) {
      this.#answerOwn(optionsAnswer(this.requestId), null, 'decide', 'proxy');
      return;
    }
    const limit = forward.limits?.body ?? this.#environment.limits().body;
    if (limit > 0 && head.contentLength > limit) {
      this.#answerPage('body_too_large', 'decide', 'client');
      return;
    }
    this.#acquire(head.websocket ? { ...FIRST_TRY, websocket: true } : FIRST_TRY);
  }

  #acquire(options: AcquireOptions): void {
    const { service, key } = this.decision;
    const serial = this.#serial;
    const ticket = this.#environment.upstreams.acquire(service, key, this.#visitor.view, options, this);
    if (this.#active && serial === this.#serial && this.#connection === null) this.#ticket = ticket;
  }

  #composeHead(connection: UpstreamConnection): void {
    this.#headDue = false;
    writeRequestHead(requestOutbox, this);
    for (const piece of this.#stash) this.#sendBody(connection, piece, 0, piece.length);
    if (this.#stash.length > 0) this.#stash = [];
  }

  /** With the head, if that waits and there is room; else behind it. */
  #sendBody({ stream }: UpstreamConnection, buffer: Buffer, start: number, end: number): void {
    if (requestOutbox.length > 0) {
      if (requestOutbox.fits(end - start)) {
        requestOutbox.bytes(buffer, start, end);
        return;
      }
      this.#wrote(requestOutbox.flush(stream));
    }
    this.#wrote(stream.writeShared(buffer, start, end));
  }

  /** After a write to the backend. */
  #wrote(below: boolean): void {
    if (below || this.#uploadBlocked) return;
    this.#uploadBlocked = true;
    this.#visitor.pauseBody();
    this.#awaitMore();
  }

  #awaitAnswer(): void {
    this.#environment.timers.set(this, this.#service.config.timeouts.firstByteMs);
  }

  #awaitMore(): void {
    this.#environment.timers.set(this, this.#service.config.timeouts.idleMs);
  }

  /** The backend sent something and the answer is not complete. */
  #afterData(): void {
    const below = this.#visitor.flush();
    const connection = this.#connection;
    if (!this.#answering || connection === null) return;
    if (!below && this.#pace.block(this.#visitor.pendingBytes)) connection.stream.pause();
    this.#awaitMore();
  }

  /** The backend's connection ended (a FIN: `orderly`) or broke. */
  #lost(orderly: boolean): void {
    try {
      if (this.#connection === null || !this.#active) return;
      if (!this.#answering) {
        const silent = !this.#journal.answered;
        if (silent && this.#service.config.retries.onReset && this.#retry(true)) return;
        this.#backendFailed('backend_reset', silent && !this.#connection.reused);
      } else if (orderly && this.#reader.endsWithConnection) {
        this.#reader.stop();
        this.onComplete(false);
      } else this.#cut('backend_cut', 'backend');
    } catch (error) {
      this.#report(error);
    }
  }

  /** Tries once more on another connection, if that is safe, wanted and within the budget. */
  #retry(lost: boolean): boolean {
    const connection = this.#connection;
    if (connection === null || this.#informed) return false;
    if (!this.#retries.take(this.#service, this.#visitor.head, connection.backend)) return false;
    this.#journal.retries = this.#retries.count;
    this.#dropConnection(lost && !connection.reused);
    this.#environment.timers.clear(this);
    this.#acquire({ websocket: false, tried: this.#retries.tried, fresh: true });
    return true;
  }

  /** Before its final head: the client gets a page. */
  #backendFailed(cause: CauseCode, failure: boolean): void {
    const phase = this.#phase();
    this.#dropConnection(failure);
    this.#answerPage(cause, phase, 'backend');
  }

  #answerPage(cause: CauseCode, phase: Phase, endedBy: EndedBy, options?: PageOptions): void {
    const { pages } = this.#environment;
    const page = pageFor(pages, cause, this.#visitor.view, this.#journal, options);
    this.#answerOwn(page, cause, phase, endedBy);
  }

  #answerOwn(answer: PageAnswer, cause: CauseCode | null, phase: Phase, endedBy: EndedBy): void {
    this.#answering = true;
    this.#journal.status = answer.status;
    this.#journal.bytesOut = this.#visitor.sendOwn(answer, this.#journal.decision?.response ?? null);
    this.#finish(cause, phase, endedBy);
  }

  /** After the head: the client must see that the answer is not complete. */
  #cut(cause: CauseCode, endedBy: EndedBy): void {
    this.#visitor.cut();
    this.#finish(cause, 'response', endedBy);
  }

  #phase(): Phase {
    if (this.#answering) return 'response';
    if (this.#connection !== null) return this.#requestDone && !this.#uploadBlocked ? 'wait' : 'send';
    return this.#ticket === null ? 'decide' : 'connect';
  }

  #finish(cause: CauseCode | null, phase: Phase, endedBy: EndedBy): void {
    const ticket = this.#ticket;
    this.#ticket = null;
    ticket?.cancel();
    this.#dropConnection(false);
    this.#end(cause, phase, endedBy);
  }

  #dropConnection(failure: boolean): void {
    const connection = this.#connection;
    this.#connection = null;
    this.#reader.stop();
    connection?.discard(failure);
  }

  /** Exactly once for each `begin`. */
  #end(cause: CauseCode | null, phase: Phase, endedBy: EndedBy): void {
    if (!this.#active) return;
    this.#active = false;
    this.#environment.timers.clear(this);
    this.#retries.giveBack();
    this.#stash = [];
    this.#headDue = false;
    const { view, protocol } = this.#visitor;
    const spoken = this.#journal.status === 101 ? 'websocket' : protocol;
    this.#environment.observer.record(this.#journal.record(view, spoken, cause, phase, endedBy));
    this.#visitor.exchangeEnded();
  }

  #report(error: unknown): void {
    logFailure(this.#environment.log, error, this.requestId);
    this.fail();
  }
}

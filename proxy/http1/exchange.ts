/**
 * One request and its answer: decided, sent to a backend (again to another where that is safe), answered, recorded.
 * Whatever ends it, in whatever phase, it frees what it holds, and it is recorded exactly once. One object per
 * visitor, used again for each of its requests.
 */
import type { CauseCode } from '../../shared/causes.ts';
import { CAUSES } from '../../shared/causes.ts';
import type { Decision, Forward } from '../../shared/routing/decision.ts';
import type { EndedBy, Phase } from '../observe/record.ts';
import type { PageAnswer } from '../pages/contract.ts';
import type { Environment } from '../serving/environment.ts';
import type { ByteStreamHandler } from '../stream/byte-stream.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import type { Acquirer, Backend, Ticket, Unavailable, UpstreamConnection } from '../upstream/contract.ts';
import { recordOf } from './exchange-record.ts';
import { X_REQUEST_ID } from './field-kinds.ts';
import { requestOutbox } from './outbox.ts';
import { fixedAnswer, optionsAnswer, type PageOptions, redirectAnswer, renderPage } from './own-answer.ts';
import { isRequestId, newRequestId } from './request-id.ts';
import { type RequestWriting, writeRequestHead } from './request-writer.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';
import { type ResponseEvents, ResponseReader } from './response-reader.ts';
import { isSwitchAccepted } from './switch.ts';
import type { TunnelEnd, Visitor } from './visitor.ts';

const NONE: readonly Backend[] = [];

export class Exchange implements Acquirer, ByteStreamHandler, ResponseEvents, RequestWriting, Timed {
  timerDue = 0;
  timerQueued = false;
  readonly #environment: Environment;
  readonly #visitor: Visitor;
  readonly #reader = new ResponseReader(this);

  #active = false;
  /** Number of the request on this visitor: a call that began in an earlier one must not touch the next. */
  #serial = 0;
  requestId = '';
  #decision: Decision | null = null;
  #forward: Forward | null = null;
  #ticket: Ticket | null = null;
  #connection: UpstreamConnection | null = null;
  #backend: string | null = null;
  /** The head has to be composed and sent on the connection. */
  #headDue = false;
  /** Inside `begin`…`flush`: what is sent waits for the first bytes of the body. */
  #corked = false;
  /** Body that came before there was a connection; the visitor is held back meanwhile. */
  #stash: Buffer[] = [];
  #requestDone = false;
  /** The backend takes no more of the request for now. */
  #uploadBlocked = false;
  /** The visitor takes no more of the answer for now. */
  #clientBlocked = false;
  #pendingAtBlock = 0;
  #informed = false;
  #answering = false;
  #framing: ResponseFraming = 'none';
  #tried: Backend[] | null = null;
  #retries = 0;
  #retryHeld = false;

  #at = 0;
  #startedAt = 0;
  #status = 0;
  #backendStatus = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #queueMs: number | null = null;
  #connectMs: number | null = null;
  #sentAt = 0;
  #firstByteMs: number | null = null;

  constructor(environment: Environment, visitor: Visitor) {
    this.#environment = environment;
    this.#visitor = visitor;
  }

  // What the request writer and the visitor read.

  get active(): boolean {
    return this.#active;
  }
  /** The backend's answer (or ours) has begun. */
  get answering(): boolean {
    return this.#answering;
  }
  get requestDone(): boolean {
    return this.#requestDone;
  }
  get head() {
    return this.#visitor.head;
  }
  get decision(): Forward {
    return this.#forward as Forward;
  }
  get identity() {
    return this.#visitor.identity;
  }
  get trusted(): boolean {
    return this.#visitor.trusted;
  }
  get peer(): string {
    return this.#visitor.peer;
  }
  get forwarding(): string {
    return this.#visitor.forwarding;
  }
  get via(): boolean {
    return this.#environment.via();
  }
  /** Limits of the request's body that differ from the settings. */
  get limits(): Forward['limits'] {
    return this.#forward?.limits ?? null;
  }

  // From the visitor.

  /** A complete request head stands in the visitor's `head`. `requestBody`… and then `flush` follow at once. */
  begin(): void {
    this.#reset();
    const { head, view } = this.#visitor;
    this.requestId = this.#idOfRequest();
    this.#requestDone = !head.hasBody;
    this.#corked = true;
    const decision = this.#environment.decide(view);
    this.#decision = decision;
    switch (decision.type) {
      case 'forward':
        this.#startForward(decision);
        return;
      case 'page':
        if (head.asterisk && (decision.cause === 'host_unknown' || decision.cause === 'route_unknown')) {
          this.#answerOwn(optionsAnswer(this.requestId), null, 'decide', 'proxy');
        } else this.#answerPage(decision.cause, 'decide', 'proxy', { retryAfter: decision.retryAfter });
        return;
      case 'redirect':
        this.#answerOwn(redirectAnswer(decision, this.requestId), null, 'decide', 'proxy');
        return;
      case 'answer':
        this.#answerOwn(fixedAnswer(decision, this.requestId), null, 'decide', 'proxy');
        return;
      default:
        decision satisfies never;
    }
  }

  /** Bytes of the request's body, framed as the backend gets them. May hold the visitor back (`pauseBody`). */
  requestBody(buffer: Buffer, start: number, end: number): void {
    if (!this.#active) return;
    this.#bytesIn += end - start;
    const connection = this.#connection;
    if (connection === null) {
      this.#stash.push(Buffer.from(buffer.subarray(start, end)));
      this.#visitor.pauseBody();
      return;
    }
    if (this.#headDue) this.#composeHead();
    if (requestOutbox.length > 0) {
      if (requestOutbox.fits(end - start)) {
        requestOutbox.bytes(buffer, start, end);
        return;
      }
      requestOutbox.flush(connection.stream);
    }
    this.#wrote(connection.stream.writeShared(buffer, start, end));
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
    if (this.#headDue) this.#composeHead();
    if (requestOutbox.length > 0) this.#wrote(requestOutbox.flush(connection.stream));
    if (this.#answering) return;
    if (this.#requestDone || (this.#visitor.head.expectContinue && !this.#informed)) this.#awaitAnswer();
  }

  /** The client is gone: everything is freed at once. */
  clientGone(): void {
    if (!this.#active) return;
    const phase = this.#phase();
    this.#finish('client_gone', phase, 'client');
  }

  /** The client broke a rule or a limit in the middle of its request. */
  refuse(cause: CauseCode): void {
    if (!this.#active) return;
    if (this.#answering) this.#cut(cause, 'client');
    else this.#answerPage(cause, 'send', 'client');
  }

  /** An exception of ours: the exchange ends, nothing else does. */
  fail(): void {
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
    if (!this.#clientBlocked) return;
    this.#clientBlocked = false;
    if (this.#connection === null) return;
    this.#environment.timers.set(this, this.decision.service.config.timeouts.idleMs);
    this.#connection.stream.resume();
  }

  // From upstreams.

  onConnection(connection: UpstreamConnection): void {
    this.#ticket = null;
    this.#connection = connection;
    this.#backend = connection.backend.address;
    this.#queueMs = (this.#queueMs ?? 0) + connection.queuedMs;
    this.#connectMs = (this.#connectMs ?? 0) + connection.connectMs;
    connection.stream.handler = this;
    this.#headDue = true;
    this.#sentAt = this.#environment.clock.monotonic();
    this.#reader.start(this.#visitor.head.method);
    if (this.#corked) return;
    this.flush();
    this.#visitor.resumeBody();
  }

  onUnavailable(why: Unavailable): void {
    this.#ticket = null;
    const queued = why.cause === 'queue_full' || why.cause === 'queue_timeout';
    const status = queued ? this.decision.service.config.queue.status : undefined;
    this.#answerPage(why.cause, queued ? 'queue' : 'connect', 'proxy', {
      retryAfter: why.retryAfter,
      ...(status === undefined ? {} : { status }),
    });
  }

  // From the backend's connection.

  onData(buffer: Buffer, start: number, end: number): void {
    try {
      if (this.#firstByteMs === null) {
        this.#firstByteMs = this.#environment.clock.monotonic() - this.#sentAt;
      }
      const serial = this.#serial;
      this.#reader.receive(buffer, start, end);
      if (this.#active && serial === this.#serial) this.#afterData();
    } catch (error) {
      this.#report(error);
    }
  }

  onEnd(): void {
    this.#lost(null);
  }

  onClose(error: Error | null): void {
    this.#lost(error ?? new Error('closed'));
  }

  onDrain(): void {
    if (!this.#uploadBlocked) return;
    this.#uploadBlocked = false;
    if (!this.#answering) this.#environment.timers.clear(this);
    if (this.#requestDone && !this.#answering) this.#awaitAnswer();
    this.#visitor.resumeBody();
  }

  onTimeout(): void {
    try {
      this.#timedOut();
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
    if (connection === null || !this.#visitor.head.websocket || !isSwitchAccepted(this.#visitor.head, head)) {
      this.#backendFailed('backend_upgrade', false);
      return;
    }
    this.#reader.stop();
    this.#environment.timers.remove(this);
    this.#connection = null;
    this.#answering = true;
    this.#status = 101;
    this.#backendStatus = 101;
    const first = Buffer.from(buffer.subarray(start, end));
    this.#visitor.startTunnel(head, connection, first, (tunnel) => this.#tunnelEnded(tunnel));
  }

  onHead(head: ResponseHead, framing: ResponseFraming): boolean {
    this.#backendStatus = head.status;
    const { retries } = this.decision.service.config;
    if (retries.onStatus.includes(head.status) && this.#retry(false)) return false;
    this.#answering = true;
    this.#status = head.status;
    this.#framing = framing;
    return this.#visitor.sendHead(head, framing, this.decision.response);
  }

  onBody(buffer: Buffer, start: number, end: number): void {
    this.#bytesOut += end - start;
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

  // Inside.

  #idOfRequest(): string {
    const { head, trusted } = this.#visitor;
    const given = trusted ? head.fields.find(X_REQUEST_ID) : -1;
    if (given < 0) return newRequestId();
    const id = head.fields.value(given);
    return isRequestId(id) ? id : newRequestId();
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
    this.#acquire(false);
  }

  #acquire(fresh: boolean): void {
    const { service, key } = this.decision;
    const { view, head } = this.#visitor;
    const options = { websocket: head.websocket, tried: this.#tried ?? NONE, fresh };
    const serial = this.#serial;
    const ticket = this.#environment.upstreams.acquire(service, key, view, options, this);
    if (this.#active && serial === this.#serial && this.#connection === null) this.#ticket = ticket;
  }

  #composeHead(): void {
    this.#headDue = false;
    writeRequestHead(requestOutbox, this);
    if (this.#stash.length === 0) return;
    for (const piece of this.#stash) requestOutbox.bytes(piece, 0, piece.length);
    this.#stash = [];
  }

  /** After a write to the backend. */
  #wrote(below: boolean): void {
    if (below || this.#uploadBlocked) return;
    this.#uploadBlocked = true;
    this.#visitor.pauseBody();
    this.#environment.timers.set(this, this.decision.service.config.timeouts.idleMs);
  }

  #awaitAnswer(): void {
    this.#environment.timers.set(this, this.decision.service.config.timeouts.firstByteMs);
  }

  /** The backend sent something and the answer is not complete. */
  #afterData(): void {
    const below = this.#visitor.flush();
    const connection = this.#connection;
    if (this.#answering && connection !== null) {
      if (!below && !this.#clientBlocked) {
        this.#clientBlocked = true;
        this.#pendingAtBlock = this.#visitor.pendingBytes;
        connection.stream.pause();
      }
      this.#environment.timers.set(this, this.decision.service.config.timeouts.idleMs);
    }
  }

  #timedOut(): void {
    if (this.#clientBlocked) {
      // A slow reader may take its time as long as it takes something.
      const pending = this.#visitor.pendingBytes;
      if (pending < this.#pendingAtBlock) {
        this.#pendingAtBlock = pending;
        this.#environment.timers.set(this, this.decision.service.config.timeouts.idleMs);
      } else this.#cut('client_gone', 'client');
    } else if (this.#answering) this.#cut('idle_timeout', 'backend');
    else this.#backendFailed('first_byte_timeout', false);
  }

  /** The backend's connection ended or broke. */
  #lost(error: Error | null): void {
    try {
      if (this.#connection === null || !this.#active) return;
      if (!this.#answering) {
        const nothingYet = this.#firstByteMs === null;
        if (nothingYet && this.decision.service.config.retries.onReset && this.#retry(true)) return;
        this.#backendFailed('backend_reset', nothingYet && !this.#connection.reused);
      } else if (error === null && this.#reader.endsWithConnection) {
        this.#reader.stop();
        this.onComplete(false);
      } else this.#cut('backend_cut', 'backend');
    } catch (thrown) {
      this.#report(thrown);
    }
  }

  /** Tries once more on another connection, if that is safe, wanted and within the budget. */
  #retry(lost: boolean): boolean {
    const { head } = this.#visitor;
    const { service } = this.decision;
    const connection = this.#connection;
    const safe = head.method === 'GET' || head.method === 'HEAD' || head.method === 'OPTIONS';
    if (!safe || head.hasBody || head.websocket || this.#informed || connection === null) return false;
    if (this.#retries >= service.config.retries.max) return false;
    this.#giveRetryBack();
    if (!this.#environment.upstreams.takeRetry(service)) return false;
    this.#retryHeld = true;
    this.#retries++;
    this.#tried ??= [];
    this.#tried.push(connection.backend);
    this.#dropConnection(lost && !connection.reused);
    this.#firstByteMs = null;
    this.#environment.timers.clear(this);
    this.#acquire(true);
    return true;
  }

  /** Before its final head: the client gets a page. */
  #backendFailed(cause: CauseCode, failure: boolean): void {
    const phase = this.#phase();
    this.#dropConnection(failure);
    this.#answerPage(cause, phase, 'backend');
  }

  #answerPage(cause: CauseCode, phase: Phase, endedBy: EndedBy, options?: PageOptions): void {
    const { view } = this.#visitor;
    const context = {
      host: view.host,
      requestId: this.requestId,
      accept: view.header('accept'),
      labels: this.#decision?.labels ?? null,
    };
    this.#answerOwn(renderPage(this.#environment.pages, cause, context, options), cause, phase, endedBy);
  }

  #answerOwn(answer: PageAnswer, cause: CauseCode | null, phase: Phase, endedBy: EndedBy): void {
    this.#answering = true;
    this.#status = answer.status;
    this.#bytesOut = this.#visitor.sendOwn(answer, this.#decision?.response ?? null);
    this.#finish(cause, phase, endedBy);
  }

  /** After the head: the client must see that the answer is not complete. */
  #cut(cause: CauseCode, endedBy: EndedBy): void {
    this.#visitor.cut();
    this.#finish(cause, 'response', endedBy);
  }

  #tunnelEnded(tunnel: TunnelEnd): void {
    this.#bytesIn = tunnel.bytesIn;
    this.#bytesOut = tunnel.bytesOut;
    this.#end(null, 'tunnel', tunnel.endedBy);
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

  #giveRetryBack(): void {
    if (!this.#retryHeld) return;
    this.#retryHeld = false;
    this.#environment.upstreams.retryDone(this.decision.service);
  }

  /** Exactly once for each `begin`. */
  #end(cause: CauseCode | null, phase: Phase, endedBy: EndedBy): void {
    if (!this.#active) return;
    this.#active = false;
    this.#environment.timers.clear(this);
    this.#giveRetryBack();
    this.#stash = [];
    this.#headDue = false;
    const status = this.#status === 0 && cause !== null ? CAUSES[cause].status : this.#status;
    this.#environment.observer.record(
      recordOf({
        id: this.requestId,
        at: this.#at,
        protocol: this.#status === 101 ? 'websocket' : this.#visitor.protocol,
        view: this.#visitor.view,
        decision: this.#decision,
        backend: this.#backend,
        status,
        backendStatus: this.#backendStatus,
        cause,
        phase,
        endedBy,
        bytesIn: this.#bytesIn,
        bytesOut: this.#bytesOut,
        retries: this.#retries,
        queueMs: this.#queueMs,
        connectMs: this.#connectMs,
        firstByteMs: this.#firstByteMs,
        totalMs: this.#environment.clock.monotonic() - this.#startedAt,
      }),
    );
    this.#visitor.exchangeEnded();
  }

  #report(error: unknown): void {
    this.#environment.log.error('exchange_failed', 'A request failed inside the proxy; please report it', {
      requestId: this.requestId,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    this.fail();
  }

  #reset(): void {
    this.#active = true;
    this.#serial++;
    this.#decision = null;
    this.#forward = null;
    this.#backend = null;
    this.#uploadBlocked = false;
    this.#clientBlocked = false;
    this.#informed = false;
    this.#answering = false;
    this.#framing = 'none';
    this.#tried = null;
    this.#retries = 0;
    this.#status = 0;
    this.#backendStatus = 0;
    this.#bytesIn = 0;
    this.#bytesOut = 0;
    this.#queueMs = null;
    this.#connectMs = null;
    this.#firstByteMs = null;
    this.#at = this.#visitor.view.now;
    this.#startedAt = this.#environment.clock.monotonic();
  }
}

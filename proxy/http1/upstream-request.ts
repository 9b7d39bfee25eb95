/**
 * One request to a backend: sent (to another backend again where that is safe), its answer read and handed on. It owns
 * the place in the queue, the connection and the deadlines of a backend until the answer is complete, cannot come, or
 * nobody wants it any more. Used again for each request of its owner.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { Forward } from '../../shared/routing/decision.ts';
import type { Phase } from '../observe/record.ts';
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
import type { AnswerReceiver, AnswerSource, OutgoingRequest } from './answer-source.ts';
import type { FieldLines } from './field-lines.ts';
import { BackendNotes } from './journal.ts';
import { requestOutbox } from './outbox.ts';
import { ReaderPace } from './reader-pace.ts';
import { writeRequestHead } from './request-writer.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';
import { type ResponseEvents, ResponseReader } from './response-reader.ts';
import { Retries } from './retries.ts';
import { isSwitchAccepted } from './switch.ts';

const FIRST_TRY: AcquireOptions = { websocket: false, tried: [], fresh: false };
const FIRST_TUNNEL: AcquireOptions = { ...FIRST_TRY, websocket: true };

export class UpstreamRequest implements AnswerSource, Acquirer, ByteStreamHandler, ResponseEvents, Timed {
  timerDue = 0;
  timerQueued = false;
  timerSlot = 0;
  timerPlace = 0;
  readonly notes: BackendNotes;
  readonly outcome = null;
  readonly cacheStatus = null;
  readonly #environment: Environment;
  readonly #receiver: AnswerReceiver;
  readonly #request: OutgoingRequest;
  readonly #reader = new ResponseReader(this);
  readonly #retries: Retries;

  #active = false;
  /** Number of the request: a call that began in an earlier one must not touch the next. */
  #serial = 0;
  #ticket: Ticket | null = null;
  #connection: UpstreamConnection | null = null;
  /** The head has to be composed and sent on the connection. */
  #headDue = false;
  /** Inside `start`…`flush`: what is sent waits for the first bytes of the body. */
  #corked = false;
  /** What was composed stands in the outbox; whatever ends the request before it leaves takes it out again. */
  #composed = false;
  /** Body that came before there was a connection; the client is held back meanwhile. */
  #stash: Buffer[] = [];
  #requestDone = false;
  /** The backend takes no more of the request for now. */
  #uploadBlocked = false;
  readonly #pace = new ReaderPace();
  /** An interim answer was passed on. */
  #informed = false;
  /** One of them was the word (100) that the client waits for before it sends its body. */
  #invited = false;
  /** The final answer has begun. */
  #answering = false;
  #framing: ResponseFraming = 'none';

  constructor(environment: Environment, request: OutgoingRequest, receiver: AnswerReceiver) {
    this.#environment = environment;
    this.#request = request;
    this.#receiver = receiver;
    this.notes = new BackendNotes(environment.clock);
    this.#retries = new Retries(environment.upstreams);
  }

  // From the owner.

  /** A new request stands in `request`. Its body, if it has one, and `flush` follow at once. */
  start(): void {
    const { head } = this.#request.visitor;
    this.#serial++;
    this.#active = true;
    this.notes.begin(this.#request.startedAt);
    this.#retries.begin();
    this.#requestDone = !head.hasBody;
    this.#corked = true;
    this.#uploadBlocked = false;
    this.#pace.reset();
    this.#informed = false;
    this.#invited = false;
    this.#answering = false;
    this.#framing = 'none';
    this.#acquire(head.websocket ? FIRST_TUNNEL : FIRST_TRY);
  }

  requestBody(buffer: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    if (connection === null) {
      this.#stash.push(Buffer.from(buffer.subarray(start, end)));
      this.#receiver.pauseBody();
      return;
    }
    if (this.#headDue) this.#composeHead(connection);
    this.#sendBody(connection, buffer, start, end);
  }

  requestEnd(): void {
    this.#requestDone = true;
  }

  /** Sends what was composed. */
  flush(): void {
    this.#corked = false;
    const connection = this.#connection;
    if (connection === null || !this.#active) return;
    if (this.#headDue) this.#composeHead(connection);
    if (requestOutbox.length > 0) this.#sendComposed(connection);
    if (!this.#answering && this.#backendsTurn) this.#awaitAnswer();
  }

  clientDrained(): void {
    if (!this.#pace.unblock() || this.#connection === null) return;
    this.#awaitMore();
    this.#connection.stream.resume();
  }

  get phase(): Phase {
    if (this.#answering) return 'response';
    if (this.#connection !== null) return this.#requestDone && !this.#uploadBlocked ? 'wait' : 'send';
    return this.#ticket === null ? 'decide' : 'connect';
  }

  abandon(): void {
    const ticket = this.#ticket;
    this.#ticket = null;
    ticket?.cancel();
    this.#dropConnection(false);
    this.#over();
  }

  /** The owner is gone for good; the wheel may forget this object. */
  close(): void {
    this.#environment.timers.remove(this);
    this.#reader.head.fields.free();
  }

  // From upstreams.

  onConnection(connection: UpstreamConnection): void {
    this.#ticket = null;
    this.#connection = connection;
    this.notes.connected(connection);
    connection.stream.handler = this;
    this.#headDue = true;
    this.#reader.start(this.#request.visitor.head.method);
    if (this.#corked) return;
    try {
      this.flush();
      // What was kept may have been more than the backend takes.
      if (!this.#uploadBlocked) this.#receiver.resumeBody();
    } catch (error) {
      this.#receiver.onException(error);
    }
  }

  onUnavailable(why: Unavailable): void {
    this.#ticket = null;
    const queued = why.cause === 'queue_full' || why.cause === 'queue_timeout';
    const status = queued ? this.#service.config.queue.status : undefined;
    this.#over();
    try {
      this.#receiver.onUnanswered(why.cause, queued ? 'queue' : 'connect', 'proxy', {
        retryAfter: why.retryAfter,
        ...(status === undefined ? {} : { status }),
      });
    } catch (error) {
      this.#receiver.onException(error);
    }
  }

  // From the backend's connection.

  onData(buffer: Buffer, start: number, end: number): void {
    try {
      this.notes.heard();
      const serial = this.#serial;
      this.#reader.receive(buffer, start, end);
      if (this.#active && serial === this.#serial) this.#afterData();
    } catch (error) {
      this.#receiver.onException(error);
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
    this.#receiver.resumeBody();
  }

  onTimeout(): void {
    try {
      if (this.#pace.blocked) {
        if (this.#pace.moved(this.#receiver.pendingBytes)) this.#awaitMore();
        else this.#receiver.onBroken('client_gone', 'client');
      } else if (this.#answering) this.#receiver.onBroken('idle_timeout', 'backend');
      else this.#failed('first_byte_timeout', false);
    } catch (error) {
      this.#receiver.onException(error);
    }
  }

  // From the reader.

  onInformational(head: ResponseHead): void {
    if (!this.#receiver.onInformational(head)) return;
    this.#informed = true;
    if (head.status === 100) this.#invited = true;
    if (this.#backendsTurn) this.#awaitAnswer();
    else if (!this.#uploadBlocked) this.#environment.timers.clear(this);
  }

  onSwitch(head: ResponseHead, buffer: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    const request = this.#request.visitor.head;
    if (connection === null || !request.websocket || !isSwitchAccepted(request, head)) {
      this.#failed('backend_upgrade', false);
      return;
    }
    connection.signals?.answered(101, -1);
    this.#environment.timers.remove(this);
    this.#answering = true;
    this.notes.status = 101;
    this.#receiver.onSwitch(head, connection, buffer, start, end);
    // Not before: what fails in there leaves the connection to us.
    this.#connection = null;
    this.#reader.stop();
  }

  onHead(head: ResponseHead, framing: ResponseFraming): boolean {
    this.notes.status = head.status;
    this.#connection?.signals?.answered(head.status, this.#answerMs);
    if (this.#service.config.retries.onStatus.includes(head.status) && this.#retry(false)) return false;
    this.#answering = true;
    this.#framing = framing;
    return this.#receiver.onHead(head, framing);
  }

  onBody(buffer: Buffer, start: number, end: number): void {
    this.#receiver.onBody(buffer, start, end);
  }

  onTrailers(fields: FieldLines): void {
    this.#receiver.onTrailers?.(fields);
  }

  onComplete(excess: boolean): void {
    const { head } = this.#reader;
    this.#receiver.onBodyEnd();
    const connection = this.#connection;
    const reusable =
      !excess && head.keepAlive && this.#requestDone && this.#framing !== 'close' && !this.#uploadBlocked;
    this.#connection = null;
    if (reusable) connection?.release(head.keepAliveMs);
    else connection?.discard(false);
    this.#over();
    this.#receiver.onDone();
  }

  onInvalid(began: boolean): void {
    if (began) this.#receiver.onBroken('backend_protocol', 'backend');
    else this.#failed('backend_protocol', false);
  }

  // Inside.

  /** The request is complete, or its body waits for the backend's word. */
  get #backendsTurn(): boolean {
    return this.#requestDone || (this.#request.visitor.head.expectContinue && !this.#invited);
  }

  get #service(): Forward['service'] {
    return this.#request.decision.service;
  }

  #acquire(options: AcquireOptions): void {
    const { decision, view } = this.#request;
    const serial = this.#serial;
    const ticket = this.#environment.upstreams.acquire(decision.service, decision.key, view, options, this);
    if (this.#active && serial === this.#serial && this.#connection === null) this.#ticket = ticket;
  }

  #composeHead(connection: UpstreamConnection): void {
    this.#headDue = false;
    writeRequestHead(requestOutbox, this.#request);
    this.#composed = true;
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
      this.#composed = false;
      this.#wrote(requestOutbox.flush(stream));
    }
    this.#wrote(stream.writeShared(buffer, start, end));
  }

  #sendComposed({ stream }: UpstreamConnection): void {
    this.#composed = false;
    this.#wrote(requestOutbox.flush(stream));
  }

  /** After a write to the backend. */
  #wrote(below: boolean): void {
    if (below || this.#uploadBlocked) return;
    this.#uploadBlocked = true;
    this.#receiver.pauseBody();
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
    const below = this.#receiver.flushAnswer();
    const connection = this.#connection;
    if (!this.#answering || connection === null) return;
    if (!below && this.#pace.block(this.#receiver.pendingBytes)) connection.stream.pause();
    this.#awaitMore();
  }

  /** The backend's connection ended (a FIN: `orderly`) or broke. */
  #lost(orderly: boolean): void {
    try {
      if (this.#connection === null || !this.#active) return;
      if (!this.#answering) {
        const silent = !this.notes.answered;
        if (silent && this.#service.config.retries.onReset && this.#retry(true)) return;
        this.#failed('backend_reset', silent && !this.#connection.reused);
      } else if (orderly && this.#reader.endsWithConnection) {
        this.#reader.stop();
        this.onComplete(false);
      } else this.#receiver.onBroken('backend_cut', 'backend');
    } catch (error) {
      this.#receiver.onException(error);
    }
  }

  /** Tries once more on another connection, if that is safe, wanted and within the budget. */
  #retry(lost: boolean): boolean {
    const connection = this.#connection;
    if (connection === null || this.#informed) return false;
    if (!this.#retries.take(this.#service, this.#request.visitor.head, connection.backend)) return false;
    this.notes.retries = this.#retries.count;
    this.#dropConnection(lost && !connection.reused);
    this.#environment.timers.clear(this);
    this.#acquire({ websocket: false, tried: this.#retries.tried, fresh: true });
    return true;
  }

  /** How long the backend took for its answer; how long a body took to arrive is not its doing. */
  get #answerMs(): number {
    return this.#request.visitor.head.hasBody ? -1 : (this.notes.firstByteMs ?? -1);
  }

  /** Before its final head. */
  #failed(cause: CauseCode, failure: boolean): void {
    const { phase } = this;
    // A connection that breaks counts by itself, and where it was idle before, not at all.
    if (cause !== 'backend_reset') {
      this.#connection?.signals?.answered(cause === 'first_byte_timeout' ? 504 : 502, -1);
    }
    this.#dropConnection(failure);
    this.#over();
    this.#receiver.onUnanswered(cause, phase, 'backend');
  }

  #dropConnection(failure: boolean): void {
    const connection = this.#connection;
    this.#connection = null;
    this.#reader.stop();
    connection?.discard(failure);
    if (this.#composed) requestOutbox.begin(0);
    this.#composed = false;
  }

  #over(): void {
    if (!this.#active) return;
    this.#active = false;
    this.#environment.timers.clear(this);
    this.#retries.giveBack();
    if (this.#stash.length > 0) this.#stash = [];
    this.#headDue = false;
  }
}

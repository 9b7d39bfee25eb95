/**
 * A client's HTTP/1.1 connection: reads requests strictly and in order, runs one exchange at a time, and frames its
 * answers. It owns the stream: whatever ends it, the exchange under way ends with it, and nothing stays behind.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { FieldChanges } from '../../shared/routing/decision.ts';
import { logFailure } from '../observe/failure.ts';
import type { PageAnswer } from '../pages/contract.ts';
import type { Environment } from '../serving/environment.ts';
import type { ByteStream, ByteStreamHandler } from '../stream/byte-stream.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import { Tunnel, type TunnelEnd } from '../tunnel/tunnel.ts';
import type { UpstreamConnection } from '../upstream/contract.ts';
import { AnswerWriter, endsByClose } from './answer-writer.ts';
import type { BodySink } from './chunk-decoder.ts';
import { clientCertificateFields } from './client-certificate.ts';
import { type ClientIdentity, type HttpListener, identifyForwarded, peerAddress } from './client-identity.ts';
import { Exchange } from './exchange.ts';
import { COMPLETE, NEED_MORE } from './field-lines.ts';
import { pageFor } from './own-answer.ts';
import { ReadAhead } from './read-ahead.ts';
import { recordRefused } from './refused-head.ts';
import { RequestBody } from './request-body.ts';
import { RequestHead } from './request-head.ts';
import { newRequestId } from './request-id.ts';
import { HttpRequestView } from './request-view.ts';
import { forwardingText } from './request-writer.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';
import type { Visitor } from './visitor.ts';

/** What the next byte of the client belongs to. */
type Reading = 'head' | 'body' | 'ahead' | 'nothing';

export class ClientConnection implements ByteStreamHandler, Visitor, BodySink, Timed {
  timerDue = 0;
  timerQueued = false;
  timerSlot = 0;
  timerPlace = 0;
  servedPlace: number | undefined = undefined;
  readonly head = new RequestHead();
  readonly view = new HttpRequestView(this.head);
  readonly peer: string;
  readonly trusted: boolean;
  readonly forwarding: string;
  readonly clientFields: string;
  readonly #stream: ByteStream;
  readonly #environment: Environment;
  readonly #direct: ClientIdentity;
  readonly #onClosed: (connection: ClientConnection) => void;
  readonly #exchange: Exchange;
  readonly #answer: AnswerWriter;
  readonly #body = new RequestBody();
  readonly #ahead = new ReadAhead();

  identity: ClientIdentity;
  #reading: Reading = 'head';
  /** Inside the loop over received bytes: the next request begins there and not in a call from the exchange. */
  #looping = false;
  #bodyHeld = false;
  #paused = false;
  #headStartedAt = 0;
  /** The answer under way is the last one. */
  #closeAfter = false;
  /** The client has ended its side, and still gets the answers to what it asked before. */
  #ended = false;
  #draining = false;
  #tunnel: Tunnel | null = null;

  constructor(
    stream: ByteStream,
    environment: Environment,
    listener: HttpListener,
    onClosed: (connection: ClientConnection) => void = () => {},
  ) {
    this.#stream = stream;
    this.#environment = environment;
    this.#onClosed = onClosed;
    this.peer = peerAddress(stream.remoteAddress);
    this.trusted = listener.hidden !== true && environment.trusts(this.peer);
    this.view.tls = stream.tls;
    this.clientFields = clientCertificateFields(stream.tls?.client ?? null);
    this.#direct = { address: this.peer, secure: listener.secure, port: listener.port };
    this.identity = this.#direct;
    this.forwarding = forwardingText(this.peer, this.#direct);
    this.#exchange = new Exchange(environment, this);
    this.#answer = new AnswerWriter(stream);
    // A connection that never says anything gets no more time than one that does.
    environment.timers.set(this, environment.limits().headTimeoutMs);
    stream.handler = this;
    // Last: what fails above is closed by nobody here.
    environment.observer.connectionOpened();
  }

  get protocol(): 'HTTP/1.0' | 'HTTP/1.1' {
    return this.head.minor === 1 ? 'HTTP/1.1' : 'HTTP/1.0';
  }

  get pendingBytes(): number {
    return this.#stream.pendingBytes;
  }

  /** Ends when what is under way has: at once when nothing is. */
  drain(): void {
    this.#draining = true;
    if (this.#reading === 'head' ? !this.head.began : this.#catchingUp) this.#close();
  }

  /** Ends now. */
  closeNow(): void {
    if (this.#tunnel !== null) {
      this.#tunnel.closeNow();
      return;
    }
    this.#release();
    this.#exchange.stop();
    this.#stream.reset();
  }

  // From the stream.

  onData(buffer: Buffer, start: number, end: number): void {
    try {
      const ahead = this.#ahead;
      if (ahead.length > 0) {
        ahead.append(buffer, start, end);
        if (this.#reading !== 'ahead') this.#readAhead();
        else {
          ahead.countLast(end - start);
          this.#updateReading();
        }
        return;
      }
      const used = this.#read(buffer, start, end);
      if (used < end) {
        ahead.append(buffer, used, end);
        if (this.#reading === 'ahead') {
          ahead.countLast(end - used);
          this.#updateReading();
        }
      }
    } catch (error) {
      this.#crashed(error);
    }
  }

  onEnd(): void {
    try {
      if (this.#reading === 'nothing') return;
      if (this.#reading === 'ahead' && this.#environment.limits().halfClose) {
        this.#ended = true;
        return;
      }
      this.#leave();
      this.#exchange.clientGone();
    } catch (error) {
      this.#crashed(error);
    }
  }

  onDrain(): void {
    const waited = this.#catchingUp;
    this.#answer.drained();
    try {
      if (waited) this.#nextRequest();
      else this.#exchange.clientDrained();
    } catch (error) {
      this.#crashed(error);
    }
  }

  onClose(): void {
    try {
      if (this.#reading === 'head' && this.head.began) this.#recordRefused('client_gone', 499, 0);
      this.#release();
      this.#exchange.clientGone();
    } catch (error) {
      logFailure(this.#environment.log, error, '');
    }
    this.#closed();
  }

  onTimeout(): void {
    try {
      if (this.#reading === 'body') {
        this.#closeAfter = true;
        if (this.#exchange.active) this.#exchange.refuse('body_timeout');
        this.#close();
      } else if (this.#reading === 'head' && this.head.began) this.#refuseHead('head_timeout');
      else this.#close();
    } catch (error) {
      this.#crashed(error);
    }
  }

  // Reading.

  /** Reads requests from the bytes as far as it may now; answers the first unused one. */
  #read(buffer: Buffer, start: number, end: number): number {
    let at = start;
    this.#looping = true;
    while (at < end) {
      if (this.#reading === 'head') {
        const outcome = this.head.parse(buffer, at, end, this.#environment.limits());
        if (outcome === NEED_MORE) {
          this.#awaitRestOfHead();
          break;
        }
        if (outcome !== COMPLETE) {
          this.#refuseHead(this.head.cause);
          break;
        }
        at += this.head.length;
        this.#beginExchange();
      } else if (this.#reading === 'body') {
        at = this.#readBody(buffer, at, end);
      } else break;
    }
    this.#looping = false;
    if (this.#exchange.active) this.#exchange.flush();
    return this.#reading === 'nothing' ? end : at;
  }

  #readAhead(): void {
    const ahead = this.#ahead;
    const used = this.#read(ahead.buffer, ahead.start, ahead.end);
    if (this.#reading === 'nothing') ahead.clear();
    else ahead.consumeTo(used);
    ahead.recount();
    this.#updateReading();
  }

  #awaitRestOfHead(): void {
    const { timers } = this.#environment;
    if (this.#headStartedAt !== 0 || !this.head.began) return;
    this.#headStartedAt = this.#environment.clock.now();
    timers.set(this, this.#environment.limits().headTimeoutMs);
  }

  #beginExchange(): void {
    const environment = this.#environment;
    const { head } = this;
    environment.timers.clear(this);
    this.#headStartedAt = 0;
    this.#closeAfter = false;
    head.own();
    this.identity = this.trusted
      ? identifyForwarded(head.fields, this.#direct, environment.trusts)
      : this.#direct;
    this.view.begin(this.identity, environment.clock.now());
    if (!head.hasBody) {
      this.#reading = 'ahead';
      this.#exchange.begin();
      return;
    }
    this.#reading = 'body';
    this.#body.start(head, environment.limits());
    // Whoever asked whether to send its body may wait for the word as long as the backend may think.
    if (!head.expectContinue) environment.timers.set(this, environment.limits().bodyIdleMs);
    this.#exchange.begin();
    const { limits } = this.#exchange;
    if (limits === null) return;
    this.#body.setLimits({ ...environment.limits(), ...limits });
    if (!head.expectContinue) this.bodyInvited();
  }

  #readBody(buffer: Buffer, start: number, end: number): number {
    const { timers } = this.#environment;
    const at = this.#body.receive(buffer, start, end, this);
    const violation = this.#body.violation(timers.now);
    if (violation !== null) {
      this.#closeAfter = true;
      if (this.#exchange.active) this.#exchange.refuse(violation);
      this.#close();
      return end;
    }
    if (!this.#body.done) {
      if (!this.#bodyHeld) timers.set(this, this.#bodyIdleMs);
      return at;
    }
    timers.clear(this);
    this.#reading = 'ahead';
    this.#exchange.requestEnd();
    // The answer was complete before the body was: only the rest of it was missing.
    if (!this.#exchange.active) this.#nextRequest();
    return at;
  }

  get #bodyIdleMs(): number {
    return this.#exchange.limits?.bodyIdleMs ?? this.#environment.limits().bodyIdleMs;
  }

  /** From the body: on to the backend. */
  onBody(buffer: Buffer, start: number, end: number): void {
    this.#exchange.requestBody(buffer, start, end);
  }

  #updateReading(): void {
    const pause = this.#bodyHeld || (this.#reading === 'ahead' && this.#ahead.full);
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#stream.pause();
    else this.#stream.resume();
  }

  /** Whether the next request waits until the client has taken enough of the answers before it. */
  get #catchingUp(): boolean {
    return this.#reading === 'ahead' && !this.#exchange.active;
  }

  #nextRequest(): void {
    this.#bodyHeld = false;
    this.#environment.timers.set(this, this.#environment.limits().keepAliveMs);
    // Answers to a client that takes none would pile up here: it is held back like one that sends too far ahead.
    this.#reading = this.#answer.blocked ? 'ahead' : 'head';
    if (this.#reading === 'head') this.head.reset();
    if (this.#looping) return;
    if (this.#reading === 'head' && this.#ahead.length > 0) this.#readAhead();
    else this.#updateReading();
    if (!this.#ended || (this.#reading as Reading) === 'ahead') return;
    this.#leave();
    this.#exchange.clientGone();
  }

  // For the exchange: the request.

  pauseBody(): void {
    if (this.#bodyHeld || this.#reading === 'nothing') return;
    this.#bodyHeld = true;
    this.#body.hold(this.#environment.timers.now);
    this.#environment.timers.clear(this);
    this.#updateReading();
  }

  resumeBody(): void {
    if (!this.#bodyHeld) return;
    this.#bodyHeld = false;
    this.#body.letFlow(this.#environment.timers.now);
    this.#updateReading();
    if (this.#reading === 'body') this.#environment.timers.set(this, this.#bodyIdleMs);
  }

  bodyInvited(): void {
    if (this.#reading === 'body' && !this.#bodyHeld) this.#environment.timers.set(this, this.#bodyIdleMs);
  }

  // For the exchange: the answer.

  sendInformational(head: ResponseHead): void {
    this.#answer.informational(head);
  }

  sendHead(head: ResponseHead, framing: ResponseFraming, changes: FieldChanges | null): boolean {
    this.#closeAfter = this.#mustClose() || endsByClose(framing, this.head.minor);
    return this.#answer.head(head, framing, this.head.minor, this.#closeAfter, changes);
  }

  sendBody(buffer: Buffer, start: number, end: number): void {
    this.#answer.body(buffer, start, end);
  }

  sendEnd(): void {
    this.#answer.end();
  }

  flush(): boolean {
    return this.#answer.flush();
  }

  sendOwn(answer: PageAnswer, changes: FieldChanges | null): number {
    const { method, minor } = this.head;
    this.#closeAfter = this.#mustClose();
    return this.#answer.own({ answer, headOnly: method === 'HEAD', close: this.#closeAfter, minor, changes });
  }

  cut(): void {
    this.#release();
    this.#answer.cut();
  }

  startTunnel(
    head: ResponseHead,
    connection: UpstreamConnection,
    changes: FieldChanges | null,
    onEnd: (end: TunnelEnd) => void,
  ): Tunnel {
    this.#answer.switched(head, changes);
    const tunnel = new Tunnel({
      client: this.#stream,
      connection,
      timers: this.#environment.timers,
      idleMs: null,
      webSocket: true,
      onEnd: (end) => {
        try {
          onEnd(end);
        } catch (error) {
          logFailure(this.#environment.log, error, '');
        }
        this.#closed();
      },
    });
    this.#tunnel = tunnel;
    // Frames that came on the heels of the handshake.
    const { buffer, start, end } = this.#ahead;
    this.#release();
    tunnel.fromClient(buffer, start, end);
    if (this.#ended) tunnel.clientEnded();
    return tunnel;
  }

  exchangeEnded(): void {
    if (this.#reading === 'nothing') return;
    try {
      if (this.#closeAfter || this.#draining) this.#close(this.#saidLast ? 0 : undefined);
      else if (this.#reading === 'ahead') this.#nextRequest();
      else this.resumeBody();
    } catch (error) {
      // Here and not by whoever called: that is the end of the request before.
      this.#crashed(error);
    }
  }

  /** Whether the client has promised to send nothing more (RFC 9112 §9.6), so that nothing has to be waited for. */
  get #saidLast(): boolean {
    return !this.head.keepAlive && !this.head.hasBody && this.#ahead.length === 0;
  }

  #mustClose(): boolean {
    if (!this.head.keepAlive || this.#draining || this.#environment.draining() || this.#closeAfter)
      return true;
    if (this.#reading !== 'body' || this.#body.done) return false;
    // The answer comes before the request is complete. A client that asked first may never send its body.
    return !this.#body.drainable || (this.head.expectContinue && !this.#body.began);
  }

  #refuseHead(cause: CauseCode): void {
    const requestId = newRequestId();
    const answer = pageFor(this.#environment.pages, cause, null, { requestId, decision: null });
    const headOnly = this.head.method === 'HEAD';
    const { minor } = this.head;
    const bytes = this.#answer.own({ answer, headOnly, close: true, minor, changes: null });
    this.#recordRefused(cause, answer.status, bytes, requestId);
    this.#close();
  }

  #recordRefused(cause: CauseCode, status: number, bytesOut: number, id: string = newRequestId()): void {
    const at = this.#environment.clock.now();
    const totalMs = this.#headStartedAt === 0 ? 0 : Math.max(0, at - this.#headStartedAt);
    const facts = { id, at, status, cause, endedBy: 'client', bytesOut, totalMs } as const;
    recordRefused(this.#environment.observer, this.head, this.#direct, facts);
  }

  /** An exception of ours ends this connection and nothing else. */
  #crashed(error: unknown): void {
    logFailure(this.#environment.log, error, '');
    this.#looping = false;
    this.#closeAfter = true;
    try {
      this.#exchange.fail();
    } finally {
      this.#close();
    }
  }

  /** The client has ended its side. Nothing comes behind the exchange under way, whose end does not begin another. */
  #leave(): void {
    if (this.#reading === 'head' && this.head.began) this.#recordRefused('client_gone', 499, 0);
    this.#close();
  }

  /** Sends what is pending and ends; nothing more is read. */
  #close(lingerMs?: number): void {
    if (this.#reading === 'nothing') return;
    this.#release();
    this.#stream.close(lingerMs);
  }

  /** The stream is gone, or the tunnel on it: exactly once, whatever failed before. */
  #closed(): void {
    try {
      this.#release();
      this.#exchange.close();
      this.head.fields.free();
      this.#environment.observer.connectionClosed();
    } catch (error) {
      logFailure(this.#environment.log, error, '');
    }
    this.#onClosed(this);
  }

  /** Idempotent; the stream may still be sending. */
  #release(): void {
    this.#reading = 'nothing';
    this.#ahead.clear();
    this.#environment.timers.remove(this);
  }
}

/**
 * One request of an HTTP/2 connection and its answer (RFC 9113 §5, §8): the visitor of an exchange. It frames the
 * request's body for the backend and the answer for the client, and is used again for other streams when both sides
 * have ended and the exchange is over.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { FieldChanges } from '../../shared/routing/decision.ts';
import { BodyWatch } from '../http1/body-watch.ts';
import { writeChunkLine } from '../http1/chunk-decoder.ts';
import type { ClientIdentity } from '../http1/client-identity.ts';
import { Exchange } from '../http1/exchange.ts';
import type { FieldLines } from '../http1/field-lines.ts';
import { RequestHead } from '../http1/request-head.ts';
import { HttpRequestView } from '../http1/request-view.ts';
import type { ResponseFraming, ResponseHead } from '../http1/response-head.ts';
import type { Visitor } from '../http1/visitor.ts';
import type { PageAnswer } from '../pages/contract.ts';
import type { Environment } from '../serving/environment.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import type { Tunnel } from '../tunnel/tunnel.ts';
import type { HpackEncoder } from './hpack-encoder.ts';
import * as h2 from './protocol.ts';
import { encodeInformational, encodeOwn, encodeResponse, keptTrailers } from './response-fields.ts';
import { type Sender, type SendOwner, SendState } from './sender.ts';

/** The connection, as its streams see it. */
export interface StreamHost {
  readonly peer: string;
  readonly trusted: boolean;
  readonly forwarding: string;
  readonly clientFields: string;
  readonly tls: ByteStream['tls'];
  readonly direct: ClientIdentity;
  readonly sender: Sender;
  readonly encoder: HpackEncoder;
  /** Bytes of DATA are used up: the client may send as many more. */
  consumed(bytes: number): void;
  /** The stream is over, perhaps by a reset of ours; it may be used for another one from now on. */
  released(stream: Http2Stream, resetByUs: boolean): void;
  /** The client broke a rule that costs it the stream; whoever does so all the time loses the connection. */
  mistake(): void;
  onException(error: unknown): void;
}

/** What a client may send of one body before the backend has taken any of it. */
export const STREAM_WINDOW = 262_144;
/** Bytes of an answer that wait for the client: above the first the backend is held back until the second is reached. */
const HIGH_WATER = 65_536;
const LOW_WATER = 16_384;
/** With so much waiting on all streams of the connection, each is held back as soon as anything of it waits. */
const HIGH_WATER_OF_ALL = 262_144;
/** A client that takes nothing of an answer that is complete for this long is given up. */
const STALL_MS = 60_000;
const UNBOUNDED = -1;

const LAST_CHUNK = Buffer.from('0\r\n\r\n');
/** A chunk is composed and handed on within one call. */
const chunk: Buffer = Buffer.allocUnsafeSlow(h2.FRAME_SIZE + 32);

export class Http2Stream implements Visitor, SendOwner, Timed {
  timerDue = 0;
  timerQueued = false;
  timerSlot = 0;
  timerPlace = 0;
  readonly protocol = 'HTTP/2.0';
  readonly head = new RequestHead();
  readonly view = new HttpRequestView(this.head);
  readonly exchange: Exchange;
  readonly send = new SendState(this);
  identity: ClientIdentity;
  /** What the client may still send of the body before we say more. */
  receiveWindow = 0;
  /** The client has sent everything. */
  remoteEnded = false;
  /** Its exchange has begun, and nothing was sent to a backend yet. */
  corked = false;
  readonly #environment: Environment;
  readonly #watch = new BodyWatch();
  #host: StreamHost;
  /** We have sent everything. */
  #localEnded = false;
  #wasReset = false;
  #resetByUs = false;
  /** What a malformed request is answered with, instead of a page. */
  #error = h2.NO_ERROR;
  /** Of a body with a length, what has not come yet; `UNBOUNDED` for others. */
  #missing = UNBOUNDED;
  #dataBytes = 0;
  #held = false;
  /** Bytes of the body that the exchange has and the backend has not. */
  #heldBytes = 0;
  /** Used up, and not yet said to the client. */
  #unsaid = 0;
  #pendingWas = 0;

  constructor(environment: Environment, host: StreamHost) {
    this.#environment = environment;
    this.#host = host;
    this.identity = host.direct;
    this.exchange = new Exchange(environment, this);
  }

  /** 0 when it is not in use. */
  get id(): number {
    return this.send.id;
  }
  get peer(): string {
    return this.#host.peer;
  }
  get trusted(): boolean {
    return this.#host.trusted;
  }
  get forwarding(): string {
    return this.#host.forwarding;
  }
  get clientFields(): string {
    return this.#host.clientFields;
  }
  get pendingBytes(): number {
    return this.send.pending.length;
  }

  /** A stream begins; its request stands in `head`, in memory of its own. */
  open(host: StreamHost, id: number, sendWindow: number, endStream: boolean): void {
    this.#host = host;
    this.view.tls = host.tls;
    this.send.begin(id, sendWindow);
    this.receiveWindow = STREAM_WINDOW;
    this.remoteEnded = endStream;
    this.corked = false;
    this.#localEnded = false;
    this.#wasReset = false;
    this.#resetByUs = false;
    this.#error = h2.NO_ERROR;
    this.#missing = this.head.contentLength >= 0 ? this.head.contentLength : UNBOUNDED;
    this.#dataBytes = 0;
    this.#held = false;
    this.#heldBytes = 0;
    this.#unsaid = 0;
  }

  /** Runs the exchange; it may be over when this returns. */
  begin(identity: ClientIdentity): void {
    const environment = this.#environment;
    this.identity = identity;
    this.view.begin(identity, environment.clock.now());
    if (!this.remoteEnded) {
      const limits = environment.limits();
      this.#watch.start(limits);
      // Whoever asked whether to send its body may wait for the word as long as the backend may think.
      if (!this.head.expectContinue) environment.timers.set(this, limits.bodyIdleMs);
    }
    this.exchange.begin();
    const { limits } = this.exchange;
    if (limits === null || this.remoteEnded || !this.exchange.active) return;
    this.#watch.limits = { ...environment.limits(), ...limits };
    if (!this.head.expectContinue) this.bodyInvited();
  }

  /** What was composed for the backend leaves. */
  uncork(): void {
    this.corked = false;
    if (this.exchange.active) this.exchange.flush();
  }

  /** Answers a request that no exchange is begun for. */
  answer(answer: PageAnswer): number {
    const bytes = this.sendOwn(answer, null);
    this.#finish();
    return bytes;
  }

  // The request.

  /** Bytes of its body; `last` with the end of the stream. */
  data(buffer: Buffer, start: number, end: number, last: boolean): void {
    const size = end - start;
    if (this.#missing !== UNBOUNDED) {
      this.#missing -= size;
      // RFC 9113 §8.1.1: the sum of all DATA is what Content-Length says.
      if (this.#missing < 0 || (last && this.#missing > 0)) {
        this.#consumed(size);
        this.malformed();
        return;
      }
    }
    this.#dataBytes += size;
    if (last) this.remoteEnded = true;
    if (!this.exchange.active) {
      this.#host.consumed(size);
      if (last) this.#finish();
      return;
    }
    if (this.#missing !== UNBOUNDED) this.#toExchange(buffer, start, end);
    else this.#chunk(buffer, start, end, last);
    if (this.#held) this.#heldBytes += size;
    else this.#consumed(size);
    this.#afterBody(last);
  }

  /** Padding of its body: it took from the window, and is used up. */
  padding(bytes: number): void {
    this.#consumed(bytes);
  }

  /** The fields behind its body, which end the stream; as lines of HTTP/1.1, with the empty line. */
  trailers(lines: Buffer | null): void {
    if (this.#missing > 0) {
      this.malformed();
      return;
    }
    this.remoteEnded = true;
    if (!this.exchange.active) {
      this.#finish();
      return;
    }
    if (this.#missing === UNBOUNDED) {
      const end = lines === null ? LAST_CHUNK : Buffer.concat([LAST_CHUNK.subarray(0, 3), lines]);
      this.#toExchange(end, 0, end.length);
    }
    this.#afterBody(true);
  }

  /** The request turned out to be malformed: a stream error (§8.1.1). */
  malformed(): void {
    this.fail('bad_request', h2.PROTOCOL_ERROR);
  }

  /** The client broke a rule: its request ends by `cause`, and the stream by a reset with `code`. */
  fail(cause: CauseCode, code: number): void {
    this.#error = code;
    if (this.exchange.active) this.exchange.refuse(cause);
    else this.#reset(code);
    this.#host.mistake();
  }

  /** The client reset the stream. */
  clientReset(): void {
    this.#wasReset = true;
    this.#host.sender.drop(this.send);
    if (this.exchange.active) this.exchange.clientGone();
    else this.#release();
  }

  /** The connection is over. */
  connectionGone(how: 'client' | 'stop' | 'fail'): void {
    this.#wasReset = true;
    this.#host.sender.drop(this.send);
    if (!this.exchange.active) this.#release();
    else if (how === 'client') this.exchange.clientGone();
    else if (how === 'stop') this.exchange.stop();
    else this.exchange.fail();
  }

  onTimeout(): void {
    try {
      if (!this.exchange.active) this.#stalled();
      else if (!this.remoteEnded) this.exchange.refuse('body_timeout');
    } catch (error) {
      this.#host.onException(error);
    }
  }

  // For the exchange: the request.

  pauseBody(): void {
    if (this.#held) return;
    const { timers } = this.#environment;
    this.#held = true;
    this.#watch.hold(timers.now);
    timers.clear(this);
  }

  resumeBody(): void {
    if (!this.#held) return;
    const { timers } = this.#environment;
    this.#held = false;
    this.#watch.letFlow(timers.now);
    const bytes = this.#heldBytes;
    this.#heldBytes = 0;
    this.#consumed(bytes);
    if (!this.remoteEnded) timers.set(this, this.#bodyIdleMs);
  }

  bodyInvited(): void {
    if (!this.remoteEnded && !this.#held) this.#environment.timers.set(this, this.#bodyIdleMs);
  }

  // For the exchange: the answer.

  sendInformational(head: ResponseHead): void {
    if (this.#wasReset) return;
    try {
      encodeInformational(this.#host.encoder, head);
    } catch (error) {
      this.#lostTable(error);
    }
    this.#host.sender.headers(this.send, false);
  }

  sendHead(head: ResponseHead, framing: ResponseFraming, changes: FieldChanges | null): boolean {
    if (this.#wasReset) return false;
    try {
      encodeResponse(this.#host.encoder, head, framing, changes);
    } catch (error) {
      this.#lostTable(error);
    }
    this.#host.sender.headers(this.send, false);
    return false;
  }

  sendBody(buffer: Buffer, start: number, end: number): void {
    if (!this.#wasReset) this.#host.sender.data(this.send, buffer, start, end);
  }

  sendTrailers(fields: FieldLines): void {
    this.send.trailers = keptTrailers(fields);
  }

  sendEnd(): void {
    if (!this.#wasReset) this.#host.sender.end(this.send);
  }

  /** What was composed leaves with that of other streams, at the end of the turn. */
  flush(): boolean {
    const { length } = this.send.pending;
    return length === 0 || (length <= HIGH_WATER && this.#host.sender.queued <= HIGH_WATER_OF_ALL);
  }

  sendOwn(answer: PageAnswer, changes: FieldChanges | null): number {
    if (this.#error !== h2.NO_ERROR) this.#reset(this.#error);
    if (this.#wasReset) return 0;
    const { sender, encoder } = this.#host;
    const { body, status } = answer;
    const bodiless = this.head.method === 'HEAD' || status === 204 || status === 304;
    try {
      encodeOwn(encoder, answer, changes);
    } catch (error) {
      this.#lostTable(error);
    }
    sender.headers(this.send, false);
    if (!bodiless) sender.data(this.send, body, 0, body.length);
    sender.end(this.send);
    return bodiless ? 0 : body.length;
  }

  cut(): void {
    this.#reset(this.#error === h2.NO_ERROR ? h2.INTERNAL_ERROR : this.#error);
  }

  startTunnel(): Tunnel {
    throw new Error('a request of HTTP/2 cannot ask for a tunnel');
  }

  exchangeEnded(): void {
    if (this.#held) this.#consumed(this.#heldBytes);
    this.#held = false;
    this.#heldBytes = 0;
    this.#environment.timers.clear(this);
    if (this.#wasReset) this.#release();
    else this.#finish();
  }

  // From the sender.

  onTaken(): void {
    if (this.exchange.active && this.send.pending.length <= LOW_WATER) this.exchange.clientDrained();
  }

  onEnded(): void {
    this.#localEnded = true;
    if (!this.exchange.active) this.#finish();
  }

  /** It will not be used again. */
  close(): void {
    this.exchange.close();
    this.head.fields.free();
    this.#environment.timers.remove(this);
  }

  // Inside.

  get #bodyIdleMs(): number {
    return this.exchange.limits?.bodyIdleMs ?? this.#environment.limits().bodyIdleMs;
  }

  /** A block that was not finished: client and encoder no longer agree on the table, so no stream can go on. */
  #lostTable(error: unknown): never {
    this.#host.onException(error);
    throw error;
  }

  #chunk(buffer: Buffer, start: number, end: number, last: boolean): void {
    let length = 0;
    if (end > start) {
      length = writeChunkLine(chunk, 0, end - start);
      length += buffer.copy(chunk, length, start, end);
      chunk[length++] = 13;
      chunk[length++] = 10;
    }
    if (last) length += LAST_CHUNK.copy(chunk, length);
    if (length > 0) this.#toExchange(chunk, 0, length);
  }

  #toExchange(buffer: Buffer, start: number, end: number): void {
    if (end > start) this.exchange.requestBody(buffer, start, end);
  }

  #afterBody(last: boolean): void {
    const { timers } = this.#environment;
    // Handing on the body may have ended the exchange.
    if (!this.exchange.active) return;
    const violation = this.#watch.violation(this.#dataBytes, last, timers.now);
    if (violation !== null) this.exchange.refuse(violation);
    else if (last) {
      timers.clear(this);
      this.exchange.requestEnd();
    } else if (!this.#held) timers.set(this, this.#bodyIdleMs);
  }

  #consumed(bytes: number): void {
    if (bytes === 0) return;
    this.#host.consumed(bytes);
    if (this.remoteEnded || this.#wasReset || this.#localEnded) return;
    this.#unsaid += bytes;
    if (this.#unsaid < STREAM_WINDOW / 2) return;
    this.#host.sender.windowUpdate(this.send.id, this.#unsaid);
    this.receiveWindow += this.#unsaid;
    this.#unsaid = 0;
  }

  #reset(code: number): void {
    if (this.#wasReset) return;
    this.#wasReset = true;
    this.#resetByUs = true;
    this.#host.sender.drop(this.send);
    this.#host.sender.reset(this.send.id, code);
    if (!this.exchange.active) this.#release();
  }

  /** The exchange is over; so is the stream, when both sides have said everything. */
  #finish(): void {
    if (this.id === 0 || this.exchange.active) return;
    if (!this.#localEnded) {
      this.#pendingWas = this.send.pending.length;
      this.#environment.timers.set(this, STALL_MS);
    } else if (this.remoteEnded) this.#release();
    // §8.1: the answer is complete, and the rest of the request is not wanted.
    else this.#reset(h2.NO_ERROR);
  }

  #stalled(): void {
    const { length } = this.send.pending;
    if (length >= this.#pendingWas) {
      this.#reset(h2.ENHANCE_YOUR_CALM);
      return;
    }
    this.#pendingWas = length;
    this.#environment.timers.set(this, STALL_MS);
  }

  #release(): void {
    if (this.id === 0) return;
    this.#environment.timers.clear(this);
    const host = this.#host;
    host.released(this, this.#resetByUs);
    this.send.id = 0;
    this.head.reset();
  }
}

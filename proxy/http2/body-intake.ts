/**
 * From DATA to the bodies of requests (RFC 9113 §6.1, §6.9): gives the bytes to their streams, keeps the window of the
 * connection, and lets pass what was on its way to a stream that we reset, up to what its window allowed.
 */
import type { TimerWheel } from '../stream/timer-wheel.ts';
import type { Patience } from './abuse.ts';
import * as h2 from './protocol.ts';
import type { IntakeHost, RequestIntake } from './request-intake.ts';
import { type Http2Stream, STREAM_WINDOW } from './stream.ts';

/** What a client may send of all bodies together before backends have taken any of it. */
export const CONNECTION_WINDOW = 1_048_576;

export interface BodyHost extends IntakeHost {
  readonly closed: boolean;
  /** What another stream than this one has to send leaves now. */
  uncorkOthers(stream: Http2Stream | undefined): void;
}

export class BodyIntake {
  readonly #host: BodyHost;
  readonly #requests: RequestIntake;
  readonly #timers: TimerWheel;
  readonly #idleFrames: Patience;
  /** What the client may still send of all bodies. */
  #window = CONNECTION_WINDOW;
  /** Used up, and not yet said to the client. */
  #unsaid = 0;
  /** What may still come for streams that we have reset: nobody sends more without a window. */
  #late = 0;
  /** Of the DATA frame under way. */
  #stream: Http2Stream | null = null;
  #id = 0;
  #ends = false;
  #left = 0;

  constructor(host: BodyHost, requests: RequestIntake, timers: TimerWheel, idleFrames: Patience) {
    this.#host = host;
    this.#requests = requests;
    this.#timers = timers;
    this.#idleFrames = idleFrames;
  }

  /** A DATA frame begins. Answers the error code that the connection ends with, or `NO_ERROR`. */
  begin(flags: number, id: number, length: number): number {
    this.#stream = null;
    this.#id = id;
    this.#ends = (flags & h2.END_STREAM) !== 0;
    this.#left = length;
    if (id === 0 || this.#requests.isIdle(id)) return h2.PROTOCOL_ERROR;
    this.#window -= length;
    if (this.#window < 0) return h2.FLOW_CONTROL_ERROR;
    if (length === 0 && !this.#ends && !this.#idleFrames.take(1, this.#timers.now))
      return h2.ENHANCE_YOUR_CALM;
    const stream = this.#host.streams.get(id);
    this.#host.uncorkOthers(stream);
    if (stream === undefined) return this.#afterTheEnd(id, length);
    if (length > 0) this.#idleFrames.restore(1);
    if (stream.remoteEnded) {
      stream.fail('bad_request', h2.STREAM_CLOSED);
      return h2.NO_ERROR;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) stream.fail('bad_request', h2.FLOW_CONTROL_ERROR);
    else this.#stream = stream;
    return h2.NO_ERROR;
  }

  /** Bytes of it; `complete` with the last ones. */
  bytes(buffer: Buffer, start: number, end: number, complete: boolean): void {
    const stream = this.#stream;
    const size = end - start;
    this.#left -= size;
    if (stream === null || stream.id !== this.#id) this.consumed(size);
    else {
      this.#host.cork(stream);
      stream.data(buffer, start, end, complete && this.#ends);
    }
    if (!complete) return;
    // What is left is padding.
    if (this.#left > 0) {
      if (stream !== null && stream.id === this.#id) stream.padding(this.#left);
      else this.consumed(this.#left);
    }
    this.#stream = null;
  }

  /** The client may send as many bytes more. */
  consumed(bytes: number): void {
    this.#unsaid += bytes;
    if (this.#host.closed || this.#unsaid < CONNECTION_WINDOW / 4) return;
    this.#host.sender.windowUpdate(0, this.#unsaid);
    this.#window += this.#unsaid;
    this.#unsaid = 0;
  }

  /** The stream is over: the rest of its frame is nobody's, and the object may serve another before that comes. */
  released(stream: Http2Stream, resetByUs: boolean): void {
    if (this.#stream === stream) this.#stream = null;
    if (resetByUs && !stream.remoteEnded) this.#late += Math.max(0, stream.receiveWindow);
  }

  /** A stream was reset that was not opened; its body may be on its way. */
  refused(): void {
    this.#late += STREAM_WINDOW;
  }

  close(): void {
    this.#stream = null;
  }

  #afterTheEnd(id: number, length: number): number {
    if (id > this.#requests.finalId) return h2.NO_ERROR;
    if (!this.#host.ended.mayStillCome(id)) return h2.STREAM_CLOSED;
    this.#late -= length;
    return this.#late < 0 ? h2.STREAM_CLOSED : h2.NO_ERROR;
  }
}

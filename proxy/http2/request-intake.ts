/**
 * From field blocks to requests: decodes each block of a connection, whatever becomes of it (the table depends on
 * it), and opens streams, ends bodies with trailers, or refuses (RFC 9113 §5.1, §8).
 */
import type { CauseCode } from '../../shared/causes.ts';
import { identifyForwarded } from '../http1/client-identity.ts';
import { COMPLETE } from '../http1/field-lines.ts';
import { recordOfRefused } from '../http1/journal.ts';
import { pageFor } from '../http1/own-answer.ts';
import { newRequestId } from '../http1/request-id.ts';
import type { Environment } from '../serving/environment.ts';
import type { EndedStreams } from './abuse.ts';
import { FieldBlock } from './field-block.ts';
import { type FieldSink, HpackDecoder } from './hpack-decoder.ts';
import * as h2 from './protocol.ts';
import { RequestFields } from './request-fields.ts';
import type { Http2Stream, StreamHost } from './stream.ts';
import { poolOf } from './stream-pool.ts';
import { TrailerFields } from './trailer-fields.ts';

/** The connection, as its intake sees it. */
export interface IntakeHost extends StreamHost {
  readonly streams: Map<number, Http2Stream>;
  readonly ended: EndedStreams;
  /** Window of a new stream for its answer. */
  readonly initialWindow: number;
  /** A stream was opened; its exchange begins next. */
  opened(): void;
  /** An exchange has begun whose body is still to come: its head waits for that, or for the end of the turn. */
  begun(stream: Http2Stream): void;
  /** What this stream sends to its backend leaves with the next bytes of its body, or at the end of the event. */
  cork(stream: Http2Stream): void;
  /** The client sent what brings nothing; false when it does so all the time. */
  useless(): boolean;
  /** Resets a stream that was not opened. */
  refuseStream(id: number, code: number): void;
}

/** A field block is decoded, and its request begun, within one call. */
const fields = new RequestFields();
const ignored: FieldSink = { field() {} };

/** Methods answer the error code that the connection ends with, or `NO_ERROR`. */
export class RequestIntake {
  /** The greatest stream that was opened or refused. */
  lastId = 0;
  /** No stream beyond this one is served. */
  finalId = h2.MAX_STREAM_ID;
  /** Field blocks that came to their end. */
  blocks = 0;
  readonly #environment: Environment;
  readonly #host: IntakeHost;
  readonly #maxStreams: number;
  readonly #decoder = new HpackDecoder();
  readonly #block = new FieldBlock();

  constructor(environment: Environment, host: IntakeHost, maxStreams: number) {
    this.#environment = environment;
    this.#host = host;
    this.#maxStreams = maxStreams;
  }

  /** The stream whose field block is not complete, 0 when none is. */
  get openBlock(): number {
    return this.#block.id;
  }

  /** Nobody has opened it; one that is not served any more may have been (§6.8). */
  isIdle(id: number): boolean {
    return id > this.lastId && id <= this.finalId;
  }

  headers(flags: number, id: number, buffer: Buffer, start: number, end: number): number {
    const { streams, ended } = this.#host;
    if ((id & 1) === 0) return h2.PROTOCOL_ERROR;
    if (id <= this.lastId && !streams.has(id)) {
      // §5.1.1: new streams have greater ids. What belongs to a stream that we reset was on its way.
      if (!ended.mayStillCome(id)) return ended.has(id) ? h2.STREAM_CLOSED : h2.PROTOCOL_ERROR;
      if (!this.#host.useless()) return h2.ENHANCE_YOUR_CALM;
    }
    // It was told that this stream is not served, and its fields have to be decoded all the same.
    if (id > this.finalId && !this.#host.useless()) return h2.ENHANCE_YOUR_CALM;
    const code = this.#block.headers(flags, id, buffer, start, end);
    if (code !== h2.NO_ERROR) return code;
    return this.#block.id === 0 ? this.#complete(id) : h2.NO_ERROR;
  }

  continuation(flags: number, id: number, buffer: Buffer, start: number, end: number): number {
    // What is more than a head may hold, but can be decoded, is answered 431.
    const limit = 2 * this.#environment.limits().headSize;
    const code = this.#block.continuation(flags, buffer, start, end, limit);
    return code === h2.NO_ERROR && this.#block.id === 0 ? this.#complete(id) : code;
  }

  /** A request that was refused, or of which only a part came. */
  recordRefused(cause: CauseCode, status: number, bytesOut: number, id: string = newRequestId()): void {
    const { clock, observer } = this.#environment;
    const { direct, peer } = this.#host;
    const decoded = cause !== 'client_gone' && cause !== 'head_timeout';
    observer.record(
      recordOfRefused({
        id,
        at: clock.now(),
        protocol: 'HTTP/2.0',
        secure: direct.secure,
        method: decoded ? fields.method : '',
        target: decoded ? fields.path : '',
        address: peer,
        status,
        cause,
        endedBy: 'client',
        bytesOut,
        totalMs: 0,
      }),
    );
  }

  close(): void {
    this.#block.clear();
  }

  #complete(id: number): number {
    const stream = this.#host.streams.get(id);
    let code: number;
    this.blocks++;
    if (stream !== undefined) code = this.#trailers(stream);
    else if (id <= this.lastId || id > this.finalId) code = this.#decode(ignored);
    else code = this.#request(id);
    this.#block.done();
    return code;
  }

  #decode(sink: FieldSink): number {
    const { buffer, start, end } = this.#block;
    return this.#decoder.decode(buffer, start, end, sink) ? h2.NO_ERROR : h2.COMPRESSION_ERROR;
  }

  #trailers(stream: Http2Stream): number {
    const trailers = new TrailerFields();
    const code = this.#decode(trailers);
    if (code !== h2.NO_ERROR) return code;
    if (stream.remoteEnded) stream.fail('bad_request', h2.STREAM_CLOSED);
    else if (trailers.malformed || !this.#block.endStream) stream.malformed();
    else {
      this.#host.cork(stream);
      stream.trailers(trailers.section());
    }
    return h2.NO_ERROR;
  }

  #request(id: number): number {
    const limits = this.#environment.limits();
    const { endStream, selfDependent } = this.#block;
    fields.begin(limits.headSize, this.#host.trusted);
    const code = this.#decode(fields);
    if (code !== h2.NO_ERROR) return code;
    this.lastId = id;
    if (this.#host.streams.size >= this.#maxStreams) {
      this.#host.refuseStream(id, h2.REFUSED_STREAM);
      return h2.NO_ERROR;
    }
    fields.end(endStream);
    if (selfDependent || fields.malformed) {
      this.#malformed(id);
      return h2.NO_ERROR;
    }
    const pool = poolOf(this.#environment);
    const stream = pool.take(this.#host);
    const { head } = stream;
    const valid = !fields.tooLarge && head.parse(fields.buffer, 0, fields.length, limits) === COMPLETE;
    const cause = fields.tooLarge ? 'head_too_large' : head.cause;
    if (!valid && cause !== 'bad_request') {
      head.method = fields.method;
      this.#open(stream, id, endStream);
      this.#answerRefused(stream, cause);
    } else if (!valid || (endStream && head.contentLength > 0)) {
      // What the strict parser refuses: an invalid host, two lengths; or a length without a body (§8.1.1).
      head.reset();
      pool.give(stream);
      this.#malformed(id);
    } else {
      head.own();
      this.#open(stream, id, endStream);
      this.#begin(stream, id);
    }
    return h2.NO_ERROR;
  }

  #malformed(id: number): void {
    this.recordRefused('bad_request', 400, 0);
    this.#host.refuseStream(id, h2.PROTOCOL_ERROR);
  }

  #open(stream: Http2Stream, id: number, endStream: boolean): void {
    this.#host.streams.set(id, stream);
    stream.open(this.#host, id, this.#host.initialWindow, endStream);
    this.#host.opened();
  }

  #begin(stream: Http2Stream, id: number): void {
    const { head, exchange } = stream;
    const { trusted, direct } = this.#host;
    stream.begin(trusted ? identifyForwarded(head.fields, direct, this.#environment.trusts) : direct);
    // The answer may have been complete at once.
    if (stream.id !== id || !exchange.active) return;
    if (!head.hasBody) exchange.flush();
    else {
      stream.corked = true;
      this.#host.begun(stream);
    }
  }

  #answerRefused(stream: Http2Stream, cause: CauseCode): void {
    const requestId = newRequestId();
    const answer = pageFor(this.#environment.pages, cause, null, { requestId, decision: null });
    const bytes = stream.answer(answer);
    this.recordRefused(cause, answer.status, bytes, requestId);
  }
}

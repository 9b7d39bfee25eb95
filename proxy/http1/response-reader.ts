/**
 * Reads answers from a backend's connection: heads, interim answers, and bodies by their framing, across any split of
 * the input. It reports in order and stops at the end of the final answer; what stands behind that is only counted.
 */
import { ByteStore } from './byte-store.ts';
import { type BodySink, ChunkDecoder } from './chunk-decoder.ts';
import { COMPLETE, NEED_MORE } from './field-lines.ts';
import { type ResponseFraming, ResponseHead } from './response-head.ts';

/**
 * Told by method calls. Any of them may call `start` or `stop`: then the rest of the input is dropped, but for the data
 * of chunks that have come together, which is told to its end.
 */
export interface ResponseEvents extends BodySink {
  /** A 1xx other than 101. */
  onInformational(head: ResponseHead): void;
  /** A 101; `start`…`end` of `buffer` are the first bytes of the new protocol. */
  onSwitch(head: ResponseHead, buffer: Buffer, start: number, end: number): void;
  /** The final head. Answers whether a chunked body is handed on as it stands (true), or its data alone. */
  onHead(head: ResponseHead, framing: ResponseFraming): boolean;
  /** The answer is complete. `excess`: more bytes came than belong to it. */
  onComplete(excess: boolean): void;
  /** It is not valid HTTP; `began`: after the final head. */
  onInvalid(began: boolean): void;
}

/** More interim answers than this for one request, or more bytes of them, are an attack on the client or on us. */
const MAX_INFORMATIONAL = 100;
const MAX_INFORMATIONAL_BYTES = 65_536;

const STOPPED = 0;
const HEAD = 1;
const LENGTH = 2;
const CHUNKED = 3;
const CLOSE = 4;

export class ResponseReader {
  readonly head = new ResponseHead();
  readonly #events: ResponseEvents;
  readonly #chunks = new ChunkDecoder();
  readonly #partial = new ByteStore();
  #method = '';
  #state = STOPPED;
  #remaining = 0;
  #informational = 0;
  #informationalBytes = 0;
  /** Changes with every start and stop: tells a loop below that the answer it was in is over. */
  #generation = 0;

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /** A request with this method was sent: what comes next answers it. */
  start(method: string): void {
    this.#generation++;
    this.#method = method;
    this.#state = HEAD;
    this.#informational = 0;
    this.#informationalBytes = 0;
    this.head.reset();
    this.#partial.clear();
  }

  stop(): void {
    this.#generation++;
    this.#state = STOPPED;
    this.#partial.clear();
  }

  /** What an end of the connection means now: the orderly end of a body without framing, or a loss. */
  get endsWithConnection(): boolean {
    return this.#state === CLOSE;
  }

  receive(lent: Buffer, lentStart: number, lentEnd: number): void {
    if (this.#state !== HEAD) {
      this.#body(lent, lentStart, lentEnd);
      return;
    }
    const partial = this.#partial;
    if (partial.length === 0) {
      const rest = this.#heads(lent, lentStart, lentEnd);
      if (rest >= 0 && rest < lentEnd) partial.append(lent, rest, lentEnd);
      return;
    }
    partial.append(lent, lentStart, lentEnd);
    const rest = this.#heads(partial.buffer, partial.start, partial.end);
    if (rest >= 0) partial.consumeTo(rest);
  }

  /** Reads heads and what follows the final one. Answers where an unfinished head begins, -1 when none is waited for. */
  #heads(buffer: Buffer, start: number, end: number): number {
    const generation = this.#generation;
    const { head } = this;
    let at = start;
    while (at < end) {
      const outcome = head.parse(buffer, at, end);
      if (outcome === NEED_MORE) return at;
      if (outcome !== COMPLETE || (head.informational && this.#tooInformative(head.length))) {
        this.stop();
        this.#events.onInvalid(false);
        return -1;
      }
      at += head.length;
      if (head.informational) {
        if (head.status === 101) this.#events.onSwitch(head, buffer, at, end);
        else this.#events.onInformational(head);
        if (generation !== this.#generation) return -1;
        head.reset();
        continue;
      }
      this.#beginBody(buffer, at, end);
      return -1;
    }
    return at;
  }

  #tooInformative(bytes: number): boolean {
    this.#informationalBytes += bytes;
    return ++this.#informational > MAX_INFORMATIONAL || this.#informationalBytes > MAX_INFORMATIONAL_BYTES;
  }

  #beginBody(buffer: Buffer, at: number, end: number): void {
    const generation = this.#generation;
    const framing = this.head.framing(this.#method);
    const raw = this.#events.onHead(this.head, framing);
    if (generation !== this.#generation) return;
    // The store may be cleared: `buffer` stays alive through the reference here.
    this.#partial.clear();
    switch (framing) {
      case 'none':
        this.#complete(at < end);
        return;
      case 'length':
        this.#state = LENGTH;
        this.#remaining = this.head.contentLength;
        break;
      case 'chunked':
        this.#state = CHUNKED;
        this.#chunks.start(raw, this.head.fields.named);
        break;
      case 'close':
        this.#state = CLOSE;
        break;
      default:
        framing satisfies never;
    }
    if (at < end) this.#body(buffer, at, end);
  }

  #body(buffer: Buffer, start: number, end: number): void {
    const generation = this.#generation;
    switch (this.#state) {
      case LENGTH: {
        const take = Math.min(this.#remaining, end - start);
        this.#remaining -= take;
        this.#events.onBody(buffer, start, start + take);
        if (generation === this.#generation && this.#remaining === 0) this.#complete(start + take < end);
        return;
      }
      case CHUNKED: {
        const used = this.#chunks.decode(buffer, start, end, this.#events);
        if (generation !== this.#generation) return;
        if (this.#chunks.broken) {
          this.stop();
          this.#events.onInvalid(true);
        } else if (this.#chunks.done) this.#complete(used < end);
        return;
      }
      case CLOSE:
        this.#events.onBody(buffer, start, end);
        return;
    }
  }

  #complete(excess: boolean): void {
    this.stop();
    this.#events.onComplete(excess);
  }
}

/**
 * The body of a request by its framing (RFC 9112 §6.3), handed on framed as it came, and watched: its size, and the
 * mean rate at which the client sends, without the time in which we held it back.
 */
import type { CauseCode } from '../../shared/causes.ts';
import { type BodyLimits, BodyWatch } from './body-watch.ts';
import { type BodySink, ChunkDecoder } from './chunk-decoder.ts';
import type { RequestHead } from './request-head.ts';

/** What is left of a body is read to keep the connection only up to this many bytes. */
const DRAIN_LIMIT = 65_536;

export class RequestBody {
  readonly #chunks = new ChunkDecoder();
  #chunked = false;
  #remaining = 0;
  #dataBytes = 0;
  readonly #watch = new BodyWatch();

  /** The head says that a body follows. */
  start(head: RequestHead, limits: BodyLimits): void {
    this.#chunked = head.chunked;
    this.#remaining = head.chunked ? 0 : head.contentLength;
    this.#dataBytes = 0;
    this.#watch.start(limits);
    if (head.chunked) this.#chunks.start(true, head.fields.named);
  }

  setLimits(limits: BodyLimits): void {
    this.#watch.limits = limits;
  }

  get done(): boolean {
    return this.#chunked ? this.#chunks.done : this.#remaining === 0;
  }

  /** Whether any of it has come. */
  get began(): boolean {
    return this.#dataBytes > 0;
  }

  /** Whether the rest is so little that reading and dropping it is cheaper than a new connection. */
  get drainable(): boolean {
    return !this.#chunked && this.#remaining <= DRAIN_LIMIT;
  }

  /** Uses up bytes from `start` on; answers the first unused one. See `done` and `violation` after each call. */
  receive(buffer: Buffer, start: number, end: number, sink: BodySink): number {
    if (this.#chunked) {
      const used = this.#chunks.decode(buffer, start, end, sink);
      this.#dataBytes = this.#chunks.dataBytes;
      return used;
    }
    const take = Math.min(this.#remaining, end - start);
    this.#remaining -= take;
    this.#dataBytes += take;
    sink.onBody(buffer, start, start + take);
    return start + take;
  }

  /** What is wrong with the body so far, or null; `now` on the wheel's clock. */
  violation(now: number): CauseCode | null {
    if (this.#chunked && this.#chunks.broken) return 'bad_request';
    return this.#watch.violation(this.#dataBytes, this.done, now);
  }

  /** We hold the client back from now on: that time is not its fault. */
  hold(now: number): void {
    this.#watch.hold(now);
  }

  letFlow(now: number): void {
    this.#watch.letFlow(now);
  }
}

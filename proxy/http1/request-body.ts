/**
 * The body of a request by its framing (RFC 9112 §6.3), handed on framed as it came, and watched: its size, and the
 * mean rate at which the client sends, without the time in which we held it back.
 */
import type { CauseCode } from '../../shared/causes.ts';
import { type BodySink, ChunkDecoder } from './chunk-decoder.ts';
import type { RequestHead } from './request-head.ts';

export interface BodyLimits {
  /** Bytes of data; 0 = no limit. */
  readonly body: number;
  /** Mean bytes per second; 0 = no limit. */
  readonly bodyRate: number;
}

/** The mean rate is first looked at after this time. */
const RATE_GRACE_MS = 60_000;
/** What is left of a body is read to keep the connection only up to this many bytes. */
const DRAIN_LIMIT = 65_536;

export class RequestBody {
  readonly #chunks = new ChunkDecoder();
  #chunked = false;
  #remaining = 0;
  #dataBytes = 0;
  #limits: BodyLimits = { body: 0, bodyRate: 0 };
  #beganAt = 0;
  #heldSince = -1;
  #heldMs = 0;

  /** The head says that a body follows; `now` on the wheel's clock. */
  start(head: RequestHead, limits: BodyLimits, now: number): void {
    this.#chunked = head.chunked;
    this.#remaining = head.chunked ? 0 : head.contentLength;
    this.#dataBytes = 0;
    this.#limits = limits;
    this.#beganAt = now;
    this.#heldSince = -1;
    this.#heldMs = 0;
    if (head.chunked) this.#chunks.start(true);
  }

  setLimits(limits: BodyLimits): void {
    this.#limits = limits;
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

  /** What is wrong with the body so far, or null. */
  violation(now: number): CauseCode | null {
    if (this.#chunked && this.#chunks.broken) return 'bad_request';
    const { body, bodyRate } = this.#limits;
    if (body > 0 && this.#dataBytes > body) return 'body_too_large';
    const elapsed = now - this.#beganAt - this.#heldMs;
    if (bodyRate === 0 || elapsed < RATE_GRACE_MS || this.done) return null;
    return this.#dataBytes < (elapsed / 1_000) * bodyRate ? 'body_timeout' : null;
  }

  /** We hold the client back from now on: that time is not its fault. */
  hold(now: number): void {
    if (this.#heldSince < 0) this.#heldSince = now;
  }

  letFlow(now: number): void {
    if (this.#heldSince >= 0) this.#heldMs += now - this.#heldSince;
    this.#heldSince = -1;
  }
}

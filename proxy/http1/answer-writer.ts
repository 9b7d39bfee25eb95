/**
 * Sends answers to an HTTP/1.x client: heads with the first bytes of the body in one write, bodies in the framing that
 * the client's version has, and ends that cannot be mistaken: an answer that is not complete never looks complete.
 */
import type { FieldChanges } from '../../shared/routing/decision.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { responseOutbox } from './outbox.ts';
import { type OwnAnswerWriting, writeOwnAnswer } from './own-answer.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';
import { writeInformational, writeResponseHead, writeSwitch } from './response-writer.ts';

/** Whether an answer with this framing can only be ended by closing the connection (no chunks in HTTP/1.0). */
export function endsByClose(framing: ResponseFraming, minor: number): boolean {
  return minor === 0 && (framing === 'chunked' || framing === 'close');
}

export class AnswerWriter {
  readonly #stream: ByteStream;
  #framing: ResponseFraming = 'none';
  /** The backend's body has no framing, the client's gets chunks of ours. */
  #rechunk = false;
  /** The stream is above its mark. */
  #blocked = false;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** Whether the client has to catch up, until `drained`. */
  get blocked(): boolean {
    return this.#blocked;
  }

  drained(): void {
    this.#blocked = false;
  }

  informational(head: ResponseHead): void {
    writeInformational(responseOutbox, head);
    this.flush();
  }

  switched(head: ResponseHead, changes: FieldChanges | null): void {
    writeSwitch(responseOutbox, head, changes);
    this.flush();
  }

  /** Composes the final head; answers whether a chunked body is wanted as it stands. */
  head(
    head: ResponseHead,
    framing: ResponseFraming,
    minor: number,
    close: boolean,
    changes: FieldChanges | null,
  ): boolean {
    const bounded = framing === 'none' || framing === 'length';
    this.#framing = bounded ? framing : endsByClose(framing, minor) ? 'close' : 'chunked';
    this.#rechunk = framing === 'close' && this.#framing === 'chunked';
    writeResponseHead(responseOutbox, { head, framing: this.#framing, minor, close, changes });
    return this.#framing === 'chunked';
  }

  body(buffer: Buffer, start: number, end: number): void {
    if (!this.#rechunk) {
      this.#add(buffer, start, end);
      return;
    }
    if (responseOutbox.length === 0) responseOutbox.begin(0);
    responseOutbox.chunkLine(end - start);
    this.#add(buffer, start, end);
    if (responseOutbox.length === 0) responseOutbox.begin(0);
    responseOutbox.text('\r\n');
  }

  end(): void {
    if (!this.#rechunk) return;
    if (responseOutbox.length === 0) responseOutbox.begin(0);
    responseOutbox.text('0\r\n\r\n');
  }

  /** A complete answer of the proxy; answers how many bytes of body it has. */
  own(writing: OwnAnswerWriting): number {
    const bytes = writeOwnAnswer(responseOutbox, writing);
    this.flush();
    return bytes;
  }

  /** Sends what was composed. False while the client has to catch up. */
  flush(): boolean {
    if (responseOutbox.length > 0 && !responseOutbox.flush(this.#stream)) this.#blocked = true;
    return !this.#blocked;
  }

  /** Without its last chunk or its last bytes an answer is visibly incomplete; one that ends by close needs a reset. */
  cut(): void {
    if (this.#framing === 'close') {
      responseOutbox.begin(0);
      this.#stream.reset();
    } else {
      this.flush();
      this.#stream.close(0);
    }
  }

  /** With what is composed, if something is and there is room; else behind it. */
  #add(buffer: Buffer, start: number, end: number): void {
    if (responseOutbox.length > 0) {
      if (responseOutbox.fits(end - start)) {
        responseOutbox.bytes(buffer, start, end);
        return;
      }
      this.flush();
    }
    if (!this.#stream.writeShared(buffer, start, end)) this.#blocked = true;
  }
}

/**
 * The request of a visitor who may not have what others get, or for whom nothing is kept: sent as it is, its answer
 * handed on as it comes.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { AnswerReceiver } from '../http1/answer-source.ts';
import type { FieldLines } from '../http1/field-lines.ts';
import type { PageOptions } from '../http1/own-answer.ts';
import type { ResponseFraming, ResponseHead } from '../http1/response-head.ts';
import { UpstreamRequest } from '../http1/upstream-request.ts';
import type { EndedBy, Phase } from '../observe/record.ts';
import type { Environment } from '../serving/environment.ts';
import type { Carrier, Reader } from './reader.ts';

export class AloneRequest implements AnswerReceiver, Carrier {
  readonly #reader: Reader;
  readonly #upstream: UpstreamRequest;
  #onHead: (() => void) | null;

  /** `onHead` is called once, when the head of the answer came or none will. */
  constructor(environment: Environment, reader: Reader, onHead: () => void) {
    this.#reader = reader;
    this.#upstream = new UpstreamRequest(environment, reader.asker, this);
    this.#onHead = onHead;
  }

  start(): void {
    this.#reader.joined(this);
    this.#reader.notes = this.#upstream.notes;
    this.#upstream.start();
    this.#upstream.flush();
  }

  // From the reader.

  get phase(): Phase {
    return this.#upstream.phase;
  }

  drained(): void {
    this.#upstream.clientDrained();
  }

  left(): void {
    this.#upstream.abandon();
    this.#upstream.close();
    this.#passed();
  }

  // From the request to the backend.

  get pendingBytes(): number {
    return this.#reader.asker.pendingBytes;
  }

  onInformational(head: ResponseHead): boolean {
    return this.#reader.asker.onInformational(head);
  }

  onSwitch(): void {
    throw new Error('a request that is shared never asks for an upgrade');
  }

  onHead(head: ResponseHead, framing: ResponseFraming): boolean {
    const { caches } = this.#reader.plan;
    this.#reader.direct(caches ? 'kontrol; fwd=bypass' : null, caches ? 'bypass' : null);
    this.#passed();
    return this.#reader.asker.onHead(head, framing);
  }

  onBody(buffer: Buffer, start: number, end: number): void {
    this.#reader.asker.onBody(buffer, start, end);
  }

  onTrailers(fields: FieldLines): void {
    this.#reader.asker.onTrailers?.(fields);
  }

  flushAnswer(): boolean {
    return this.#reader.asker.flushAnswer();
  }

  onBodyEnd(): void {
    this.#reader.asker.onBodyEnd();
  }

  onDone(): void {
    this.#reader.done();
  }

  onUnanswered(cause: CauseCode, phase: Phase, endedBy: EndedBy, options?: PageOptions): void {
    this.#reader.unanswered(cause, phase, endedBy, options);
  }

  onBroken(cause: CauseCode, endedBy: EndedBy): void {
    this.#reader.broken(cause, endedBy);
  }

  pauseBody(): void {}
  resumeBody(): void {}

  onException(error: unknown): void {
    this.#reader.asker.onException(error);
  }

  #passed(): void {
    const onHead = this.#onHead;
    this.#onHead = null;
    onHead?.();
  }
}

/**
 * Where the answer to an exchange comes from: a backend's connection of its own (`upstream-request.ts`), or an answer
 * that is kept or that several wait for (`cache/`). The exchange is the one place that ends and records a request;
 * a source brings the answer, by the calls of `AnswerReceiver` and in their order, and frees what it holds.
 */
import type { CauseCode } from '../../shared/causes.ts';
import type { CacheOutcome, EndedBy, Phase } from '../observe/record.ts';
import type { PickRequest, UpstreamConnection } from '../upstream/contract.ts';
import type { FieldLines } from './field-lines.ts';
import type { BackendNotes } from './journal.ts';
import type { PageOptions } from './own-answer.ts';
import type { HttpRequestView } from './request-view.ts';
import type { RequestWriting } from './request-writer.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';

/** What is sent, and how a backend is picked for it. Stays as it is until the request is over. */
export interface OutgoingRequest extends RequestWriting {
  readonly view: PickRequest;
  /** Monotonic. */
  readonly startedAt: number;
}

export interface AnswerSource {
  /** What was noted of the backend that was asked for this very request; null when none was. */
  readonly notes: BackendNotes | null;
  /** Null when the answer has nothing to do with caching or coalescing. */
  readonly outcome: CacheOutcome | null;
  /** Member of `Cache-Status` to be added to the head that `onHead` brings; null for none. */
  readonly cacheStatus: string | null;
  /** The exchange is ready; the answer may come inside. */
  start(): void;
  /** Bytes of the request's body. May hold the body back (`AnswerReceiver.pauseBody`). */
  requestBody(buffer: Buffer, start: number, end: number): void;
  /** The request is complete. */
  requestEnd(): void;
  /** The end of each event that brought a part of the request. */
  flush(): void;
  /** More of the answer is wanted, after `AnswerReceiver.flushAnswer` had said no. */
  clientDrained(): void;
  /** Where the request is, as long as no answer has begun. */
  readonly phase: Phase;
  /** The exchange is over before the answer was: everything is freed at once. Idempotent. */
  abandon(): void;
}

/**
 * Who gets an answer. Either `onUnanswered`, or `onSwitch`, or `onHead` and `onBody`… with `onBodyEnd` and `onDone`,
 * or with `onBroken`. Interim answers come before.
 */
export interface AnswerReceiver {
  /** Bytes of the answer that wait for the client. */
  readonly pendingBytes: number;
  /** A 1xx other than 101; whether it was passed on, after which nothing can be sent to another backend. */
  onInformational(head: ResponseHead): boolean;
  /** An accepted WebSocket handshake: the connection is the receiver's. */
  onSwitch(
    head: ResponseHead,
    connection: UpstreamConnection,
    buffer: Buffer,
    start: number,
    end: number,
  ): void;
  /** The final head. Answers whether a chunked body is wanted as it stands (true) or as data. */
  onHead(head: ResponseHead, framing: ResponseFraming): boolean;
  onBody(buffer: Buffer, start: number, end: number): void;
  /** The fields behind a body that is wanted as data. Comes before `onBodyEnd`, and only where there are any. */
  onTrailers?(fields: FieldLines): void;
  /** The body is complete; the source still holds what brought it. */
  onBodyEnd(): void;
  /** The source holds nothing any more. */
  onDone(): void;
  /** There is no answer and will be none. */
  onUnanswered(cause: CauseCode, phase: Phase, endedBy: EndedBy, options?: PageOptions): void;
  /** The answer began and will not be complete. */
  onBroken(cause: CauseCode, endedBy: EndedBy): void;
  /** After each event that brought a part of the answer. False: no more until `AnswerSource.clientDrained`. */
  flushAnswer(): boolean;
  /** Hold back the request's body, and let it flow again. */
  pauseBody(): void;
  resumeBody(): void;
  /** An exception of ours: the receiver ends the exchange, and with it the source. */
  onException(error: unknown): void;
}

/** Whose answer it is: the exchange. */
export interface Asker extends AnswerReceiver, OutgoingRequest {
  readonly view: HttpRequestView;
}

/** Answers that several visitors may get: see `cache/shared-answers.ts`. */
export interface AnswersForSeveral {
  /** The source of the answer to a request of a service that shares; null when a backend is asked for it alone. */
  sourceFor(asker: Asker): AnswerSource | null;
  /** A backend answered a request that was not shared. */
  forwarded(asker: Asker, head: ResponseHead): void;
}

/**
 * The client's side of an exchange, as the exchange sees it: an HTTP/1.1 connection or an HTTP/2 stream. The exchange
 * decides what the visitor gets; the visitor frames it in its own protocol.
 */
import type { FieldChanges } from '../../shared/routing/decision.ts';
import type { PageAnswer } from '../pages/contract.ts';
import type { Tunnel, TunnelEnd } from '../tunnel/tunnel.ts';
import type { UpstreamConnection } from '../upstream/contract.ts';
import type { FieldLines } from './field-lines.ts';
import type { HttpRequestView } from './request-view.ts';
import type { RequestSource } from './request-writer.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';

export interface Visitor extends RequestSource {
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2.0';
  /** The request under way; its head is in memory of its own. */
  readonly view: HttpRequestView;
  /** Bytes on their way to the client that it has not taken. */
  readonly pendingBytes: number;

  /** A 1xx other than 101; leaves at once. */
  sendInformational(head: ResponseHead): void;
  /** Composes the final head. Answers whether the chunked body is wanted as it stands (true) or as data. */
  sendHead(head: ResponseHead, framing: ResponseFraming, changes: FieldChanges | null): boolean;
  /** Adds bytes of the body. */
  sendBody(buffer: Buffer, start: number, end: number): void;
  /** Fields behind a chunked body that is wanted as data; before `sendEnd`. HTTP/1.0 has no place for them. */
  sendTrailers?(fields: FieldLines): void;
  /** The body is complete. */
  sendEnd(): void;
  /** Sends what was composed. False: no more until the visitor calls `Exchange.clientDrained`. */
  flush(): boolean;
  /** A complete answer of the proxy; answers the bytes of body sent. */
  sendOwn(answer: PageAnswer, changes: FieldChanges | null): number;
  /** Ends the answer so that the client sees it is not complete. */
  cut(): void;

  /** Hold back the client's body, and let it flow again. */
  pauseBody(): void;
  resumeBody(): void;
  /** The backend wants the body it was asked about (a 100 went to the client). */
  bodyInvited(): void;

  /** The backend switched to WebSocket: sends its head, and gives both connections to a tunnel. */
  startTunnel(
    head: ResponseHead,
    connection: UpstreamConnection,
    changes: FieldChanges | null,
    onEnd: (end: TunnelEnd) => void,
  ): Tunnel;
  /** The exchange is over and everything it had is freed; the next may begin inside this call. */
  exchangeEnded(): void;
}

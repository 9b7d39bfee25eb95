/**
 * A connection to a TCP listener: decided by address, given a backend (the next one while connecting fails), carried
 * as a tunnel, recorded once. What the client sends before there is a backend is kept, within bounds.
 */
import { CAUSES, type CauseCode } from '../../shared/causes.ts';
import type { CompiledKey, CompiledService } from '../../shared/routing/decision.ts';
import { logFailure } from '../observe/failure.ts';
import type { EndedBy, Phase } from '../observe/record.ts';
import type { Environment } from '../serving/environment.ts';
import type { ByteStream, ByteStreamHandler } from '../stream/byte-stream.ts';
import type { Acquirer, PickRequest, Ticket, Unavailable, UpstreamConnection } from '../upstream/contract.ts';
import { Tunnel, type TunnelEnd } from './tunnel.ts';

/** Nothing can be answered on a TCP connection, so a refusal is a reset; or these last words, and an end. */
export interface TcpRefusal {
  readonly type: 'refuse';
  readonly cause: CauseCode;
  readonly rule: string | null;
  readonly lastWords?: Buffer;
}

/** What becomes of a TCP connection. */
export type TcpDecision =
  | {
      readonly type: 'forward';
      readonly service: CompiledService;
      readonly key: CompiledKey;
      /** Milliseconds without a byte; null for no limit. */
      readonly idleMs: number | null;
      /** Sent to the backend before anything else (a PROXY header); null for nothing. */
      readonly prelude: Buffer | null;
    }
  | TcpRefusal;

export interface TcpRequest {
  /** Name of the listener object. */
  readonly listener: string;
  readonly port: number;
  /** Canonical address of the client. */
  readonly address: string;
  /** The host that the client asked for where TLS is passed through; null otherwise. */
  readonly serverName?: string | null;
}

export class TcpConnection implements Acquirer, ByteStreamHandler, PickRequest {
  readonly address: string;
  readonly target: string;
  readonly #stream: ByteStream;
  readonly #environment: Environment;
  readonly #request: TcpRequest;
  readonly #decision: TcpDecision;
  readonly #onClosed: (connection: TcpConnection) => void;
  readonly #at: number;
  readonly #startedAt: number;
  readonly #early: Buffer[] = [];
  #ended = false;
  #ticket: Ticket | null = null;
  #connection: UpstreamConnection | null = null;
  #tunnel: Tunnel | null = null;
  #over = false;

  constructor(
    stream: ByteStream,
    environment: Environment,
    request: TcpRequest,
    decision: TcpDecision,
    onClosed: (connection: TcpConnection) => void = () => {},
  ) {
    this.#stream = stream;
    this.#environment = environment;
    this.#request = request;
    this.#decision = decision;
    this.#onClosed = onClosed;
    this.address = request.address;
    this.target = `:${request.port}`;
    this.#at = environment.clock.now();
    this.#startedAt = environment.clock.monotonic();
    environment.observer.connectionOpened();
    stream.handler = this;
    if (decision.type === 'refuse') {
      this.#end(decision.cause, 'decide', decision.cause === 'client_gone' ? 'client' : 'proxy', null);
      if (decision.lastWords === undefined) stream.reset();
      else {
        stream.write(decision.lastWords);
        stream.close();
      }
      return;
    }
    const options = { websocket: true, tried: [], fresh: false };
    try {
      const ticket = environment.upstreams.acquire(decision.service, decision.key, this, options, this);
      if (this.#tunnel === null && !this.#over) this.#ticket = ticket;
    } catch (error) {
      logFailure(environment.log, error, '');
      this.#giveUp('internal', 'proxy');
    }
  }

  header(): undefined {
    return undefined;
  }

  /** A tunnel goes on until it ends by itself or by `closeNow`. */
  drain(): void {}

  closeNow(): void {
    if (this.#tunnel !== null) this.#tunnel.closeNow();
    else this.#giveUp(null, 'proxy');
  }

  // From upstreams.

  onConnection(connection: UpstreamConnection): void {
    this.#ticket = null;
    this.#connection = connection;
    const { type } = this.#decision;
    const prelude = type === 'forward' ? this.#decision.prelude : null;
    if (prelude !== null) connection.stream.write(prelude);
    this.#tunnel = new Tunnel({
      client: this.#stream,
      connection,
      timers: this.#environment.timers,
      idleMs: type === 'forward' ? this.#decision.idleMs : null,
      webSocket: false,
      onEnd: (end) => this.#end(null, 'tunnel', end.endedBy, end),
    });
    for (const piece of this.#early.splice(0)) this.#tunnel.fromClient(piece, 0, piece.length);
    if (this.#ended) this.#tunnel.clientEnded();
  }

  onUnavailable(why: Unavailable): void {
    this.#ticket = null;
    this.#giveUp(why.cause, 'proxy');
  }

  // From the client, until there is a tunnel.

  onData(buffer: Buffer, start: number, end: number): void {
    this.#early.push(Buffer.from(buffer.subarray(start, end)));
    this.#stream.pause();
  }

  onEnd(): void {
    // Half-closed: what it said may still be answered.
    this.#ended = true;
  }

  onDrain(): void {}

  onClose(): void {
    this.#giveUp('client_gone', 'client');
  }

  #giveUp(cause: CauseCode | null, endedBy: EndedBy): void {
    if (this.#over) return;
    const ticket = this.#ticket;
    this.#ticket = null;
    ticket?.cancel();
    this.#end(cause, 'connect', endedBy, null);
    this.#stream.reset();
  }

  #end(cause: CauseCode | null, phase: Phase, endedBy: EndedBy, tunnel: TunnelEnd | null): void {
    if (this.#over) return;
    this.#over = true;
    try {
      this.#record(cause, phase, endedBy, tunnel);
    } catch (error) {
      logFailure(this.#environment.log, error, '');
    }
    this.#environment.observer.connectionClosed();
    this.#onClosed(this);
  }

  #record(cause: CauseCode | null, phase: Phase, endedBy: EndedBy, tunnel: TunnelEnd | null): void {
    const { observer, clock } = this.#environment;
    const forward = this.#decision.type === 'forward' ? this.#decision : null;
    observer.record({
      id: '',
      at: this.#at,
      protocol: 'tcp',
      secure: false,
      method: '',
      host: this.#request.serverName ?? '',
      target: this.target,
      address: this.address,
      referer: null,
      userAgent: null,
      domain: this.#request.listener,
      route: null,
      service: forward?.service.name ?? null,
      key: forward?.key.key ?? null,
      backend: this.#connection?.backend.address ?? null,
      rule: this.#decision.type === 'refuse' ? this.#decision.rule : null,
      status: cause === null ? 0 : CAUSES[cause].status,
      backendStatus: 0,
      cause,
      phase,
      endedBy,
      bytesIn: tunnel?.bytesIn ?? 0,
      bytesOut: tunnel?.bytesOut ?? 0,
      retries: 0,
      cache: null,
      queueMs: this.#connection?.queuedMs ?? null,
      connectMs: this.#connection?.connectMs ?? null,
      firstByteMs: null,
      totalMs: clock.monotonic() - this.#startedAt,
    });
  }
}

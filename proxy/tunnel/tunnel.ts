/**
 * Carries bytes between a client and a backend, both ways, until both have ended: with back-pressure, half-close
 * passed on, and an error on one side ending both. It owns both streams from its creation to `onEnd`.
 */
import type { ByteStream, ByteStreamHandler } from '../stream/byte-stream.ts';
import type { Timed, TimerWheel } from '../stream/timer-wheel.ts';
import type { UpstreamConnection } from '../upstream/contract.ts';
import { CLOSE_TO_BACKEND, CLOSE_TO_CLIENT, FrameTracker } from './frame-tracker.ts';

export interface TunnelEnd {
  /** Bytes from the client, and to it. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly endedBy: 'complete' | 'client' | 'backend' | 'proxy';
}

export interface TunnelOptions {
  readonly client: ByteStream;
  readonly connection: UpstreamConnection;
  readonly timers: TimerWheel;
  /** Ends after this long without a byte either way; null: never (TCP keep-alive finds dead peers). */
  readonly idleMs: number | null;
  /** It carries WebSocket frames: `closeNow` says goodbye where a frame may stand. */
  readonly webSocket: boolean;
  /** Exactly once, when both connections are given back. */
  readonly onEnd: (end: TunnelEnd) => void;
}

/** When one side has ended and nothing moves any more, the other is given up after this long. */
const HALF_CLOSED_IDLE_MS = 600_000;
/** Time for a close frame to be answered before the connection goes. */
const GOODBYE_MS = 1_000;

export class Tunnel implements Timed {
  timerDue = 0;
  timerQueued = false;
  readonly #options: TunnelOptions;
  readonly #client: Side;
  readonly #backend: Side;
  #over = false;

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.#client = new Side(this, options.client, options.webSocket);
    this.#backend = new Side(this, options.connection.stream, options.webSocket);
    this.#client.other = this.#backend;
    this.#backend.other = this.#client;
    options.client.handler = this.#client;
    options.connection.stream.handler = this.#backend;
    options.client.resume();
    options.connection.stream.resume();
    this.#restartTimer();
  }

  /** Bytes that the client sent before the tunnel was there. */
  fromClient(buffer: Buffer, start: number, end: number): void {
    if (end > start) this.#client.onData(buffer, start, end);
  }

  /** Bytes that the backend sent before the tunnel was there. */
  fromBackend(buffer: Buffer, start: number, end: number): void {
    if (end > start) this.#backend.onData(buffer, start, end);
  }

  /** The client ended its side before the tunnel was there. */
  clientEnded(): void {
    this.#client.onEnd();
  }

  /** Ends both sides now; over WebSocket with a close frame to whom one can be sent. */
  closeNow(): void {
    if (this.#over) return;
    const { client, connection, webSocket } = this.#options;
    if (webSocket && this.#backend.tracker?.mayInsert) client.write(CLOSE_TO_CLIENT);
    if (webSocket && this.#client.tracker?.mayInsert) connection.stream.write(CLOSE_TO_BACKEND);
    this.#finish('proxy');
  }

  onTimeout(): void {
    // What stands still because one side does not read is not idle for want of bytes, but ends all the same.
    this.#finish(this.#client.ended ? 'backend' : this.#backend.ended ? 'client' : 'proxy');
  }

  moved(): void {
    if (this.#options.idleMs !== null || this.#client.ended || this.#backend.ended) this.#restartTimer();
  }

  sideEnded(side: Side): void {
    side.other.stream.end();
    this.#restartTimer();
    // Both have said all: what is pending still has to leave, and then the streams close by themselves.
  }

  sideClosed(side: Side, error: Error | null): void {
    if (this.#over) return;
    if (error === null && side.ended && side.other.ended) {
      if (side.other.closed) this.#finish('complete');
      return;
    }
    // A reset on one side is passed on as what it is.
    this.#finish(side === this.#client ? 'client' : 'backend', error !== null);
  }

  #restartTimer(): void {
    const { timers, idleMs } = this.#options;
    const half = this.#client.ended || this.#backend.ended;
    const ms = half ? Math.min(HALF_CLOSED_IDLE_MS, idleMs ?? HALF_CLOSED_IDLE_MS) : idleMs;
    if (ms !== null) timers.set(this, ms);
  }

  #finish(endedBy: TunnelEnd['endedBy'], reset = false): void {
    if (this.#over) return;
    this.#over = true;
    const { client, connection, timers, onEnd } = this.#options;
    timers.remove(this);
    if (reset) client.reset();
    else client.close(GOODBYE_MS);
    if (reset) connection.stream.reset();
    else connection.stream.close(GOODBYE_MS);
    // The backend's place is free; what it has not taken of a broken tunnel is nobody's any more.
    connection.discard(false);
    onEnd({ bytesIn: this.#client.bytes, bytesOut: this.#backend.bytes, endedBy });
  }
}

/** One of the two streams; what it brings goes to `other`. */
class Side implements ByteStreamHandler {
  readonly stream: ByteStream;
  readonly tracker: FrameTracker | null;
  other: Side = this;
  bytes = 0;
  ended = false;
  closed = false;
  readonly #tunnel: Tunnel;

  constructor(tunnel: Tunnel, stream: ByteStream, webSocket: boolean) {
    this.#tunnel = tunnel;
    this.stream = stream;
    this.tracker = webSocket ? new FrameTracker() : null;
  }

  onData(buffer: Buffer, start: number, end: number): void {
    this.bytes += end - start;
    this.tracker?.pass(buffer, start, end);
    if (!this.other.stream.writeShared(buffer, start, end)) this.stream.pause();
    this.#tunnel.moved();
  }

  onEnd(): void {
    this.ended = true;
    this.#tunnel.sideEnded(this);
  }

  onDrain(): void {
    this.other.stream.resume();
    this.#tunnel.moved();
  }

  onClose(error: Error | null): void {
    this.closed = true;
    this.#tunnel.sideClosed(this, error);
  }
}

/**
 * A connection to a backend and the leases on it. Between two exchanges it stands in the idle list of its endpoint
 * and is watched: whatever arrives then (bytes, an end, an error) means that it cannot carry another request.
 */
import type { ByteStream, ByteStreamHandler } from '../stream/byte-stream.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import type { AnswerSignals, Backend, UpstreamConnection } from './contract.ts';
import type { Linked } from './intrusive-list.ts';

/** Takes no notice: the handler of connections that were given up, so that they hold on to nothing. */
const UNHEARD: ByteStreamHandler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

/** What a connection reports to its endpoint. */
export interface ConnectionOwner {
  /** Null unless the service ejects backends by how they answer. */
  readonly signals: AnswerSignals | null;
  /** An exchange is over and the connection may carry another, which the backend allows for `keepAliveMs` if not null. */
  returned(connection: Connection, keepAliveMs: number | null): void;
  /** An exchange is over and the connection is closed. `failure`: the backend is to blame. */
  discarded(connection: Connection, failure: boolean): void;
  /** An idle connection ended or has been idle for long enough; it is closed. */
  faded(connection: Connection): void;
  /** Something gave a connection back twice: a defect of ours, without effect. */
  returnedTwice(): void;
}

export class Connection implements ByteStreamHandler, Timed, Linked<Connection> {
  linkBefore: Connection | null = null;
  linkAfter: Connection | null = null;
  timerDue = 0;
  timerQueued = false;
  timerSlot = 0;
  timerPlace = 0;
  readonly stream: ByteStream;
  readonly owner: ConnectionOwner;
  /** Address it is connected to, in the form of `Target.text`. */
  readonly target: string;
  /** Key of the TLS identity it was made with; empty for plain ones. */
  readonly identity: string;
  /** Carries a tunnel: counted apart and never pooled. */
  readonly tunnel: boolean;
  /** Stands in the idle list; set by the owner. */
  idle = false;
  #used = false;

  constructor(owner: ConnectionOwner, stream: ByteStream, target: string, identity: string, tunnel: boolean) {
    this.owner = owner;
    this.stream = stream;
    this.target = target;
    this.identity = identity;
    this.tunnel = tunnel;
    stream.handler = UNHEARD;
  }

  /** Lends it to one exchange, which sets the stream's handler at once. */
  lend(backend: Backend, queuedMs: number, connectMs: number, setCookie: string | null): UpstreamConnection {
    const lease = new Lease(this, backend, this.#used, queuedMs, connectMs, setCookie);
    this.#used = true;
    return lease;
  }

  /** False when bytes are still on their way or it is closed: such a connection takes no second request. */
  get clean(): boolean {
    return !this.stream.closed && this.stream.pendingBytes === 0;
  }

  /** From now on whatever happens on it ends it. */
  watch(): void {
    this.stream.handler = this;
    this.stream.resume();
  }

  /** Frees it at once. An orderly end where nothing is pending, else a reset: nobody waits for what is left. */
  close(): void {
    const { stream } = this;
    stream.handler = UNHEARD;
    if (stream.closed) return;
    if (stream.pendingBytes > 0) stream.reset();
    else stream.close(0);
  }

  // Only called while idle: a lent connection has the exchange's handler.

  onData(): void {
    this.owner.faded(this);
  }

  onEnd(): void {
    this.owner.faded(this);
  }

  onDrain(): void {}

  onClose(): void {
    this.owner.faded(this);
  }

  onTimeout(): void {
    this.owner.faded(this);
  }
}

/** One exchange's hold on a connection: an object of its own, so that giving back twice can never hurt the next one. */
class Lease implements UpstreamConnection {
  readonly stream: ByteStream;
  readonly backend: Backend;
  readonly reused: boolean;
  readonly queuedMs: number;
  readonly connectMs: number;
  readonly setCookie: string | null;
  readonly signals: AnswerSignals | null;
  readonly #connection: Connection;
  #over = false;

  constructor(
    connection: Connection,
    backend: Backend,
    reused: boolean,
    queuedMs: number,
    connectMs: number,
    setCookie: string | null,
  ) {
    this.#connection = connection;
    this.stream = connection.stream;
    this.backend = backend;
    this.reused = reused;
    this.queuedMs = queuedMs;
    this.connectMs = connectMs;
    this.setCookie = setCookie;
    this.signals = connection.owner.signals;
  }

  release(keepAliveMs: number | null): void {
    if (this.#ends()) this.#connection.owner.returned(this.#connection, keepAliveMs);
  }

  discard(failure: boolean): void {
    if (this.#ends()) this.#connection.owner.discarded(this.#connection, failure);
  }

  #ends(): boolean {
    if (this.#over) {
      this.#connection.owner.returnedTwice();
      return false;
    }
    this.#over = true;
    return true;
  }
}

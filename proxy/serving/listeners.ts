/**
 * The sockets this process accepts on. They belong to the primary: what is here are copies of its handles, and
 * closing one leaves connections queued for the others. To pause means to close the copy in use (a handle cannot
 * stop listening otherwise) and to go on with the spare one, once there is another: else a queue that is longer than
 * what may be accepted could not be paused at.
 */
import net from 'node:net';
import type { Log } from '../../shared/log.ts';
import type { PassedHandle } from '../link/handle-pass.ts';
import type { ListenerSpec, ServingToPrimary } from '../link/messages.ts';
import { acceptStreams, type SocketVariant } from '../stream/accept.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { wrapSocket } from '../stream/net-stream.ts';
import type { HeldSocket } from './orphan.ts';

const BACKLOG = 1_024;
/** Longest wait for a spare after a pause; without a primary none comes. */
const SPARE_MS = 500;

/** A handle as it comes over the channel. */
export type ReceivedHandle = PassedHandle;

export interface ListenersOptions {
  readonly log: Log;
  /** How sockets are made; asked when one is opened. */
  variant(): SocketVariant;
  onStream(stream: ByteStream, spec: ListenerSpec): void;
  /** A connection on an https socket, before its handshake. */
  onSecure(socket: net.Socket, spec: ListenerSpec): void;
  /** Accepting failed: out of descriptors or memory. */
  onAcceptError(): void;
  toPrimary(message: ServingToPrimary): void;
}

export class Listeners {
  readonly #options: ListenersOptions;
  readonly #listeners = new Map<string, Listener>();
  #accepting = false;
  #paused = false;
  #closed = false;
  /** After a pause, until there are spares. */
  #waiting: NodeJS.Timeout | null = null;

  constructor(options: ListenersOptions) {
    this.#options = options;
  }

  /** Sockets accepted on now. */
  get size(): number {
    return this.#listeners.size;
  }

  get paused(): boolean {
    return this.#paused;
  }

  listen(spec: ListenerSpec, handle: ReceivedHandle | null): void {
    if (this.#closed) {
      handle?.close();
      return;
    }
    this.#listeners.get(spec.key)?.close();
    const listener = new Listener(spec, handle, this.#options);
    this.#listeners.set(spec.key, listener);
    if (this.#accepting && !this.#paused) listener.open();
  }

  spare(key: string, handle: ReceivedHandle | null): void {
    const listener = this.#listeners.get(key);
    if (listener === undefined || handle === null) handle?.close();
    else listener.takeSpare(handle);
    if (this.#waiting !== null && [...this.#listeners.values()].every(({ pausable }) => pausable))
      this.#goOn();
  }

  /** A connection that the primary accepted (fallback without shared handles). */
  connection(key: string, socket: net.Socket): void {
    const listener = this.#listeners.get(key);
    if (listener === undefined) socket.destroy();
    else listener.accept(socket);
  }

  unlisten(key: string): void {
    this.#listeners.get(key)?.close();
    this.#listeners.delete(key);
  }

  /** Accepts on what there is and on what comes. */
  begin(): void {
    this.#accepting = true;
    for (const listener of this.#listeners.values()) listener.open();
  }

  /** Leaves newcomers to the other processes, or in the kernel's queue. False when that is not possible now. */
  pause(): boolean {
    if (this.#paused || this.#waiting !== null || !this.#accepting) return false;
    const all = [...this.#listeners.values()];
    if (!all.every((listener) => listener.pausable)) return false;
    this.#paused = true;
    for (const listener of all) listener.pause();
    return true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#closed) return;
    this.#waiting = setTimeout(() => this.#goOn(), SPARE_MS);
    this.#waiting.unref();
    for (const listener of this.#listeners.values()) listener.resume();
  }

  #goOn(): void {
    if (this.#waiting !== null) clearTimeout(this.#waiting);
    this.#waiting = null;
    if (this.#paused || this.#closed) return;
    for (const listener of this.#listeners.values()) listener.open();
  }

  /** A handle of every socket, also while none is accepted on. They stay this process's own. */
  held(): HeldSocket[] {
    return [...this.#listeners.values()].flatMap(({ spec, held }) =>
      held === null ? [] : [{ at: { address: spec.address, port: spec.port }, handle: held }],
    );
  }

  /** Accepts no more, for good. Idempotent. */
  close(): void {
    this.#closed = true;
    if (this.#waiting !== null) clearTimeout(this.#waiting);
    this.#waiting = null;
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
  }
}

class Listener {
  readonly spec: ListenerSpec;
  readonly #options: ListenersOptions;
  #handle: ReceivedHandle | null;
  #spare: ReceivedHandle | null = null;
  #server: net.Server | null = null;
  #announced = false;

  constructor(spec: ListenerSpec, handle: ReceivedHandle | null, options: ListenersOptions) {
    this.spec = spec;
    this.#handle = handle;
    this.#options = options;
  }

  /** Whether there is a handle to go on with after a pause. */
  get pausable(): boolean {
    return this.#spare !== null;
  }

  /** Some handle of it; null when the primary accepts. */
  get held(): ReceivedHandle | null {
    const server = this.#server as unknown as { _handle?: ReceivedHandle | null } | null;
    return this.#spare ?? this.#handle ?? server?._handle ?? null;
  }

  takeSpare(handle: ReceivedHandle): void {
    this.#spare?.close();
    this.#spare = handle;
  }

  open(): void {
    const handle = this.#handle;
    if (handle === null || this.#server !== null) {
      // Without a handle the primary accepts, and what it sends is served.
      if (this.#server === null && !this.#announced)
        this.#options.toPrimary({ type: 'accepting', key: this.spec.key });
      return;
    }
    this.#handle = null;
    const server = net.createServer({ allowHalfOpen: true });
    this.#server = server;
    let listening = false;
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#server !== server) return;
      if (listening) {
        this.#options.onAcceptError();
        return;
      }
      this.#server = null;
      this.#options.toPrimary({
        type: 'listen-failed',
        key: this.spec.key,
        reason: `cannot listen on port ${this.spec.port}: ${error.code ?? error.message}`,
      });
    });
    server.once('listening', () => {
      listening = true;
    });
    server.listen(handle, BACKLOG);
    if (!server.listening) return;
    const { spec } = this;
    if (!this.#announced) this.#options.toPrimary({ type: 'accepting', key: spec.key });
    this.#announced = true;
    if (spec.type === 'https') server.on('connection', (socket) => this.#options.onSecure(socket, spec));
    else acceptStreams(server, (stream) => this.#options.onStream(stream, spec), this.#options.variant());
  }

  accept(socket: net.Socket): void {
    socket.setKeepAlive(true, 60_000);
    if (this.spec.type === 'https') this.#options.onSecure(socket, this.spec);
    else this.#options.onStream(wrapSocket(socket), this.spec);
  }

  pause(): void {
    this.#closeServer();
  }

  /** Takes the spare and asks for another. */
  resume(): void {
    // One that came during the pause has a handle of its own.
    if (this.#handle === null && this.#spare !== null) {
      this.#handle = this.#spare;
      this.#spare = null;
      this.#options.toPrimary({ type: 'wants-spare', key: this.spec.key });
    }
  }

  close(): void {
    this.#closeServer();
    this.#handle?.close();
    this.#handle = null;
    this.#spare?.close();
    this.#spare = null;
  }

  #closeServer(): void {
    const server = this.#server;
    this.#server = null;
    server?.close();
  }
}

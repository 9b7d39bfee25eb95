/**
 * One listener of live events: gets what it asked for, in order, first what it missed. Nothing of it may hold up the
 * others: what it does not read in time is not kept for it, it is sent away and may resume.
 */
import type { WebSocket } from 'ws';
import type { EventKind, LiveEvent } from './hub.ts';

/** Close codes: https://www.iana.org/assignments/websocket and, from 4000 on, ours. */
export const CLOSE = { goingAway: 1001, tooSlow: 4008, notAllowed: 4401 } as const;

/** What may wait to be read by one listener, in bytes. */
const MAX_WAITING_BYTES = 262_144;
/** Events that may come in while the missed ones are read. */
const MAX_HELD = 1_000;
/** How long a listener that was sent away may take to go, in milliseconds. */
const LEAVE_MS = 1_000;

export class Listener {
  readonly #socket: WebSocket;
  readonly #kinds: ReadonlySet<EventKind> | null;
  /** Events that came while the missed ones are read; null when they go out at once. */
  #held: LiveEvent[] | null = [];
  #lastSeq = 0;
  #answered = true;
  #closing = false;
  #cut: NodeJS.Timeout | null = null;
  /** Settled when the connection is gone. */
  readonly gone: Promise<void>;

  /** `kinds`: null for all. */
  constructor(socket: WebSocket, kinds: ReadonlySet<EventKind> | null) {
    this.#socket = socket;
    this.#kinds = kinds;
    this.gone = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('pong', () => {
      this.#answered = true;
    });
    // A broken connection closes, which is all there is to know.
    socket.on('error', () => {});
    void this.gone.then(() => {
      if (this.#cut !== null) clearTimeout(this.#cut);
    });
  }

  wants(kind: EventKind): boolean {
    return this.#kinds === null || this.#kinds.has(kind);
  }

  tell(event: LiveEvent): void {
    if (!this.wants(event.kind)) return;
    if (this.#held === null) this.#send(event);
    else if (this.#held.length < MAX_HELD) this.#held.push(event);
    else this.leave(CLOSE.tooSlow, 'too many events came while the missed ones were read; connect again');
  }

  /**
   * What it missed, or where it begins. Goes before everything that is told. Resolves when it is on its way: there
   * may be more than may wait, and the next is to be told then.
   */
  tellFirst(message: object): Promise<void> {
    const { seq } = message as { seq?: unknown };
    if (typeof seq === 'number') this.#lastSeq = Math.max(this.#lastSeq, seq);
    return new Promise((resolve) => this.#write(message, resolve));
  }

  /** It was sent away, or went by itself: nothing reaches it any more. */
  get left(): boolean {
    return this.#closing || this.#socket.readyState !== this.#socket.OPEN;
  }

  /** From here on events go out as they come; those that were missed already are not told twice. */
  begin(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const event of held) this.#send(event);
  }

  /** Asks for a sign of life; cuts a connection that did not answer the last time. */
  ping(): void {
    if (!this.#answered) {
      this.#socket.terminate();
      return;
    }
    this.#answered = false;
    this.#socket.ping();
  }

  leave(code: number, reason: string): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#socket.close(code, reason);
    this.#cut = setTimeout(() => this.#socket.terminate(), LEAVE_MS);
    this.#cut.unref();
  }

  #send(event: LiveEvent): void {
    // A reload may go back to an earlier number; everything else is told once.
    if (event.kind === 'change' && event['reloaded'] !== true && (event.seq ?? 0) <= this.#lastSeq) return;
    if (event.seq !== undefined) this.#lastSeq = event.seq;
    this.#write(event);
  }

  /** `settled` is called once: when the message was handed to the system, or will never be. */
  #write(message: object, settled: () => void = () => {}): void {
    if (this.left) {
      settled();
    } else if (this.#socket.bufferedAmount > MAX_WAITING_BYTES) {
      this.leave(CLOSE.tooSlow, 'events were not read in time; connect again with since=');
      settled();
    } else this.#socket.send(JSON.stringify(message), () => settled());
  }
}

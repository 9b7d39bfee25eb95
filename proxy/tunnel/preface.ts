/**
 * Reads what has to be known of a connection before an engine gets it (a PROXY header, a ClientHello), within a
 * bound of bytes and of time, and gives it on without losing or repeating a byte.
 */
import type net from 'node:net';
import type { ServedConnection } from '../serving/connections.ts';
import type { ByteStream, ByteStreamHandler } from '../stream/byte-stream.ts';
import { IGNORE } from '../stream/net-stream.ts';
import type { Timed, TimerWheel } from '../stream/timer-wheel.ts';

/** Why there was none: not what it had to be, not in time, or the client left. */
export type PrefaceFailure = 'bad' | 'timeout' | 'gone';

export interface PrefaceReading<T> {
  /** Looks at all there is so far. `bad` at the latest when the bytes are as many as it may have. */
  parse(bytes: Buffer): T | 'more' | 'bad';
  /** `bytes` is all that has come. Nothing is read any more until somebody else does. */
  onDone(value: T, bytes: Buffer): void;
  /** The connection is still open unless it is `gone`; `bytes` is all that has come. */
  onFailed(why: PrefaceFailure, bytes: Buffer): void;
}

const EMPTY = Buffer.alloc(0);

abstract class Preface<T> implements Timed, ServedConnection {
  timerDue = 0;
  timerQueued = false;
  readonly #reading: PrefaceReading<T>;
  readonly #timers: TimerWheel;
  #bytes: Buffer = EMPTY;
  #over = false;

  constructor(timers: TimerWheel, ms: number, reading: PrefaceReading<T>) {
    this.#timers = timers;
    this.#reading = reading;
    timers.set(this, ms);
  }

  /** Who has said nothing yet has nothing under way. */
  drain(): void {
    if (this.#bytes.length === 0) this.closeNow();
  }

  closeNow(): void {
    this.fail('gone');
  }

  onTimeout(): void {
    this.fail('timeout');
  }

  /** `chunk` is lent. */
  protected take(chunk: Buffer): void {
    if (this.#over) return;
    const all = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const value = this.#reading.parse(all);
    if (value === 'more') {
      this.#bytes = all === chunk ? Buffer.from(chunk) : all;
      return;
    }
    this.#bytes = all;
    if (value === 'bad') this.fail('bad');
    else if (this.#end()) this.#reading.onDone(value as T, all);
  }

  protected fail(why: PrefaceFailure): void {
    if (this.#end()) this.#reading.onFailed(why, this.#bytes);
  }

  /** Lets go of the connection. */
  protected abstract release(): void;

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#timers.remove(this);
    this.release();
    return true;
  }
}

/** Reads it from a stream. In `onDone` the stream has no handler: the one that is set there gets what is left. */
export class StreamPreface<T> extends Preface<T> implements ByteStreamHandler {
  readonly #stream: ByteStream;

  constructor(stream: ByteStream, timers: TimerWheel, ms: number, reading: PrefaceReading<T>) {
    super(timers, ms, reading);
    this.#stream = stream;
    stream.handler = this;
  }

  onData(buffer: Buffer, start: number, end: number): void {
    this.take(buffer.subarray(start, end));
  }

  onEnd(): void {
    this.fail('gone');
  }

  onDrain(): void {}

  onClose(): void {
    this.fail('gone');
  }

  protected release(): void {
    this.#stream.handler = IGNORE;
  }
}

/** Reads it from a socket that nobody has read from; what is not used up is put back with `unshift`. */
export class SocketPreface<T> extends Preface<T> {
  readonly #socket: net.Socket;

  constructor(socket: net.Socket, timers: TimerWheel, ms: number, reading: PrefaceReading<T>) {
    super(timers, ms, reading);
    this.#socket = socket;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', ignore);
    socket.on('close', this.#onEnd);
    // It may have been paused by a preface before this one.
    socket.resume();
  }

  readonly #onData = (chunk: Buffer): void => this.take(chunk);

  readonly #onEnd = (): void => this.fail('gone');

  protected release(): void {
    const socket = this.#socket;
    // Paused first, or what is put back would be given out at once, to nobody.
    socket.pause();
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('close', this.#onEnd);
  }
}

function ignore(): void {}

/**
 * A client's HTTP/2 connection (RFC 9113): takes frames apart strictly, runs one exchange for each request, and bounds
 * what a client can make us keep or do. It owns the stream: whatever ends it, every exchange ends with it.
 */
import { clientCertificateFields } from '../http1/client-certificate.ts';
import { type ClientIdentity, type HttpListener, peerAddress } from '../http1/client-identity.ts';
import { forwardingText } from '../http1/request-writer.ts';
import { logFailure } from '../observe/failure.ts';
import type { Environment } from '../serving/environment.ts';
import type { ByteStream, ByteStreamHandler } from '../stream/byte-stream.ts';
import type { Timed } from '../stream/timer-wheel.ts';
import { EndedStreams, Patience } from './abuse.ts';
import { type BodyHost, BodyIntake, CONNECTION_WINDOW } from './body-intake.ts';
import { dependency } from './field-block.ts';
import { type FrameHandler, FrameReader } from './frame-reader.ts';
import { HpackEncoder } from './hpack-encoder.ts';
import { PeerSettings } from './peer-settings.ts';
import * as h2 from './protocol.ts';
import { RequestIntake } from './request-intake.ts';
import { Sender, type SenderOwner } from './sender.ts';
import { type Http2Stream, STREAM_WINDOW } from './stream.ts';
import { poolOf } from './stream-pool.ts';

/** Streams that a client may give up, or lose by its mistakes: a browser that leaves a page resets what it has open. */
const RESETS = { atOnce: 200, perSecond: 33 };
/** Frames that cost us and bring nothing: SETTINGS, PING, PRIORITY, empty DATA, window updates beyond need. */
const IDLE_FRAMES = { atOnce: 1_000, perSecond: 200 };
const SETTINGS_COST = 10;
/** What a frame of a body, or a request, gives back of that. */
const USEFUL = 2;
/** How long a client that is told to go may take to hear it. */
const DRAIN_MS = 1_000;
const DRAIN_PING = Buffer.from('kontrol!');

export class Http2Connection implements ByteStreamHandler, Timed, FrameHandler, BodyHost, SenderOwner {
  timerDue = 0;
  timerQueued = false;
  timerSlot = 0;
  timerPlace = 0;
  readonly peer: string;
  readonly trusted: boolean;
  readonly forwarding: string;
  readonly clientFields: string;
  readonly tls: ByteStream['tls'];
  readonly direct: ClientIdentity;
  readonly encoder = new HpackEncoder();
  readonly sender: Sender;
  readonly #stream: ByteStream;
  readonly #environment: Environment;
  readonly #onClosed: (connection: Http2Connection) => void;
  readonly #reader = new FrameReader(this);
  readonly #intake: RequestIntake;
  readonly #bodies: BodyIntake;
  readonly #settings = new PeerSettings();
  readonly #resets: Patience;
  readonly #idleFrames: Patience;
  readonly ended = new EndedStreams();
  readonly streams = new Map<number, Http2Stream>();

  #settingsSeen = false;
  /** A part of a field block has come; the rest is waited for. */
  #headTimed = false;
  /** Field blocks that were complete when the deadline of this one began. */
  #headsBefore = 0;
  /** The stream whose exchange has something to send at the end of this event. */
  #corked: Http2Stream | null = null;
  /** Streams whose requests have begun in this turn: their heads wait for the first bytes of their bodies. */
  readonly #begun: Http2Stream[] = [];
  /** Told to go; with the second GOAWAY, no stream beyond `#finalId` is served. */
  #draining = false;
  /** The client has ended its side or said GOAWAY, and still gets its answers. */
  #leaving = false;
  closed = false;

  constructor(
    stream: ByteStream,
    environment: Environment,
    listener: HttpListener,
    onClosed: (connection: Http2Connection) => void = () => {},
  ) {
    this.#stream = stream;
    this.#environment = environment;
    this.#onClosed = onClosed;
    this.peer = peerAddress(stream.remoteAddress);
    this.trusted = listener.hidden !== true && environment.trusts(this.peer);
    this.tls = stream.tls;
    this.clientFields = clientCertificateFields(stream.tls?.client ?? null);
    this.direct = { address: this.peer, secure: listener.secure, port: listener.port };
    this.forwarding = forwardingText(this.peer, this.direct);
    const { timers } = environment;
    const limits = environment.limits();
    this.#resets = new Patience(RESETS.atOnce, RESETS.perSecond, timers.now);
    this.#idleFrames = new Patience(IDLE_FRAMES.atOnce, IDLE_FRAMES.perSecond, timers.now);
    this.#intake = new RequestIntake(environment, this, limits.h2Streams);
    this.#bodies = new BodyIntake(this, this.#intake, timers, this.#idleFrames);
    this.sender = new Sender(stream, this.encoder, this);
    this.sender.settings([
      [h2.MAX_CONCURRENT_STREAMS, limits.h2Streams],
      [h2.INITIAL_WINDOW_SIZE, STREAM_WINDOW],
      [h2.MAX_HEADER_LIST_SIZE, limits.headSize],
      [h2.NO_RFC7540_PRIORITIES, 1],
    ]);
    this.sender.windowUpdate(0, CONNECTION_WINDOW - h2.DEFAULT_WINDOW);
    environment.observer.connectionOpened();
    timers.set(this, limits.headTimeoutMs);
    stream.handler = this;
  }

  // From the process.

  /** Ends when what is under way has. Two GOAWAYs: what was on its way when the first one left is still served (§6.8). */
  drain(): void {
    if (this.#draining || this.closed) return;
    this.#draining = true;
    this.sender.goAway(h2.MAX_STREAM_ID, h2.NO_ERROR);
    this.sender.ping(false, DRAIN_PING, 0);
    if (this.streams.size === 0) this.#environment.timers.set(this, DRAIN_MS);
  }

  /** Ends now. */
  closeNow(): void {
    if (this.closed) return;
    this.sender.goAway(this.#intake.lastId, h2.NO_ERROR);
    this.#end('stop');
    this.#stream.close(0);
  }

  // From the stream.

  onData(buffer: Buffer, start: number, end: number): void {
    try {
      this.#reader.receive(buffer, start, end);
      this.uncork();
      this.#timeHead();
    } catch (error) {
      this.onException(error);
    }
  }

  onEnd(): void {
    if (this.closed) return;
    try {
      if (this.#environment.limits().halfClose && this.streams.size > 0) this.#leaving = true;
      else this.#close('client');
    } catch (error) {
      this.onException(error);
    }
  }

  onDrain(): void {
    try {
      this.sender.drained();
    } catch (error) {
      this.onException(error);
    }
  }

  onClose(): void {
    try {
      if (this.#headTimed) this.#intake.recordRefused('client_gone', 499, 0);
    } catch (error) {
      logFailure(this.#environment.log, error, '');
    }
    this.#end('client');
    this.#environment.observer.connectionClosed();
    this.#onClosed(this);
  }

  onTimeout(): void {
    try {
      if (this.#headTimed || !this.#settingsSeen) {
        if (this.#headTimed) this.#intake.recordRefused('head_timeout', 408, 0);
        this.#goAway(h2.NO_ERROR);
      } else if (this.streams.size === 0) this.#goAway(h2.NO_ERROR);
    } catch (error) {
      this.onException(error);
    }
  }

  // From the frame reader.

  onViolation(code: number): void {
    if (!this.closed)
      this.#environment.log.debug('http2_violation', `HTTP/2 error ${code}`, { address: this.peer });
    this.#goAway(code);
  }

  onFrame(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    if (!this.#expected(type, flags, id)) {
      this.onViolation(h2.PROTOCOL_ERROR);
      return;
    }
    this.uncork();
    const code = this.#frame(type, flags, id, buffer, start, end);
    if (code !== h2.NO_ERROR) this.onViolation(code);
  }

  onDataHead(flags: number, id: number, length: number): void {
    const code = this.#expected(h2.DATA, flags, id)
      ? this.#bodies.begin(flags, id, length)
      : h2.PROTOCOL_ERROR;
    if (code !== h2.NO_ERROR) this.onViolation(code);
  }

  onDataBytes(buffer: Buffer, start: number, end: number, complete: boolean): void {
    this.#bodies.bytes(buffer, start, end, complete);
  }

  // From streams and sender.

  consumed(bytes: number): void {
    this.#bodies.consumed(bytes);
  }

  released(stream: Http2Stream, resetByUs: boolean): void {
    const { id } = stream;
    this.streams.delete(id);
    this.ended.add(id, resetByUs);
    if (this.#corked === stream) this.#corked = null;
    this.#bodies.released(stream, resetByUs);
    poolOf(this.#environment).give(stream);
    if (this.closed || this.streams.size > 0) return;
    // What was on its way when the client was told to go may still come, until it has heard of it.
    if (this.#leaving || this.#intake.finalId !== h2.MAX_STREAM_ID) this.#goAway(h2.NO_ERROR);
    else if (!this.#headTimed) this.#environment.timers.set(this, this.#idleMs);
  }

  /** Something of this stream's request is on its way to the backend, and leaves with what follows at once. */
  cork(stream: Http2Stream): void {
    this.uncorkOthers(stream);
    this.#corked = stream;
  }

  uncorkOthers(stream: Http2Stream | undefined): void {
    if (this.#corked !== stream) this.uncork();
  }

  uncork(): void {
    const stream = this.#corked;
    this.#corked = null;
    stream?.uncork();
  }

  /** The body of this stream, whose exchange has begun, may come at once. */
  begun(stream: Http2Stream): void {
    this.#begun.push(stream);
    this.sender.wake();
  }

  onTurn(): void {
    for (const stream of this.#begun) {
      // Not if it ended and serves another connection by now.
      if (stream.corked && this.streams.get(stream.id) === stream) stream.uncork();
    }
    this.#begun.length = 0;
  }

  /** A new stream: `opened` before its exchange begins. */
  opened(): void {
    if (!this.#headTimed) this.#environment.timers.clear(this);
    this.#idleFrames.restore(USEFUL);
  }

  get initialWindow(): number {
    return this.#settings.initialWindow;
  }

  refuseStream(id: number, code: number): void {
    this.sender.reset(id, code);
    this.ended.add(id, true);
    this.#bodies.refused();
    this.mistake();
  }

  mistake(): void {
    if (!this.#resets.take(1, this.#environment.timers.now)) this.onViolation(h2.ENHANCE_YOUR_CALM);
  }

  onFlooded(): void {
    this.onViolation(h2.ENHANCE_YOUR_CALM);
  }

  /** An exception of ours ends this connection and nothing else. */
  onException(error: unknown): void {
    logFailure(this.#environment.log, error, '');
    this.#corked = null;
    if (this.closed) return;
    this.sender.goAway(this.#intake.lastId, h2.INTERNAL_ERROR);
    this.#close('fail');
  }

  // Frames.

  /** SETTINGS come first (§3.4), and nothing between the frames of a field block (§4.3). */
  #expected(type: number, flags: number, id: number): boolean {
    if (!this.#settingsSeen) {
      if (type !== h2.SETTINGS || (flags & h2.ACK) !== 0) return false;
      this.#settingsSeen = true;
      this.#environment.timers.set(this, this.#environment.limits().keepAliveMs);
    }
    if (this.#intake.openBlock !== 0) return type === h2.CONTINUATION && id === this.#intake.openBlock;
    return type !== h2.CONTINUATION;
  }

  /** Answers the error code that the connection ends with, or `NO_ERROR`. */
  #frame(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): number {
    switch (type) {
      case h2.HEADERS:
        return this.#intake.headers(flags, id, buffer, start, end);
      case h2.CONTINUATION:
        return this.#intake.continuation(flags, id, buffer, start, end);
      case h2.PRIORITY:
        if (id === 0) return h2.PROTOCOL_ERROR;
        if (end - start !== 5) return h2.FRAME_SIZE_ERROR;
        if (dependency(buffer, start) === id) return h2.PROTOCOL_ERROR;
        return this.#idle(1);
      case h2.RST_STREAM:
        return this.#rstStream(id, end - start);
      case h2.SETTINGS:
        return this.#peerSettings(flags, id, buffer, start, end);
      case h2.PUSH_PROMISE:
        return h2.PROTOCOL_ERROR;
      case h2.PING:
        if (id !== 0) return h2.PROTOCOL_ERROR;
        if (end - start !== 8) return h2.FRAME_SIZE_ERROR;
        if ((flags & h2.ACK) === 0) this.sender.ping(true, buffer, start);
        else if (this.#draining) this.#finishDraining();
        return this.#idle(1);
      case h2.GOAWAY:
        if (id !== 0) return h2.PROTOCOL_ERROR;
        if (end - start < 8) return h2.FRAME_SIZE_ERROR;
        this.#leaving = true;
        if (this.streams.size === 0) this.#goAway(h2.NO_ERROR);
        return this.#idle(1);
      case h2.WINDOW_UPDATE:
        return this.#windowUpdate(id, buffer, start, end);
      default:
        // §5.5: unknown types are ignored.
        return this.#idle(1);
    }
  }

  get #idleMs(): number {
    return this.#draining ? DRAIN_MS : this.#environment.limits().keepAliveMs;
  }

  #idle(cost: number): number {
    return this.#idleFrames.take(cost, this.#environment.timers.now) ? h2.NO_ERROR : h2.ENHANCE_YOUR_CALM;
  }

  useless(): boolean {
    return this.#idle(1) === h2.NO_ERROR;
  }

  #rstStream(id: number, length: number): number {
    if (id === 0 || this.#intake.isIdle(id)) return h2.PROTOCOL_ERROR;
    if (length !== 4) return h2.FRAME_SIZE_ERROR;
    const stream = this.streams.get(id);
    if (stream === undefined) return this.#idle(1);
    stream.clientReset();
    return this.#resets.take(1, this.#environment.timers.now) ? h2.NO_ERROR : h2.ENHANCE_YOUR_CALM;
  }

  #peerSettings(flags: number, id: number, buffer: Buffer, start: number, end: number): number {
    if (id !== 0) return h2.PROTOCOL_ERROR;
    if ((flags & h2.ACK) !== 0) return end === start ? this.#idle(1) : h2.FRAME_SIZE_ERROR;
    const settings = this.#settings;
    const windowBefore = settings.initialWindow;
    const code = settings.read(buffer, start, end);
    if (code !== h2.NO_ERROR) return code;
    if (settings.leastTableSize !== null) this.encoder.setLimit(settings.leastTableSize);
    if (settings.tableSize !== null) this.encoder.setLimit(settings.tableSize);
    const change = settings.initialWindow - windowBefore;
    if (change !== 0) {
      for (const stream of this.streams.values()) {
        if (!this.sender.widenStream(stream.send, change)) return h2.FLOW_CONTROL_ERROR;
      }
    }
    this.sender.settingsAck();
    this.sender.pump();
    return this.#idle(SETTINGS_COST);
  }

  #windowUpdate(id: number, buffer: Buffer, start: number, end: number): number {
    if (end - start !== 4) return h2.FRAME_SIZE_ERROR;
    const increment = buffer.readUInt32BE(start) & h2.MAX_WINDOW;
    if (id === 0) {
      if (increment === 0) return h2.PROTOCOL_ERROR;
      if (!this.sender.widen(increment)) return h2.FLOW_CONTROL_ERROR;
    } else {
      if (this.#intake.isIdle(id)) return h2.PROTOCOL_ERROR;
      const stream = this.streams.get(id);
      if (stream === undefined) return this.#idle(1);
      if (increment === 0) stream.fail('bad_request', h2.PROTOCOL_ERROR);
      else if (!this.sender.widenStream(stream.send, increment))
        stream.fail('bad_request', h2.FLOW_CONTROL_ERROR);
    }
    this.#idleFrames.restore(this.sender.takeFramesSent());
    this.sender.pump();
    return this.#idle(1);
  }

  /** The deadline of a head counts from its first byte. */
  #timeHead(): void {
    if (this.closed) return;
    const inside = this.#intake.openBlock !== 0 || this.#reader.insideFields;
    const { blocks } = this.#intake;
    if (inside === this.#headTimed && (!inside || blocks === this.#headsBefore)) return;
    this.#headTimed = inside;
    this.#headsBefore = blocks;
    const { timers } = this.#environment;
    if (inside) timers.set(this, this.#environment.limits().headTimeoutMs);
    else if (this.streams.size > 0) timers.clear(this);
    else timers.set(this, this.#idleMs);
  }

  // Endings.

  /** The client knows that it is told to go: what it asks from now on is not served. */
  #finishDraining(): void {
    if (this.#intake.finalId !== h2.MAX_STREAM_ID) return;
    this.#intake.finalId = this.#intake.lastId;
    this.sender.goAway(this.#intake.lastId, h2.NO_ERROR);
    if (this.streams.size === 0) this.#goAway(h2.NO_ERROR);
  }

  #goAway(code: number): void {
    if (this.closed) return;
    const said = code === h2.NO_ERROR && this.#intake.finalId !== h2.MAX_STREAM_ID;
    if (!said) this.sender.goAway(this.#intake.lastId, code);
    this.#close('client');
  }

  /** Sends what is pending and ends; nothing more is read. */
  #close(how: 'client' | 'fail'): void {
    this.#end(how);
    this.#stream.close();
  }

  /** Every exchange ends. Idempotent; the stream may still be sending. */
  #end(how: 'client' | 'stop' | 'fail'): void {
    if (this.closed) return;
    this.closed = true;
    this.#headTimed = false;
    this.#corked = null;
    this.#begun.length = 0;
    this.#bodies.close();
    this.#reader.stop();
    this.#intake.close();
    this.#environment.timers.remove(this);
    for (const stream of [...this.streams.values()]) {
      // One that fails must not keep the others from being freed.
      try {
        stream.connectionGone(how);
      } catch (error) {
        logFailure(this.#environment.log, error, '');
        stream.close();
      }
    }
    this.sender.close();
  }
}

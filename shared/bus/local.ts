/**
 * The bus of one machine without Redis: a Unix socket in the data folder. One process is the hub; when it dies, any
 * other takes its place within milliseconds. A hub that is stuck is replaced, too.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Log } from '../log.ts';
import { privateFolder } from '../private-folder.ts';
import type { Bus, Channel } from './contract.ts';
import { identityOf, lead, MAX_WAITING_BYTES, type Receive, type Session } from './hub.ts';
import { LineReader, splitLine, toLine } from './lines.ts';
import { encode, isChannel, type MessageHandler, Subscriptions } from './subscriptions.ts';

export interface LocalBusOptions {
  /** How often the hub is asked for a sign of life, in ms. Default 2000. */
  readonly pingMs?: number;
  /** Silence after which the hub counts as stuck, in ms. Default 5000. */
  readonly silenceMs?: number;
}

/** Longest path of a Unix socket (108 bytes with its end on Linux, 104 elsewhere). */
const MAX_PATH_BYTES = 103;
const SOCKET_NAME = 'bus.sock';
/** Apart from each other, so that not all try to become the hub at once. */
const RETRY_JITTER_MS = 30;
const SLOWEST_RETRY_MS = 1_000;
const CLOSE_MS = 500;
/** How a connect fails when nobody is behind the name. Anything else (EAGAIN, EACCES) says nothing about the hub. */
const DEAD = new Set(['ECONNREFUSED', 'ENOENT']);

export class LocalBus implements Bus {
  readonly #data: string;
  readonly #log: Log;
  readonly #subscriptions: Subscriptions;
  readonly #pingMs: number;
  readonly #silenceMs: number;
  #session: Session | null = null;
  #joining: Member | null = null;
  #closed = false;
  #failing = false;
  #wake: () => void = () => {};
  readonly #running: Promise<void>;

  /** Connects in the background; never throws. */
  constructor(data: string, log: Log, options: LocalBusOptions = {}) {
    this.#data = data;
    this.#log = log;
    this.#subscriptions = new Subscriptions(log);
    this.#pingMs = options.pingMs ?? 2_000;
    this.#silenceMs = options.silenceMs ?? 5_000;
    this.#running = this.#run();
  }

  get connected(): boolean {
    return this.#session !== null;
  }

  /** Whether this process passes the messages on at the moment. */
  get isHub(): boolean {
    return this.#session?.hub === true;
  }

  publish(channel: Channel, message: object): void {
    if (this.#session === null) return;
    const text = encode(channel, message, this.#log);
    if (text !== null) this.#session.send(toLine(channel, text));
  }

  subscribe(channel: Channel, handler: MessageHandler): () => void {
    const own: MessageHandler = (message) => handler(message);
    this.#subscriptions.add(channel, own);
    return () => this.#subscriptions.remove(channel, own);
  }

  onConnected(handler: () => void): () => void {
    return this.#subscriptions.addOnConnected(handler);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#subscriptions.clear();
    this.#joining?.close();
    this.#session?.close();
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    let wait = 0;
    while (!this.#closed) {
      const session = await this.#takePart();
      if (session === null) {
        wait = Math.min(SLOWEST_RETRY_MS, wait * 2 + 1);
      } else {
        wait = 0;
        await this.#during(session);
      }
      if (!this.#closed) await this.#pause(wait + Math.random() * RETRY_JITTER_MS);
    }
  }

  async #during(session: Session): Promise<void> {
    if (this.#closed) session.close();
    else {
      this.#session = session;
      this.#failing = false;
      this.#log.debug('bus_connected', 'the message bus of this machine is connected', { hub: session.hub });
      this.#subscriptions.announceConnected();
    }
    const reason = await session.ended;
    this.#session = null;
    if (!this.#closed)
      this.#log.debug('bus_lost', 'the hub of the message bus has to be found anew', { reason });
  }

  /** Joins the hub that is there, or becomes it; null when neither worked this time. */
  async #takePart(): Promise<Session | null> {
    try {
      const path = socketPath(this.#data);
      const there = identityOf(path);
      const receive: Receive = (channel, payload) => this.#subscriptions.deliver(channel, payload);
      if (there !== null) {
        const member = new Member(path, receive, this.#pingMs, this.#silenceMs);
        this.#joining = member;
        const joined = await member.joined.finally(() => {
          this.#joining = null;
        });
        if (joined) return member;
      }
      return this.#closed ? null : await lead(path, there, receive);
    } catch (error) {
      if (!this.#failing) {
        this.#failing = true;
        const reason = (error as NodeJS.ErrnoException).code ?? String(error);
        this.#log.warn(
          'bus_lost',
          'the message bus of this machine cannot be opened; see to the data folder',
          {
            reason,
          },
        );
      }
      return null;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/**
 * Where the socket of a data folder is: in it, or, when that path is too long for a socket, in a folder of this user
 * in the system's temporary folder under a name made of the path. Creates the folder. Throws when it may not be used.
 */
export function socketPath(data: string): string {
  mkdirSync(data, { recursive: true });
  // The same folder may be known by several names.
  const folder = realpathSync(data);
  const path = join(folder, SOCKET_NAME);
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return path;
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  return join(privateFolder(), `${name}.sock`);
}

/** Connected to the hub of another process, or on the way there. */
class Member implements Session {
  readonly hub = false;
  /** True when the hub has answered, false when nobody does. Rejects when it cannot be told. */
  readonly joined: Promise<boolean>;
  readonly ended: Promise<string>;
  readonly #socket: Socket;
  readonly #ping: NodeJS.Timeout;
  #reason = 'the hub is gone';
  #heardAt = performance.now();

  constructor(path: string, receive: Receive, pingMs: number, silenceMs: number) {
    const socket = connect(path);
    this.#socket = socket;
    let settle: (joined: boolean) => void = () => {};
    let fail: (error: Error) => void = () => {};
    this.joined = new Promise((resolve, reject) => {
      settle = resolve;
      fail = reject;
    });
    this.ended = new Promise((resolve) => {
      socket.on('close', () => {
        clearInterval(this.#ping);
        settle(false);
        resolve(this.#reason);
      });
    });
    const reader = new LineReader((line) => {
      const { word, rest } = splitLine(line);
      // The first answer proves that the hub is alive and not just bound.
      if (word === 'pong') settle(true);
      else if (isChannel(word)) receive(word, rest);
    });
    socket.on('connect', () => socket.write('ping\n'));
    socket.on('data', (chunk: Buffer) => {
      this.#heardAt = performance.now();
      reader.push(chunk);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.syscall === 'connect' && !DEAD.has(error.code ?? '')) fail(error);
    });
    // Not the time-out of the socket: that is put off by what we write.
    this.#ping = setInterval(() => {
      if (performance.now() - this.#heardAt > silenceMs) {
        this.#reason = 'the hub is stuck';
        socket.destroy();
      } else {
        this.send('ping\n');
      }
    }, pingMs).unref();
  }

  send(line: string): void {
    if (this.#socket.writable && this.#socket.writableLength <= MAX_WAITING_BYTES) this.#socket.write(line);
  }

  close(): void {
    if (this.#socket.connecting) this.#socket.destroy();
    else this.#socket.destroySoon();
    // A hub that reads nothing would hold what was written last for ever.
    setTimeout(() => this.#socket.destroy(), CLOSE_MS).unref();
  }
}

/**
 * The bus over Redis publish/subscribe. One connection does both (RESP3, Redis 6 and later). A server that is down, stuck
 * or half-open is noticed within seconds, said once in the log, and tried again for ever; nothing is queued meanwhile.
 */
import { Redis } from 'ioredis';
import type { Log } from '../log.ts';
import type { Bus, Channel } from './contract.ts';
import { encode, isChannel, type MessageHandler, Subscriptions } from './subscriptions.ts';

export interface RedisBusOptions {
  /** How often the server is asked for a sign of life, in ms. Default 2000. */
  readonly pingMs?: number;
  /** Silence after which the connection counts as dead, in ms; well above `pingMs`. Default 5000. */
  readonly silenceMs?: number;
}

/** Messages that may wait for the server's answer; beyond that a stuck server costs messages instead of memory. */
const MAX_OUTSTANDING = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;
const FIRST_RETRY_MS = 50;
const SLOWEST_RETRY_MS = 1_000;
const CLOSE_MS = 500;
const CLOSED = 'the server closed the connection';

export class RedisBus implements Bus {
  readonly #redis: Redis;
  readonly #log: Log;
  readonly #subscriptions: Subscriptions;
  readonly #ping: NodeJS.Timeout;
  #connected = false;
  #outstanding = 0;
  /** Null until the first attempt has succeeded or failed: only changes are logged. */
  #reported: 'up' | 'down' | null = null;
  #reason = CLOSED;
  #closing: Promise<void> | null = null;

  /** Connects in the background. Throws only when `url` is no URL of Redis at all. */
  constructor(url: string, log: Log, options: RedisBusOptions = {}) {
    this.#log = log;
    this.#subscriptions = new Subscriptions(log);
    this.#redis = new Redis(url, {
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      // Subscribed by hand, since `connected` must not be true before the server has confirmed it.
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      // INFO and CLIENT may be forbidden to our user, and neither is needed.
      enableReadyCheck: false,
      disableClientInfo: true,
      connectTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: options.silenceMs ?? 5_000,
      retryStrategy: (times) =>
        Math.min(SLOWEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(times, 10)) * (0.75 + Math.random() / 2),
    });
    this.#redis.on('error', (error: NodeJS.ErrnoException) => {
      // The code says it without the address of the server, which may hold a password.
      this.#reason = error.code ?? error.message;
    });
    this.#redis.on('ready', () => this.#subscribeAll());
    this.#redis.on('close', () => this.#lost());
    this.#redis.on('messageBuffer', (channel: Buffer, message: Buffer) => {
      const name = channel.toString();
      if (isChannel(name)) this.#subscriptions.deliver(name, message);
    });
    this.#ping = setInterval(() => {
      if (this.#connected) this.#redis.ping().catch(ignore);
    }, options.pingMs ?? 2_000).unref();
  }

  get connected(): boolean {
    return this.#connected;
  }

  publish(channel: Channel, message: object): void {
    if (!this.#connected || this.#outstanding >= MAX_OUTSTANDING) return;
    const text = encode(channel, message, this.#log);
    if (text === null) return;
    this.#outstanding++;
    const settled = () => {
      this.#outstanding--;
    };
    this.#redis.publish(channel, text).then(settled, settled);
  }

  subscribe(channel: Channel, handler: MessageHandler): () => void {
    const own: MessageHandler = (message) => handler(message);
    const known = this.#subscriptions.has(channel);
    this.#subscriptions.add(channel, own);
    if (!known && this.#connected) this.#redis.subscribe(channel).catch(() => this.#redis.disconnect(true));
    return () => {
      const before = this.#subscriptions.has(channel);
      this.#subscriptions.remove(channel, own);
      if (before && !this.#subscriptions.has(channel) && this.#connected) {
        this.#redis.unsubscribe(channel).catch(ignore);
      }
    };
  }

  onConnected(handler: () => void): () => void {
    return this.#subscriptions.addOnConnected(handler);
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      clearInterval(this.#ping);
      this.#connected = false;
      this.#subscriptions.clear();
      // Between two attempts there is no connection whose end could be waited for.
      if (this.#redis.status === 'end' || this.#redis.status === 'reconnecting') {
        this.#redis.disconnect();
        resolve();
        return;
      }
      // A stuck server never answers the end of the connection; there is nothing to wait for then.
      const timer = setTimeout(resolve, CLOSE_MS);
      this.#redis.once('end', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#redis.disconnect();
    });
    return this.#closing;
  }

  /** After each connect. A change of the channels meanwhile is part of the next attempt or of `subscribe`. */
  #subscribeAll(): void {
    const channels = this.#subscriptions.channels;
    // PING when there is nothing to subscribe to: some answer must prove that this is a Redis that lets us in.
    const proof = channels.length > 0 ? this.#redis.subscribe(...channels) : this.#redis.ping();
    proof.then(
      () => this.#established(channels),
      (error: Error) => {
        this.#reason = error.message;
        if (this.#closing === null) this.#redis.disconnect(true);
      },
    );
  }

  #established(subscribed: readonly Channel[]): void {
    if (this.#closing !== null || this.#redis.status !== 'ready') return;
    const late = this.#subscriptions.channels.filter((channel) => !subscribed.includes(channel));
    if (late.length > 0) {
      this.#subscribeAll();
      return;
    }
    this.#connected = true;
    this.#reason = CLOSED;
    if (this.#reported !== 'up') this.#log.info('bus_connected', 'the message bus (Redis) is connected');
    this.#reported = 'up';
    this.#subscriptions.announceConnected();
  }

  #lost(): void {
    this.#connected = false;
    if (this.#closing !== null || this.#reported === 'down') return;
    this.#reported = 'down';
    this.#log.warn(
      'bus_lost',
      'the message bus (Redis) is away; changes are found by reading the store until it is back',
      { reason: this.#reason },
    );
  }
}

function ignore(): void {}

/** Who wants to hear what, for both adapters: parses a message once, and keeps one handler's failure from the others. */
import type { Log } from '../log.ts';
import { type Channel, MAX_MESSAGE_BYTES } from './contract.ts';

export type MessageHandler = (message: Readonly<Record<string, unknown>> | undefined) => void;

const CHANNELS: ReadonlySet<string> = new Set<Channel>([
  'updateProxy',
  'kontrol:applied',
  'kontrol:events',
  'kontrol:ask',
  'kontrol:answer',
]);

export function isChannel(name: string): name is Channel {
  return CHANNELS.has(name);
}

export class Subscriptions {
  readonly #log: Log;
  readonly #handlers = new Map<Channel, Set<MessageHandler>>();
  readonly #onConnected = new Set<() => void>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Channels with at least one handler. */
  get channels(): Channel[] {
    return [...this.#handlers.keys()];
  }

  has(channel: Channel): boolean {
    return this.#handlers.has(channel);
  }

  add(channel: Channel, handler: MessageHandler): void {
    const handlers = this.#handlers.get(channel) ?? new Set();
    handlers.add(handler);
    this.#handlers.set(channel, handlers);
  }

  remove(channel: Channel, handler: MessageHandler): void {
    const handlers = this.#handlers.get(channel);
    handlers?.delete(handler);
    if (handlers?.size === 0) this.#handlers.delete(channel);
  }

  /** Gives a message as it was received to the handlers of its channel. */
  deliver(channel: Channel, bytes: Buffer): void {
    const handlers = this.#handlers.get(channel);
    if (handlers === undefined) return;
    const message = parse(bytes);
    for (const handler of [...handlers]) this.#call(() => handler(message));
  }

  addOnConnected(handler: () => void): () => void {
    // A wrapper, so that the same function may be given twice.
    const own = () => handler();
    this.#onConnected.add(own);
    return () => this.#onConnected.delete(own);
  }

  announceConnected(): void {
    for (const handler of [...this.#onConnected]) this.#call(handler);
  }

  clear(): void {
    this.#handlers.clear();
    this.#onConnected.clear();
  }

  #call(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.#log.error('bus_handler_failed', 'a message could not be handled', { error });
    }
  }
}

function parse(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  if (bytes.length > MAX_MESSAGE_BYTES) return undefined;
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** The JSON of a message, or null (and a log line) for one that may not be sent. */
export function encode(channel: Channel, message: object, log: Log): string | null {
  try {
    const text = JSON.stringify(message);
    if (Buffer.byteLength(text) <= MAX_MESSAGE_BYTES) return text;
    log.warn('bus_message_too_large', 'a message has more than 64 KB and was not sent', { channel });
  } catch (error) {
    log.error('bus_message_invalid', 'a message is not JSON and was not sent', { channel, error });
  }
  return null;
}

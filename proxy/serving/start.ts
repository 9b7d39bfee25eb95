/** A serving process: made once from the start message, then moved by messages until it has drained. */
import type net from 'node:net';
import { type Log, silentLog } from '../../shared/log.ts';
import type {
  FromServing,
  PrimaryToServing,
  ServingToPrimary,
  StartMessage,
  ToServing,
} from '../link/messages.ts';
import type { ByteStream } from '../stream/byte-stream.ts';
import { Listeners, type ReceivedHandle } from './listeners.ts';
import { type OrphanSocket, openOrphanSocket } from './orphan.ts';

export class ServingProcess {
  readonly log: Log;
  readonly #start: StartMessage;
  readonly #listeners: Listeners;
  readonly #orphanSocket: OrphanSocket;
  readonly #streams = new Set<ByteStream>();
  #ready = false;
  #draining = false;

  constructor(start: StartMessage) {
    process.title = `kontrol serving ${start.id}`;
    this.#start = start;
    this.log = silentLog;
    this.#listeners = new Listeners({
      log: this.log,
      mode: 'public',
      onStream: (stream) => this.#accept(stream),
      onAcceptError: () => {},
      toPrimary: (message) => this.#send(message),
    });
    this.#orphanSocket = openOrphanSocket(
      start.settings,
      {
        primary: () => (process.connected ? process.ppid : null),
        leave: () => this.leave(),
      },
      () => {},
    );
    this.#send({ type: 'hello', pid: process.pid });
  }

  receive(message: PrimaryToServing | ToServing, handle: unknown): void {
    switch (message.type) {
      case 'listen':
        this.#listeners.listen(message.spec, (handle ?? null) as ReceivedHandle | null);
        return;
      case 'spare':
        this.#listeners.spare(message.key, (handle ?? null) as ReceivedHandle | null);
        return;
      case 'connection':
        if (handle !== undefined) this.#listeners.connection(message.key, handle as net.Socket);
        return;
      case 'unlisten':
        this.#listeners.unlisten(message.key);
        return;
      case 'drain':
        this.#drain(message.ms);
        return;
      case 'ping':
        this.#send({
          type: 'pong',
          n: message.n,
          rss: process.memoryUsage.rss(),
          connections: this.#streams.size,
        });
        return;
      case 'reopen-logs':
        this.reopenLogs();
        return;
      case 'entries':
        if (message.last) {
          this.#send({ type: 'loaded', generation: message.generation, seq: message.seq, rejected: [] });
          this.#begin();
        }
        return;
      case 'change':
        this.#send({ type: 'applied', change: message.change, seq: message.seq, rejected: [] });
        return;
      case 'no-table':
        this.#begin();
        return;
    }
  }

  /** The primary is gone. */
  orphaned(): void {
    if (!this.#ready) process.exit(0);
  }

  /** Drains and ends. */
  leave(): void {
    this.#drain(this.#start.settings.drainMs);
  }

  reopenLogs(): void {}

  #begin(): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#listeners.begin();
    this.#send({ type: 'ready' });
  }

  #accept(stream: ByteStream): void {
    this.#streams.add(stream);
    stream.handler = {
      onData: () => {
        stream.write(
          Buffer.from(
            `HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nX-Pid: ${process.pid}\r\nContent-Length: 0\r\n\r\n`,
          ),
        );
        stream.close();
      },
      onEnd: () => stream.close(),
      onDrain: () => {},
      onClose: () => {
        this.#streams.delete(stream);
        this.#leaveIfDone();
      },
    };
    stream.resume();
  }

  #drain(ms: number): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#listeners.close();
    setTimeout(() => this.#end(), ms);
    this.#leaveIfDone();
  }

  #leaveIfDone(): void {
    if (this.#draining && this.#streams.size === 0) this.#end();
  }

  #end(): void {
    this.#orphanSocket.close();
    this.#send({ type: 'drained' });
    setImmediate(() => process.exit(0));
  }

  #send(message: FromServing | ServingToPrimary): void {
    if (process.connected) process.send?.(message, () => {});
  }
}

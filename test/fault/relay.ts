/**
 * A TCP relay between a process of ours and a service it needs, which can break the way networks and servers do:
 * refuse, be slow, freeze with everything open, reset, or answer garbage. One mode for old and new connections alike.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export type RelayMode = 'pass' | 'refuse' | 'slow' | 'frozen' | 'reset' | 'garbage';

/** Each piece of an answer comes this much later when the relay is slow. */
const SLOW_MS = 3_000;

export class Relay {
  readonly port: number;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #pairs = new Set<Pair>();
  #server: Server | null;
  #mode: RelayMode = 'pass';

  private constructor(server: Server, target: URL) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.#target = { host: target.hostname, port: Number(target.port) };
  }

  /** In front of the service at `url`. */
  static async start(url: string): Promise<Relay> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const relay = new Relay(server, new URL(url));
    server.on('connection', (socket) => relay.#accept(socket));
    return relay;
  }

  /** The address of the service as it is behind the relay. */
  through(url: string): string {
    const relayed = new URL(url);
    relayed.hostname = '127.0.0.1';
    relayed.port = String(this.port);
    return relayed.href;
  }

  get mode(): RelayMode {
    return this.#mode;
  }

  async set(mode: RelayMode): Promise<void> {
    this.#mode = mode;
    if (mode === 'refuse') {
      await this.#shut();
      return;
    }
    if (this.#server === null) {
      const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
      server.listen(this.port, '127.0.0.1');
      await once(server, 'listening');
      this.#server = server;
    }
    for (const pair of [...this.#pairs]) pair.enter(mode);
  }

  async close(): Promise<void> {
    await this.#shut();
  }

  async #shut(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const pair of [...this.#pairs]) pair.close();
    if (server === null) return;
    server.close();
    await once(server, 'close');
  }

  #accept(client: Socket): void {
    const pair = new Pair(client, connect(this.#target), () => this.#pairs.delete(pair));
    this.#pairs.add(pair);
    pair.enter(this.#mode);
  }
}

/** One connection through the relay. */
class Pair {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #closed: () => void;
  readonly #timers = new Set<NodeJS.Timeout>();
  #mode: RelayMode = 'pass';
  #open = true;

  constructor(client: Socket, server: Socket, closed: () => void) {
    this.#client = client;
    this.#server = server;
    this.#closed = closed;
    for (const socket of [client, server]) {
      socket.on('error', () => this.close());
      socket.on('close', () => this.close());
      socket.setNoDelay(true);
    }
    client.on('data', (chunk) => this.#server.write(chunk));
    client.on('end', () => this.#server.end());
    server.on('data', (chunk) => this.#answer(chunk));
    server.on('end', () => {
      if (this.#mode === 'pass') this.#client.end();
    });
  }

  enter(mode: RelayMode): void {
    this.#mode = mode;
    if (mode === 'frozen') {
      this.#client.pause();
      this.#server.pause();
      return;
    }
    this.#client.resume();
    this.#server.resume();
    if (mode === 'reset') {
      this.#client.resetAndDestroy();
      this.close();
    } else if (mode === 'garbage') this.#client.write(GARBAGE);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#client.destroy();
    this.#server.destroy();
    this.#closed();
  }

  #answer(chunk: Buffer): void {
    if (this.#mode === 'garbage') this.#client.write(GARBAGE);
    else if (this.#mode === 'slow') {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        if (this.#open) this.#client.write(chunk);
      }, SLOW_MS);
      this.#timers.add(timer);
    } else this.#client.write(chunk);
  }
}

/** No frame of any protocol: a length of two billion, then noise. */
const GARBAGE = Buffer.concat([
  Buffer.from([0xff, 0xff, 0xff, 0x7f]),
  Buffer.from('\r\n$*\u0000{"garbage"'.repeat(8)),
]);

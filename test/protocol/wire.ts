/** Ends of raw TCP connections for protocol tests: what arrives is kept, and every wait has a deadline. */
import { once } from 'node:events';
import net from 'node:net';

const DEADLINE_MS = 5_000;

/** One end of a connection; what it received is `text` (Latin-1, byte for character). */
export class Wire {
  readonly socket: net.Socket;
  #received = '';
  #taken = 0;
  /** Null while open; how the other side ended it: `end` (FIN), or `reset` (RST or another error). */
  ended: 'end' | 'reset' | null = null;
  closed = false;
  #waiting: (() => void)[] = [];

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.#received += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('connect', () => this.#wake());
    socket.on('end', () => {
      this.ended ??= 'end';
      this.#wake();
    });
    socket.on('error', () => {
      this.ended = 'reset';
      this.#wake();
    });
    socket.on('close', () => {
      this.closed = true;
      this.ended ??= 'reset';
      this.#wake();
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** What has arrived and has not been taken. */
  get rest(): string {
    return this.#received.slice(this.#taken);
  }

  get received(): string {
    return this.#received;
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const end = Date.now() + DEADLINE_MS;
    while (!condition()) {
      const left = end - Date.now();
      if (left <= 0)
        throw new Error(`waited in vain for ${what}; got ${JSON.stringify(this.rest.slice(0, 500))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  write(text: string | Buffer): void {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }

  /** Takes everything up to and including `mark`. */
  async readUntil(mark: string): Promise<string> {
    await this.until(() => this.rest.includes(mark) || this.ended !== null, JSON.stringify(mark));
    const at = this.rest.indexOf(mark);
    if (at < 0)
      throw new Error(`ended (${this.ended}) before ${JSON.stringify(mark)}: ${JSON.stringify(this.rest)}`);
    return this.#take(at + mark.length);
  }

  async readBytes(count: number): Promise<string> {
    // By length only: looking into the text would join its pieces anew with each one that arrives.
    await this.until(
      () => this.#received.length - this.#taken >= count || this.ended !== null,
      `${count} bytes`,
    );
    if (this.rest.length < count)
      throw new Error(`ended (${this.ended}) after ${this.rest.length} of ${count} bytes`);
    return this.#take(count);
  }

  readHead(): Promise<string> {
    return this.readUntil('\r\n\r\n');
  }

  /** A head and the body it announces (Content-Length or chunked, still chunked). */
  async readMessage(options: { readonly bodiless?: boolean } = {}): Promise<Message> {
    const head = await this.readHead();
    const message = parseMessage(head);
    if (options.bodiless || /^HTTP\/1\.1 (1|204|304)/.test(head)) return message;
    const length = message.fields.get('content-length');
    if (length !== undefined) return { ...message, body: await this.readBytes(Number(length)) };
    if (message.fields.get('transfer-encoding') === 'chunked') {
      return { ...message, body: await this.#readChunked() };
    }
    return message;
  }

  async #readChunked(): Promise<string> {
    let raw = '';
    for (;;) {
      const line = await this.readUntil('\r\n');
      raw += line;
      const size = Number.parseInt(line, 16);
      if (size > 0) raw += await this.readBytes(size + 2);
      else {
        let trailer: string;
        do {
          trailer = await this.readUntil('\r\n');
          raw += trailer;
        } while (trailer !== '\r\n');
        return raw;
      }
    }
  }

  /** Everything up to the end of the connection, and how that came. */
  async readToEnd(): Promise<string> {
    await this.until(() => this.ended !== null, 'the end');
    return this.#take(this.rest.length);
  }

  #take(count: number): string {
    const text = this.rest.slice(0, count);
    this.#taken += count;
    return text;
  }

  end(): void {
    this.socket.end();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  destroy(): void {
    this.socket.destroy();
  }
}

export interface Message {
  readonly line: string;
  /** 0 for requests. */
  readonly status: number;
  readonly head: string;
  /** Names in lower case; repeats joined by `, `. */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
}

export function parseMessage(head: string): Message {
  const [line = '', ...rest] = head.trimEnd().split('\r\n');
  const fields = new Map<string, string>();
  for (const field of rest) {
    const colon = field.indexOf(':');
    const name = field.slice(0, colon).toLowerCase();
    const value = field.slice(colon + 1).trim();
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(line);
  return { line, status: Number(status?.[1] ?? 0), head, fields, body: '' };
}

/** The data of a chunked body. */
export function dechunk(raw: string): string {
  let data = '';
  let at = 0;
  for (;;) {
    const end = raw.indexOf('\r\n', at);
    const size = Number.parseInt(raw.slice(at, end), 16);
    if (!(size > 0)) return data;
    data += raw.slice(end + 2, end + 2 + size);
    at = end + 2 + size + 2;
  }
}

/** A server whose every connection the test plays by hand. */
export class ScriptedBackend {
  readonly server: net.Server;
  readonly port: number;
  /** Connections accepted so far, in order. */
  readonly accepted: Wire[] = [];
  #next = 0;

  private constructor(server: net.Server) {
    this.server = server;
    this.port = (server.address() as net.AddressInfo).port;
    server.on('connection', (socket) => {
      this.accepted.push(new Wire(socket));
      server.emit('wire');
    });
  }

  static async start(): Promise<ScriptedBackend> {
    const server = net.createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ScriptedBackend(server);
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The next connection that has not been asked for. */
  async connection(): Promise<Wire> {
    const index = this.#next++;
    const deadline = AbortSignal.timeout(DEADLINE_MS);
    while (this.accepted.length <= index) await once(this.server, 'wire', { signal: deadline });
    return this.accepted[index] as Wire;
  }

  close(): void {
    this.server.close();
    for (const wire of this.accepted) wire.destroy();
  }
}

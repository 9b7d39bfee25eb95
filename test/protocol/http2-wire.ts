/** A client of HTTP/2 that says frame by frame what a test wants, right or wrong; and a proxy that it talks to. */
import { once } from 'node:events';
import net from 'node:net';
import { Http2Connection } from '../../proxy/http2/connection.ts';
import { HpackDecoder } from '../../proxy/http2/hpack-decoder.ts';
import * as h2 from '../../proxy/http2/protocol.ts';
import { acceptStreams } from '../../proxy/stream/accept.ts';
import { type ProxyOptions, TestProxy } from './harness.ts';
import type { ScriptedBackend, Wire } from './wire.ts';

const DEADLINE_MS = 5_000;

export type Fields = readonly (readonly [name: string, value: string])[];

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export interface Answer {
  readonly status: number;
  /** Repeats joined by `, `. */
  readonly fields: ReadonlyMap<string, string>;
  readonly informational: readonly number[];
  readonly body: string;
  readonly trailers: ReadonlyMap<string, string>;
  /** Code of the reset that ended it, null for a clean end. */
  readonly reset: number | null;
}

export const GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/'],
  [':authority', 'a.test'],
];
export const POST: Fields = [[':method', 'POST'], ...GET.slice(1)];

/** Literals without indexing and without Huffman code. */
export function block(fields: Fields): Buffer {
  const parts = fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]);
  return Buffer.concat(parts);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

export function frame(type: number, flags: number, id: number, payload: Buffer | string = ''): Buffer {
  const bytes = Buffer.from(payload as string, 'latin1');
  const head = Buffer.alloc(9);
  head.writeUIntBE(bytes.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, bytes]);
}

export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function settings(...pairs: readonly [id: number, value: number][]): Buffer {
  const entries = pairs.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), word(value)]));
  return frame(h2.SETTINGS, 0, 0, Buffer.concat(entries));
}

export class H2Client {
  readonly socket: net.Socket;
  ended = false;
  /** What the proxy's WINDOW_UPDATEs have allowed, by stream. */
  readonly granted = new Map<number, number>();
  readonly #decoder = new HpackDecoder();
  #bytes = Buffer.alloc(0);
  readonly #frames: Frame[] = [];
  #waiting: (() => void)[] = [];

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#cut();
      this.#wake();
    });
    socket.on('error', () => {});
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.ended = true;
        socket.end();
        this.#wake();
      });
    }
  }

  #cut(): void {
    while (this.#bytes.length >= 9) {
      const length = this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.length < 9 + length) return;
      const [type, flags] = [this.#bytes[3]!, this.#bytes[4]!];
      const payload = Buffer.from(this.#bytes.subarray(9, 9 + length));
      const id = this.#bytes.readUInt32BE(5);
      this.#frames.push({ type, flags, id, payload });
      if (type === h2.WINDOW_UPDATE) {
        this.granted.set(id, (this.granted.get(id) ?? 0) + payload.readUInt32BE(0));
      }
      this.#bytes = this.#bytes.subarray(9 + length);
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  write(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** The preface and SETTINGS. */
  begin(...pairs: readonly [id: number, value: number][]): void {
    this.write(h2.PREFACE, settings(...pairs));
  }

  headers(id: number, fields: Fields, flags: number = h2.END_STREAM): void {
    this.write(frame(h2.HEADERS, h2.END_HEADERS | flags, id, block(fields)));
  }

  data(id: number, payload: Buffer | string, flags = 0): void {
    this.write(frame(h2.DATA, flags, id, payload));
  }

  windowUpdate(id: number, increment: number): void {
    this.write(frame(h2.WINDOW_UPDATE, 0, id, word(increment)));
  }

  /** The next frame that `wanted` takes; those before it are dropped. */
  async next(wanted: (frame: Frame) => boolean, what: string): Promise<Frame> {
    const end = Date.now() + DEADLINE_MS;
    for (;;) {
      for (let one = this.#frames.shift(); one !== undefined; one = this.#frames.shift()) {
        if (one.type === h2.HEADERS && !wanted(one)) this.fields(one);
        if (wanted(one)) return one;
      }
      if (this.ended) throw new Error(`the connection ended before ${what}`);
      const left = end - Date.now();
      if (left <= 0) throw new Error(`waited in vain for ${what}`);
      await this.#arrival(left);
    }
  }

  frameOf(type: number, id?: number): Promise<Frame> {
    return this.next((one) => one.type === type && (id === undefined || one.id === id), `frame ${type}`);
  }

  /** The fields of a HEADERS frame; each has to be decoded once, in order. */
  fields({ payload }: Frame): Map<string, string> {
    const fields = new Map<string, string>();
    const valid = this.#decoder.decode(payload, 0, payload.length, {
      field(line, start, nameLength, valueLength) {
        const name = line.toString('latin1', start, start + nameLength);
        const value = line.toString('latin1', start + nameLength + 2, start + nameLength + 2 + valueLength);
        const before = fields.get(name);
        fields.set(name, before === undefined ? value : `${before}, ${value}`);
      },
    });
    if (!valid) throw new Error('a field block of the proxy is not valid');
    return fields;
  }

  /** The whole answer on a stream. */
  async answer(id: number): Promise<Answer> {
    const informational: number[] = [];
    let fields = new Map<string, string>();
    let trailers = new Map<string, string>();
    let status = 0;
    const body: Buffer[] = [];
    let reset: number | null = null;
    for (;;) {
      const one = await this.next((each) => each.id === id && each.type !== h2.WINDOW_UPDATE, `stream ${id}`);
      if (one.type === h2.RST_STREAM) reset = one.payload.readUInt32BE(0);
      else if (one.type === h2.DATA) body.push(one.payload);
      else {
        const block = this.fields(one);
        const next = Number(block.get(':status') ?? 0);
        if (next >= 200) [status, fields] = [next, block];
        else if (next > 0) informational.push(next);
        else trailers = block;
      }
      if (
        reset === null &&
        ((one.type !== h2.DATA && one.type !== h2.HEADERS) || (one.flags & h2.END_STREAM) === 0)
      )
        continue;
      return {
        status,
        fields,
        informational,
        body: Buffer.concat(body).toString('latin1'),
        trailers,
        reset,
      };
    }
  }

  /** The code that the proxy gave up the connection with, and its end. */
  async goneWith(): Promise<number> {
    const { payload } = await this.frameOf(h2.GOAWAY);
    await this.end();
    return payload.readUInt32BE(4);
  }

  async resetOf(id: number): Promise<number> {
    return (await this.frameOf(h2.RST_STREAM, id)).payload.readUInt32BE(0);
  }

  /** The connection has ended. */
  end(): Promise<void> {
    return this.settled(() => this.ended, 'the end of the connection');
  }

  /** Looks again whenever something arrives. */
  async settled(condition: () => boolean, what: string): Promise<void> {
    const end = Date.now() + DEADLINE_MS;
    while (!condition()) {
      const left = end - Date.now();
      if (left <= 0) throw new Error(`waited in vain for ${what}`);
      await this.#arrival(left);
    }
  }

  #arrival(ms: number): Promise<void> {
    return new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Everything before this was dealt with: a PING was answered behind it. */
  async ping(): Promise<void> {
    this.write(frame(h2.PING, 0, 0, '12345678'));
    await this.next(
      (one) => one.type === h2.PING && one.payload.toString() === '12345678',
      'the answer to a PING',
    );
  }

  frames(): readonly Frame[] {
    return this.#frames;
  }
}

export interface H2Proxy {
  readonly proxy: TestProxy;
  readonly backend: ScriptedBackend;
  readonly connections: Set<Http2Connection>;
  /** A client that has sent its preface, unless `raw`. */
  connect(raw?: 'raw'): Promise<H2Client>;
  /** The next connection to the backend, and the head of the request on it. */
  request(): Promise<{ wire: Wire; head: string }>;
}

/** Runs `body` with a proxy whose port speaks HTTP/2, as if its TLS were done. */
export async function withHttp2(options: ProxyOptions, body: (it: H2Proxy) => Promise<void>): Promise<void> {
  const proxy = await TestProxy.start(options);
  const connections = new Set<Http2Connection>();
  const clients: H2Client[] = [];
  const server = net.createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  acceptStreams(
    server,
    (stream) => {
      const listener = { secure: true, port: 443 };
      connections.add(
        new Http2Connection(stream, proxy.environment, listener, (one) => connections.delete(one)),
      );
    },
    'handle',
  );
  let requests = 0;
  try {
    await body({
      proxy,
      backend: proxy.backend,
      connections,
      async connect(raw) {
        const socket = net.connect({
          port: (server.address() as net.AddressInfo).port,
          host: '127.0.0.1',
          allowHalfOpen: true,
        });
        await once(socket, 'connect');
        const client = new H2Client(socket);
        clients.push(client);
        if (raw === undefined) client.begin();
        return client;
      },
      async request() {
        const index = requests++;
        const { accepted } = proxy.backend;
        await proxy.settled(() => accepted.length > index, 'a connection to the backend');
        const wire = accepted[index]!;
        return { wire, head: await wire.readHead() };
      },
    });
    for (const client of clients) client.socket.destroy();
    await proxy.settled(() => connections.size === 0, 'all connections to end');
    await proxy.settled(() => proxy.activeRequests() === 0, 'all backends to be free');
    if (proxy.errors.length > 0) throw new Error(`the engine failed: ${JSON.stringify(proxy.errors)}`);
  } finally {
    for (const client of clients) client.socket.destroy();
    for (const connection of [...connections]) connection.closeNow();
    server.close();
    proxy.close();
  }
}

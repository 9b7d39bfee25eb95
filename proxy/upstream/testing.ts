/** What the tests of this folder share: services made of a few words, backends on loopback, acquirers that remember. */
import { once } from 'node:events';
import net from 'node:net';
import type tls from 'node:tls';
import { type Clock, ManualClock, systemClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { resolveService, serviceSchema } from '../../shared/model/service.ts';
import type { BackendSpec, CompiledService } from '../../shared/routing/decision.ts';
import type { ByteStream, ByteStreamHandler } from '../stream/byte-stream.ts';
import { TimerWheel } from '../stream/timer-wheel.ts';
import type { ConnectOutcome, Connector, Target } from './connector.ts';
import { netConnector } from './connector.ts';
import type {
  AcquireOptions,
  Acquirer,
  PickRequest,
  Ticket,
  Unavailable,
  UpstreamConnection,
} from './contract.ts';
import type { FailureReport } from './failure-report.ts';
import { createUpstreams, type ManagedUpstreams, type UpstreamOptions } from './upstreams.ts';

export function spec(address: string, more: Partial<BackendSpec> = {}): BackendSpec {
  return { address, weight: 1, tier: 0, state: 'ready', since: 0, worker: null, ...more };
}

/** `keys`: backends by key number; the first is `latest`. */
export function service(
  keys: Record<number, readonly (string | BackendSpec)[]>,
  document: Record<string, unknown> = {},
): CompiledService {
  const config = resolveService(serviceSchema.parse({ name: 'shop', ...document }));
  const compiled = Object.entries(keys).map(([key, backends]) => ({
    key: Number(key),
    enabled: true,
    backends: backends.map((backend) => (typeof backend === 'string' ? spec(backend) : backend)),
  }));
  const numbers = compiled.map((key) => key.key);
  return {
    name: config.name,
    config,
    keys: new Map(compiled.map((key) => [key.key, key])),
    latest: numbers[0] ?? null,
    greatest: Math.max(0, ...numbers),
  };
}

export const request: PickRequest = { address: '192.0.2.1', target: '/', header: () => undefined };
export const plain: AcquireOptions = { websocket: false, tried: [], fresh: false };

/** What came of one `acquire`; `settled` resolves with it. */
export class Got implements Acquirer {
  connection: UpstreamConnection | null = null;
  unavailable: Unavailable | null = null;
  answers = 0;
  ticket: Ticket = { cancel() {} };
  #resolve: () => void = () => {};
  readonly settled = new Promise<void>((resolve) => {
    this.#resolve = resolve;
  });

  onConnection(connection: UpstreamConnection): void {
    this.answers++;
    this.connection = connection;
    connection.stream.handler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
    this.#resolve();
  }

  onUnavailable(why: Unavailable): void {
    this.answers++;
    this.unavailable = why;
    this.#resolve();
  }

  get address(): string | null {
    return this.connection?.backend.address ?? null;
  }
}

/** A server on loopback that counts its connections and says nothing by itself. */
export class TestBackend {
  accepted = 0;
  readonly sockets = new Set<net.Socket>();
  readonly #server: net.Server | tls.Server;
  address = '';

  private constructor(server: net.Server | tls.Server) {
    this.#server = server;
    const take = (socket: net.Socket) => {
      this.accepted++;
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('error', () => {});
      socket.resume();
    };
    server.on('connection', take);
  }

  static async start(
    server: net.Server | tls.Server = net.createServer({ allowHalfOpen: false }),
    at: { host?: string; port?: number; path?: string } = {},
  ): Promise<TestBackend> {
    const backend = new TestBackend(server);
    server.listen(at.path === undefined ? { host: '127.0.0.1', port: 0, ...at } : { path: at.path });
    await once(server, 'listening');
    const bound = server.address() as net.AddressInfo | string;
    backend.address = typeof bound === 'string' ? `unix:${bound}` : `${bound.address}:${bound.port}`;
    return backend;
  }

  get port(): number {
    return Number(this.address.slice(this.address.lastIndexOf(':') + 1));
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** An address nobody listens on: bound once and given back. */
export async function deadAddress(): Promise<string> {
  const backend = await TestBackend.start();
  await backend.close();
  return backend.address;
}

/** A stream without a socket behind it. */
export class FakeStream implements ByteStream {
  handler: ByteStreamHandler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
  readonly remoteAddress = '127.0.0.1';
  readonly remotePort = 1;
  readonly localAddress = '127.0.0.1';
  readonly localPort = 2;
  readonly tls = null;
  pendingBytes = 0;
  closed = false;
  write(): boolean {
    return true;
  }
  writeShared(): boolean {
    return true;
  }
  writeAll(): boolean {
    return true;
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  close(): void {
    this.closed = true;
  }
  reset(): void {
    this.closed = true;
  }
}

/** A connector whose connects end when the test says so. */
export class HeldConnector implements Connector {
  /** Connects under way, in order. */
  readonly pending: { target: Target; outcome: ConnectOutcome }[] = [];
  /** Addresses of all connects ever begun, and of those given up. */
  readonly targets: string[] = [];
  readonly aborted: string[] = [];
  /** Streams of all connects that succeeded. */
  readonly streams: FakeStream[] = [];

  connect(target: Target, _identity: unknown, outcome: ConnectOutcome) {
    const entry = { target, outcome };
    this.pending.push(entry);
    this.targets.push(target.text);
    return {
      abort: () => {
        if (this.#take(this.pending.indexOf(entry)) !== undefined) this.aborted.push(target.text);
      },
    };
  }

  /** The connect under way that was begun first (or `index` later) succeeds. */
  succeed(index = 0): FakeStream {
    const stream = new FakeStream();
    this.streams.push(stream);
    this.#take(index)?.outcome.onConnected(stream);
    return stream;
  }

  fail(index = 0, code = 'ECONNREFUSED'): void {
    this.#take(index)?.outcome.onConnectFailed(Object.assign(new Error(code), { code }));
  }

  #take(index: number) {
    return index < 0 ? undefined : this.pending.splice(index, 1)[0];
  }
}

export interface Rig {
  readonly upstreams: ManagedUpstreams;
  readonly timers: TimerWheel;
  readonly failures: FailureReport[];
  readonly recovered: string[];
  acquire(
    service: CompiledService,
    options?: Partial<AcquireOptions>,
    key?: number,
    visitor?: PickRequest,
  ): Got;
  /** `acquire`, and waits for its end. */
  get(service: CompiledService, options?: Partial<AcquireOptions>, key?: number): Promise<Got>;
  backend(address: string): { active: number; tunnels: number; idle: number; alive: boolean };
}

/** Upstreams on real sockets and real time, or on a manual clock with `clock`. */
export function rig(options: Partial<UpstreamOptions> & { clock?: Clock } = {}): Rig {
  const clock = options.clock ?? systemClock;
  const timers = new TimerWheel(
    (error) => {
      throw error;
    },
    () => clock.monotonic(),
  );
  if (!(clock instanceof ManualClock)) timers.start();
  const failures: FailureReport[] = [];
  const recovered: string[] = [];
  const upstreams = createUpstreams({
    connector: netConnector,
    timers,
    clock,
    log: silentLog,
    random: () => 0,
    onFailures: (reports) => failures.push(...reports),
    onRecovered: (_, address) => recovered.push(address),
    ...options,
  });
  const acquire: Rig['acquire'] = (of, more = {}, number = of.latest ?? 0, visitor = request) => {
    const got = new Got();
    const key = of.keys.get(number) ?? { key: number, enabled: true, backends: [] };
    got.ticket = upstreams.acquire(of, key, visitor, { ...plain, ...more }, got);
    return got;
  };
  return {
    upstreams,
    timers,
    failures,
    recovered,
    acquire,
    get: async (...parameters) => {
      const got = acquire(...parameters);
      await got.settled;
      return got;
    },
    backend: (address) => {
      const found = upstreams.status().find((entry) => entry.address === address);
      if (found === undefined) throw new Error(`no backend ${address}`);
      return found;
    },
  };
}

/** A manual clock and a wheel that turns with it. */
export function advance(clock: ManualClock, timers: TimerWheel, ms: number): void {
  for (let passed = 0; passed < ms; passed += 100) {
    clock.advance(Math.min(100, ms - passed));
    timers.advance();
  }
}

/** A rig without sockets: connects end when the test says so, and time stands still. */
export function heldRig(options: Partial<UpstreamOptions> = {}) {
  const connector = new HeldConnector();
  const clock = new ManualClock();
  const made = rig({ ...options, connector, clock });
  return {
    ...made,
    connector,
    clock,
    pass: (ms: number) => advance(clock, made.timers, ms),
  };
}

/** Polls until `holds`; fails after five seconds, saying what it waited for. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`did not come to pass: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

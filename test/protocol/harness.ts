/** A proxy of one process for protocol tests: the real engine and upstreams on loopback, a scripted client and backend. */
import { once } from 'node:events';
import net from 'node:net';
import type { Invalidation } from '../../proxy/cache/invalidations.ts';
import { SharedAnswers } from '../../proxy/cache/shared-answers.ts';
import { ClientConnection } from '../../proxy/http1/client-connection.ts';
import type { Observer, RequestRecord } from '../../proxy/observe/record.ts';
import { createPages } from '../../proxy/pages/pages.ts';
import type { Environment } from '../../proxy/serving/environment.ts';
import { acceptStreams, type SocketVariant } from '../../proxy/stream/accept.ts';
import type { ByteStream } from '../../proxy/stream/byte-stream.ts';
import { TimerWheel } from '../../proxy/stream/timer-wheel.ts';
import type { TlsVariant } from '../../proxy/stream/tls-handle.ts';
import { type Connector, socketConnector } from '../../proxy/upstream/connector.ts';
import type { Upstreams } from '../../proxy/upstream/contract.ts';
import { createUpstreams, type ManagedUpstreams } from '../../proxy/upstream/upstreams.ts';
import { systemClock } from '../../shared/clock.ts';
import type { Log, LogFields } from '../../shared/log.ts';
import { resolveService, serviceSchema } from '../../shared/model/service.ts';
import { type ResolvedLimits, resolveLimits } from '../../shared/model/settings.ts';
import type {
  CompiledService,
  Decision,
  DecisionLabels,
  Forward,
  RequestView,
} from '../../shared/routing/decision.ts';
import { ScriptedBackend, Wire } from './wire.ts';

export const labels: DecisionLabels = {
  domain: 'example.com',
  route: 0,
  service: 'shop',
  pages: null,
  rule: null,
};

export interface ProxyOptions {
  /** Fields of the service object. */
  readonly service?: Record<string, unknown>;
  readonly backends?: number;
  readonly limits?: Partial<ResolvedLimits>;
  readonly decide?: (request: RequestView, forward: Forward) => Decision;
  readonly trusts?: (address: string) => boolean;
  readonly via?: boolean;
  readonly variant?: SocketVariant;
  readonly secure?: boolean;
  /** Bytes that stored answers of all services may take. */
  readonly maxStored?: number;
  /** Makes the connections to backends in place of the real one. */
  readonly connector?: Connector;
}

/** How sockets are made on both sides of the proxy; the runner has all of these tests run in each variant. */
export const VARIANT: SocketVariant = (process.env['TEST_SOCKETS'] as SocketVariant | undefined) ?? 'handle';

export const TLS_VARIANT: TlsVariant = VARIANT === 'handle' ? 'handle' : 'net';

export class TestProxy {
  readonly backends: ScriptedBackend[];
  readonly records: RequestRecord[] = [];
  readonly errors: LogFields[] = [];
  readonly connections = new Set<ClientConnection>();
  readonly timers: TimerWheel;
  readonly upstreams: ManagedUpstreams;
  readonly service: CompiledService;
  readonly environment: Environment;
  /** What unsafe requests made invalid, in order. */
  readonly invalid: Invalidation[] = [];
  readonly answers: SharedAnswers;
  /** The view of the last request that was decided. */
  lastView: RequestView | null = null;
  opened = 0;
  /** Bytes that clients have sent and the engine has seen, and requests that were decided. */
  received = 0;
  decisions = 0;
  /** Places in the retry budget that are taken. */
  retriesHeld = 0;
  isDraining = false;
  /** Milliseconds added to the monotonic clock of timers. */
  #ahead = 0;
  readonly #server: net.Server;
  readonly #options: ProxyOptions;
  readonly #wires: Wire[] = [];

  private constructor(server: net.Server, backends: ScriptedBackend[], options: ProxyOptions) {
    this.#server = server;
    this.#options = options;
    this.backends = backends;
    const clock = { ...systemClock, monotonic: () => performance.now() + this.#ahead };
    const log = testLog(this.errors);
    this.timers = new TimerWheel((error) => this.errors.push({ error }), clock.monotonic);
    this.timers.start();
    this.upstreams = createUpstreams({
      connector: options.connector ?? socketConnector(() => options.variant ?? VARIANT),
      timers: this.timers,
      clock,
      log,
    });
    this.service = compileService(options.service ?? {}, backends);
    this.upstreams.setService(this.service.name, this.service);
    this.answers = new SharedAnswers(
      () => this.environment,
      (...one) => this.invalid.push(one),
      options.maxStored,
    );
    const limits = { ...resolveLimits({}), ...options.limits };
    this.environment = {
      decide: (view) => this.#decide(view),
      limits: () => limits,
      via: () => options.via ?? true,
      trusts: options.trusts ?? (() => false),
      publicHttpsPort: 443,
      upstreams: this.#countingUpstreams(),
      answers: this.answers,
      pages: createPages({ folder: '/nonexistent' }),
      observer: this.#observer(),
      timers: this.timers,
      clock,
      log,
      draining: () => this.isDraining,
    };
  }

  static async start(options: ProxyOptions = {}): Promise<TestProxy> {
    const count = options.backends ?? 1;
    const backends = await Promise.all(Array.from({ length: count }, () => ScriptedBackend.start()));
    const server = net.createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new TestProxy(server, backends, options);
    acceptStreams(
      server,
      (stream) => {
        const listener = { secure: options.secure ?? false, port: 80 };
        const connection = new ClientConnection(stream, proxy.environment, listener, (closed) => {
          proxy.connections.delete(closed);
          server.emit('connectionClosed');
        });
        proxy.connections.add(connection);
        proxy.#count(stream);
      },
      options.variant ?? VARIANT,
    );
    return proxy;
  }

  get backend(): ScriptedBackend {
    return this.backends[0] as ScriptedBackend;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  get forward(): Forward {
    return {
      type: 'forward',
      labels,
      response: null,
      service: this.service,
      key: this.service.keys.get(1)!,
      path: null,
      request: null,
      limits: null,
    };
  }

  async client(options: Partial<net.TcpNetConnectOpts> = {}): Promise<Wire> {
    const socket = net.connect({ port: this.port, host: '127.0.0.1', allowHalfOpen: true, ...options });
    await once(socket, 'connect');
    const wire = new Wire(socket);
    this.#wires.push(wire);
    return wire;
  }

  /** Time passes for every deadline at once. */
  passTime(ms: number): void {
    this.#ahead += ms;
    this.timers.advance();
  }

  /** The `count`th record, once it is there. */
  async record(count = 1): Promise<RequestRecord> {
    const deadline = AbortSignal.timeout(5_000);
    while (this.records.length < count) await once(this.#server, 'record', { signal: deadline });
    return this.records[count - 1]!;
  }

  async settled(condition: () => boolean, what: string): Promise<void> {
    const end = Date.now() + 5_000;
    while (!condition()) {
      if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Ends the clients; then no exchange is left on any backend, and no connection of a client. */
  async idle(): Promise<void> {
    for (const wire of this.#wires) wire.end();
    await this.settled(() => this.connections.size === 0, 'all client connections to end');
    await this.settled(() => this.activeRequests() === 0, 'all backends to be free');
    if (this.retriesHeld !== 0) throw new Error(`${this.retriesHeld} places in the retry budget are held`);
  }

  activeRequests(): number {
    return this.upstreams.status().reduce((sum, backend) => sum + backend.active + backend.tunnels, 0);
  }

  close(): void {
    for (const wire of this.#wires) wire.destroy();
    for (const connection of [...this.connections]) connection.closeNow();
    this.#server.close();
    for (const backend of this.backends) backend.close();
    this.upstreams.setService(this.service.name, null);
    this.timers.stop();
  }

  /** Counts what a connection reads, as long as it is not a tunnel's. */
  #count(stream: ByteStream): void {
    const { handler } = stream;
    stream.handler = {
      onData: (buffer, start, end) => {
        handler.onData(buffer, start, end);
        this.received += end - start;
      },
      onEnd: () => handler.onEnd(),
      onDrain: () => handler.onDrain(),
      onClose: (error) => handler.onClose(error),
    };
  }

  #countingUpstreams(): Upstreams {
    const { upstreams } = this;
    return {
      acquire: (...request) => upstreams.acquire(...request),
      takeRetry: (service) => {
        const taken = upstreams.takeRetry(service);
        if (taken) this.retriesHeld++;
        return taken;
      },
      retryDone: (service) => {
        this.retriesHeld--;
        upstreams.retryDone(service);
      },
    };
  }

  #decide(view: RequestView): Decision {
    this.lastView = view;
    this.decisions++;
    return this.#options.decide?.(view, this.forward) ?? this.forward;
  }

  #observer(): Observer {
    return {
      record: (record) => {
        this.records.push(record);
        this.#server.emit('record');
      },
      connectionOpened: () => {
        this.opened++;
      },
      connectionClosed: () => {
        this.opened--;
      },
    };
  }
}

/** No pooled connection ends by itself during a test. */
const PATIENT = { pool: { idle: '1h' } };

function compileService(
  document: Record<string, unknown>,
  backends: readonly ScriptedBackend[],
): CompiledService {
  const config = resolveService(serviceSchema.parse({ name: 'shop', ...PATIENT, ...document }));
  const key = {
    key: 1,
    enabled: true,
    backends: backends.map((backend) => ({
      address: backend.address,
      weight: 1,
      tier: 0,
      state: 'ready' as const,
      since: 0,
      worker: null,
    })),
  };
  return { name: config.name, config, keys: new Map([[1, key]]), latest: 1, greatest: 1 };
}

function testLog(errors: LogFields[]): Log {
  const log: Log = {
    debug() {},
    info() {},
    warn() {},
    error: (code, message, fields) => errors.push({ code, message, ...fields }),
    child: () => log,
  };
  return log;
}

/** Runs `body` with a proxy that is closed afterwards, whatever happens; no exception of the engine may have been logged. */
export async function withProxy(
  options: ProxyOptions,
  body: (proxy: TestProxy) => Promise<void>,
): Promise<void> {
  const proxy = await TestProxy.start(options);
  try {
    await body(proxy);
    if (proxy.errors.length > 0) throw new Error(`the engine failed: ${JSON.stringify(proxy.errors)}`);
  } finally {
    proxy.close();
  }
}

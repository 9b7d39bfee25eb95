/** The front of a serving process with a table of its own, on one loopback socket: from accepting on, all is real. */
import { once } from 'node:events';
import net from 'node:net';
import type { ListenerSpec } from '../../proxy/link/messages.ts';
import { AppliedTable } from '../../proxy/serving/apply.ts';
import { Connections } from '../../proxy/serving/connections.ts';
import { Front } from '../../proxy/serving/front.ts';
import { acceptStreams } from '../../proxy/stream/accept.ts';
import { TlsFront } from '../../proxy/tls/tls-front.ts';
import type { RejectedEntry, TableEntry } from '../../shared/routing/entry.ts';
import { type ProxyOptions, TestProxy, TLS_VARIANT, VARIANT } from './harness.ts';
import { Wire } from './wire.ts';

export interface FrontOptions extends ProxyOptions {
  readonly type: ListenerSpec['type'];
  readonly proxyProtocol?: boolean;
  /** Name of the listener object, for type tcp. */
  readonly listener?: string;
  readonly handshakeTimeoutMs?: number;
}

export class TestFront {
  readonly proxy: TestProxy;
  readonly connections = new Connections();
  readonly table: AppliedTable;
  readonly tls: TlsFront;
  /** Connections that count as open. */
  admitted = 0;
  readonly #front: Front;
  readonly #server: net.Server;
  readonly #wires: Wire[] = [];

  private constructor(proxy: TestProxy, server: net.Server, options: FrontOptions) {
    this.proxy = proxy;
    this.#server = server;
    const log = proxy.environment.log;
    const handshakeTimeoutMs = options.handshakeTimeoutMs ?? 10_000;
    const monotonic = () => proxy.environment.clock.monotonic();
    this.tls = new TlsFront({ log, handshakeTimeoutMs, monotonic });
    this.table = new AppliedTable(
      {},
      {
        setService: (name, service) => proxy.upstreams.setService(name, service),
        serviceNames: () => [],
        setBrand() {},
        // Tests put them into `tls.certificates` themselves.
        certificatesChanged: () => [],
      },
    );
    this.#front = new Front({
      environment: {
        ...proxy.environment,
        decide: (view) => this.table.decide(view),
        limits: () => ({ ...this.table.limits(), ...options.limits }),
      },
      table: this.table,
      connections: this.connections,
      admission: { opened: () => this.admitted++, closed: () => this.admitted-- } as never,
      tls: this.tls,
      tlsVariant: () => TLS_VARIANT,
    });
    const spec: ListenerSpec = {
      key: 'test',
      type: options.type,
      address: '127.0.0.1',
      port: this.port,
      proxyProtocol: options.proxyProtocol ?? false,
      listener: options.listener ?? null,
    };
    if (options.type === 'https') server.on('connection', (socket) => this.#front.acceptSecure(socket, spec));
    else acceptStreams(server, (stream) => this.#front.accept(stream, spec), VARIANT);
  }

  static async start(options: FrontOptions): Promise<TestFront> {
    const proxy = await TestProxy.start(options);
    const server = net.createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TestFront(proxy, server, options);
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** Puts objects in force: `{ kind, name, … }`; throws when one is rejected. */
  apply(...objects: ({ readonly kind: string; readonly name: string } & Record<string, unknown>)[]): void {
    const entries = objects.map(
      ({ kind, ...doc }) => ({ kind, name: doc.name, doc }) as unknown as TableEntry,
    );
    const rejected: RejectedEntry[] = this.table.change(entries);
    if (rejected.length > 0) throw new Error(JSON.stringify(rejected));
  }

  /** A service of one of the scripted backends. */
  service(name: string, backend = 0, more: Record<string, unknown> = {}): void {
    const keys = { 1: { backends: [{ address: this.proxy.backends[backend]!.address }] } };
    this.apply({ kind: 'service', name, keys, pool: { idle: '1h' }, ...more });
  }

  async client(localAddress = '127.0.0.1'): Promise<Wire> {
    const socket = net.connect({ port: this.port, host: '127.0.0.1', localAddress, allowHalfOpen: true });
    const wire = this.wire(socket);
    // A refusal may come before this end knows that it is connected.
    await wire.until(() => !socket.connecting || wire.closed, 'the connection');
    return wire;
  }

  /** A wire that is closed with the front. */
  wire(socket: net.Socket): Wire {
    const wire = new Wire(socket);
    this.#wires.push(wire);
    return wire;
  }

  /** Ends the clients, and what backends still hold open; then nothing of them is left. */
  async idle(): Promise<void> {
    for (const wire of this.#wires) wire.destroy();
    await this.proxy.settled(() => {
      // A backend may only now hear of a client that is gone already.
      for (const backend of this.proxy.backends) for (const wire of backend.accepted) wire.end();
      return this.connections.size === 0;
    }, 'all connections to end');
    await this.proxy.settled(() => this.admitted === 0, 'all connections to be given back');
    await this.proxy.settled(() => this.proxy.activeRequests() === 0, 'all backends to be free');
    if (this.proxy.opened !== 0) throw new Error(`${this.proxy.opened} connections are counted as open`);
  }

  close(): void {
    for (const wire of this.#wires) wire.destroy();
    this.connections.closeAll();
    this.#front.close();
    this.#server.close();
    this.proxy.close();
  }
}

/** Runs `body` with a front; afterwards nothing may be left of it, and no exception of the engine may have been logged. */
export async function withFront(
  options: FrontOptions,
  body: (front: TestFront) => Promise<void>,
): Promise<void> {
  const front = await TestFront.start(options);
  try {
    await body(front);
    await front.idle();
    const { errors } = front.proxy;
    if (errors.length > 0) throw new Error(`the engine failed: ${JSON.stringify(errors)}`);
  } finally {
    front.close();
  }
}

/**
 * Listening sockets that outlive every process that accepts on them. The primary binds and never accepts: it keeps
 * the handle and gives copies of it to the serving processes, so that connections queue in the kernel while the
 * last of them is replaced. The only file that uses Node's internal `_createServerHandle`; where the self-test
 * finds it wanting, the primary accepts by the public API and hands each connection on.
 */
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { PassedHandle } from '../link/handle-pass.ts';
import { addressText } from '../link/listener-specs.ts';
import type { ListenerSpec, PrimaryToServing } from '../link/messages.ts';

/** Connections that wait in the kernel (or, with the fallback, here) while nobody accepts. */
export const BACKLOG = 1_024;

/** The first descriptor that socket activation passes on. */
const FIRST_INHERITED = 3;

/** What is used of Node's TCP handle. */
type Handle = PassedHandle;
type CreateServerHandle = (
  address: string | null,
  port: number,
  addressType: number,
  fd?: number,
  flags?: number,
) => Handle | number;

/** A process that can be given sockets; `handle` travels with the message. */
export interface SocketReceiver {
  send(message: PrimaryToServing, handle?: unknown): boolean;
}

/** A bound port. Every receiver it was offered to accepts on it until it is withdrawn or ends. */
export interface BoundSocket {
  /** As wanted, but with the port it got where any port (0) was wanted. */
  readonly spec: ListenerSpec;
  /** The same address and port get another meaning. Receivers are withdrawn before and offered to again after. */
  rename(spec: ListenerSpec): void;
  offer(receiver: SocketReceiver): void;
  /** One more copy of the handle, after the receiver closed one to pause. */
  offerSpare(receiver: SocketReceiver): void;
  /** The receiver gets no more connections from here on. */
  withdraw(receiver: SocketReceiver): void;
  /** Idempotent. Copies in other processes stay open until those close them. */
  close(): void;
}

/** The port could not be bound. `code` is the system's, `EADDRINUSE` mostly; the message says what to do. */
export class BindError extends Error {
  readonly code: string;
  readonly port: number;
  override readonly name = 'BindError';

  constructor(spec: ListenerSpec, code: string) {
    super(
      `cannot listen on ${addressText(spec.address, spec.port)} (${spec.type}): ${adviceFor(code, spec)}`,
    );
    this.code = code;
    this.port = spec.port;
  }
}

function adviceFor(code: string, spec: ListenerSpec): string {
  if (code === 'EADDRINUSE') {
    const where = spec.type === 'tcp' ? '' : ` with --${spec.type} (KONTROL_${spec.type.toUpperCase()})`;
    return `the port is in use; stop what holds it or choose another port${where}`;
  }
  if (code === 'EACCES')
    return `port ${spec.port} needs a privilege; use a port above 1023 or grant CAP_NET_BIND_SERVICE`;
  if (code === 'EADDRNOTAVAIL') return 'this machine does not have that address';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'the name cannot be resolved; use an address';
  return `${code}; check the address and the port`;
}

/** How sockets are bound, chosen once at start. */
export type SocketKind = 'handle' | 'relayed';

/** Whether Node's internals do what we need of them, tried on a loopback port. */
export function selfTest(): SocketKind {
  try {
    const create = internals();
    if (create === null) return 'relayed';
    const handle = create('127.0.0.1', 0, 4);
    if (typeof handle === 'number') return 'relayed';
    const at: { address?: string; port?: number } = {};
    const sound = handle.getsockname(at) === 0 && at.address === '127.0.0.1' && (at.port ?? 0) > 0;
    handle.close();
    return sound ? 'handle' : 'relayed';
  } catch {
    return 'relayed';
  }
}

function internals(): CreateServerHandle | null {
  const create = (net as unknown as { _createServerHandle?: CreateServerHandle })._createServerHandle;
  return typeof create === 'function' ? create : null;
}

/** Sockets that somebody else bound for us; each is used once. */
export interface BoundBefore {
  take(address: string, port: number): PassedHandle | null;
}

/** Binds the port of `spec`, or takes the socket that is bound there in `before`. Throws BindError. */
export async function bindSocket(
  spec: ListenerSpec,
  kind: SocketKind,
  before: BoundBefore | null = null,
): Promise<BoundSocket> {
  const taken = kind === 'handle' && spec.port !== 0 ? before?.take(spec.address, spec.port) : null;
  if (taken) return new HandleSocket(spec, taken);
  const address = await numeric(spec);
  return kind === 'handle' ? bindHandle(spec, address) : listenPublicly(spec, address);
}

async function numeric(spec: ListenerSpec): Promise<string> {
  if (spec.address === '' || net.isIP(spec.address) !== 0) return spec.address;
  try {
    return (await lookup(spec.address)).address;
  } catch (error) {
    throw new BindError(spec, (error as NodeJS.ErrnoException).code ?? 'ENOTFOUND');
  }
}

function bindHandle(spec: ListenerSpec, address: string): BoundSocket {
  const create = internals();
  if (create === null) throw new BindError(spec, 'ENOSYS');
  const inherited = takeInherited(create, address, spec.port);
  if (inherited !== null) return new HandleSocket(spec, inherited);
  const handle = create(address === '' ? null : address, spec.port, address === '' ? -1 : net.isIP(address));
  if (typeof handle === 'number') throw new BindError(spec, systemCode(handle));
  // libuv reports EADDRINUSE of bind() only when something is done with the socket.
  const at: { port?: number } = {};
  const result = handle.getsockname(at);
  const port = at.port ?? 0;
  if (result !== 0 || port === 0 || (spec.port !== 0 && port !== spec.port)) {
    handle.close();
    throw new BindError(spec, result === 0 ? 'EADDRINUSE' : systemCode(result));
  }
  return new HandleSocket({ ...spec, port }, handle);
}

/**
 * Socket activation (sd_listen_fds(3)): sockets that systemd bound before this process began, and keeps when it
 * ends, so that an upgrade refuses nobody. Each is used once.
 */
function takeInherited(create: CreateServerHandle, address: string, port: number): Handle | null {
  inherited ??= inheritedDescriptors().flatMap((fd) => {
    const handle = create(null, 0, -1, fd);
    return typeof handle === 'number' ? [] : [handle];
  });
  const index = inherited.findIndex((handle) => {
    const at: { address?: string; port?: number } = {};
    const known = typeof handle.getsockname === 'function' && handle.getsockname(at) === 0;
    return known && at.port === port && (at.address === address || (address === '' && isAny(at.address)));
  });
  return index < 0 ? null : (inherited.splice(index, 1)[0] ?? null);
}
let inherited: Handle[] | null = null;

function inheritedDescriptors(): number[] {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  const count = Number(LISTEN_FDS);
  if (Number(LISTEN_PID) !== process.pid || !Number.isInteger(count) || count > 1_000) return [];
  return Array.from({ length: count }, (_, index) => FIRST_INHERITED + index);
}

function isAny(address: string | undefined): boolean {
  return address === '::' || address === '0.0.0.0';
}

function systemCode(errno: number): string {
  try {
    return getSystemErrorName(errno);
  } catch {
    return `error ${errno}`;
  }
}

class HandleSocket implements BoundSocket {
  spec: ListenerSpec;
  readonly #handle: Handle;
  #closed = false;

  constructor(spec: ListenerSpec, handle: Handle) {
    this.spec = spec;
    this.#handle = handle;
  }

  rename(spec: ListenerSpec): void {
    this.spec = { ...spec, port: this.spec.port };
  }

  offer(receiver: SocketReceiver): void {
    if (this.#closed) return;
    receiver.send({ type: 'listen', spec: this.spec }, this.#handle);
    this.offerSpare(receiver);
  }

  offerSpare(receiver: SocketReceiver): void {
    if (!this.#closed) receiver.send({ type: 'spare', key: this.spec.key }, this.#handle);
  }

  withdraw(receiver: SocketReceiver): void {
    receiver.send({ type: 'unlisten', key: this.spec.key });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle.close();
  }
}

/** The fallback: listens here and hands each connection on, in turn. */
class RelayedSocket implements BoundSocket {
  spec: ListenerSpec;
  readonly #server: net.Server;
  readonly #receivers: SocketReceiver[] = [];
  /** Connections for which there is no process yet, oldest first; at most BACKLOG. */
  readonly #waiting: net.Socket[] = [];
  #next = 0;

  constructor(spec: ListenerSpec, server: net.Server) {
    this.spec = spec;
    this.#server = server;
    server.on('connection', (socket: net.Socket) => this.#pass(socket));
  }

  rename(spec: ListenerSpec): void {
    this.spec = { ...spec, port: this.spec.port };
  }

  offer(receiver: SocketReceiver): void {
    if (!receiver.send({ type: 'listen', spec: this.spec })) return;
    this.#receivers.push(receiver);
    for (const socket of this.#waiting.splice(0)) this.#pass(socket);
  }

  offerSpare(): void {}

  withdraw(receiver: SocketReceiver): void {
    this.#forget(receiver);
    receiver.send({ type: 'unlisten', key: this.spec.key });
  }

  close(): void {
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#waiting.splice(0)) socket.destroy();
    this.#receivers.length = 0;
  }

  #pass(socket: net.Socket): void {
    while (this.#receivers.length > 0) {
      const receiver = this.#receivers[this.#next++ % this.#receivers.length] as SocketReceiver;
      if (receiver.send({ type: 'connection', key: this.spec.key }, socket)) return;
      this.#forget(receiver);
    }
    if (this.#waiting.length < BACKLOG) this.#waiting.push(socket);
    else socket.destroy();
  }

  #forget(receiver: SocketReceiver): void {
    const index = this.#receivers.indexOf(receiver);
    if (index >= 0) this.#receivers.splice(index, 1);
  }
}

function listenPublicly(spec: ListenerSpec, address: string): Promise<BoundSocket> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(new BindError(spec, error.code ?? error.message)),
    );
    const options = { port: spec.port, backlog: BACKLOG, ...(address === '' ? {} : { host: address }) };
    server.listen(options, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      const { port } = server.address() as net.AddressInfo;
      resolve(new RelayedSocket({ ...spec, port }, server));
    });
  });
}

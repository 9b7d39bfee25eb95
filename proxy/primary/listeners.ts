/**
 * Which sockets are bound and who accepts on them. HTTP and HTTPS ports of the settings are bound at start, so that
 * a port in use is noticed there; HTTPS and TCP listeners open and close as the table wants. A port that cannot be
 * had is reported and tried again; nothing else suffers.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import { specsOfSettings } from '../link/listener-specs.ts';
import type { ListenerSpec, PrimaryToSync } from '../link/messages.ts';
import {
  BindError,
  type BoundBefore,
  type BoundSocket,
  bindSocket,
  type SocketKind,
  type SocketReceiver,
} from './sockets.ts';

const RETRY_MS = 1_000;

export interface ListenersOptions {
  readonly settings: SettingsOfProcess;
  readonly kind: SocketKind;
  readonly log: Log;
  readonly clock: Clock;
  /** For sync. */
  report(message: PrimaryToSync): void;
}

export class Listeners {
  readonly #options: ListenersOptions;
  /** The HTTP addresses of the settings, always wanted. */
  readonly #own: readonly ListenerSpec[];
  /** What sync wants beside them. */
  #wanted: readonly ListenerSpec[] = [];
  /** Bound and offered, by key. */
  readonly #open = new Map<string, BoundSocket>();
  /** Keys of those on which a process has accepted: bound alone, a port still refuses. */
  readonly #accepted = new Set<string>();
  /** Bound but not wanted yet (HTTPS without a certificate): nobody accepts, visitors are refused. By key. */
  readonly #reserved = new Map<string, BoundSocket>();
  readonly #receivers = new Set<SocketReceiver>();
  readonly #binding = new Set<string>();
  /** Why a wanted socket is not open, by key; said once. */
  readonly #failures = new Map<string, string>();
  #before: BoundBefore | null = null;
  #cancelRetry: (() => void) | null = null;
  #closed = false;

  constructor(options: ListenersOptions) {
    this.#options = options;
    this.#own = specsOfSettings(options.settings, 'http');
  }

  /** From here on (null: no longer) sockets found there are taken instead of bound. */
  inherit(before: BoundBefore | null): void {
    this.#before = before;
  }

  /**
   * Binds the ports of the settings that are not open yet. Throws BindError for the first one that cannot be had; what
   * was bound here is free again then.
   */
  async bindSettings(): Promise<void> {
    const { settings, kind } = this.#options;
    const bound: [ListenerSpec, BoundSocket][] = [];
    try {
      // The fallback would accept at once, so there HTTPS ports are bound only when they are wanted.
      const https = kind === 'relayed' ? [] : specsOfSettings(settings, 'https');
      for (const spec of [...this.#own, ...https]) {
        // Sync was faster, while earlier processes were asked to leave: it is ours already.
        if (this.#open.has(spec.key)) continue;
        // The kernel lets one process bind a port twice, and refuses only the second listener.
        if (spec.port !== 0 && bound.some(([other]) => atSamePlace(other, spec)))
          throw new BindError(spec, 'EADDRINUSE');
        bound.push([spec, await bindSocket(spec, kind, this.#before)]);
      }
    } catch (error) {
      for (const [, socket] of bound) socket.close();
      throw error;
    }
    for (const [spec, socket] of bound) {
      if (this.#closed) socket.close();
      else if (spec.type === 'http') this.#opened(spec.key, socket);
      else this.#reserved.set(spec.key, socket);
    }
  }

  /** What is bound, with its actual ports; HTTPS included that waits for a certificate. */
  bound(): ListenerSpec[] {
    return [...this.#open.values(), ...this.#reserved.values()].map((socket) => socket.spec);
  }

  /** Whether some process accepts on each socket that is open, HTTPS apart that waits for a certificate. */
  get accepting(): boolean {
    return [...this.#open.keys()].every((key) => this.#accepted.has(key));
  }

  /** A process that accepts from here on, on every socket that is open now or opens later. */
  add(receiver: SocketReceiver): void {
    this.#receivers.add(receiver);
    for (const socket of this.#open.values()) socket.offer(receiver);
  }

  /** A process drains or has ended. */
  remove(receiver: SocketReceiver): void {
    if (!this.#receivers.delete(receiver)) return;
    for (const socket of this.#open.values()) socket.withdraw(receiver);
  }

  offerSpare(receiver: SocketReceiver, key: string): void {
    if (this.#receivers.has(receiver)) this.#open.get(key)?.offerSpare(receiver);
  }

  /**
   * What the table wants beside the HTTP ports; what is not in it any more closes. Resolves when every bind that it
   * takes has been tried; never rejects.
   */
  want(specs: readonly ListenerSpec[]): Promise<void> {
    this.#wanted = specs.filter(({ key }) => !this.#own.some((own) => own.key === key));
    for (const [key, socket] of this.#open) {
      if (this.#own.some((own) => own.key === key)) continue;
      const same = this.#wanted.find((spec) => spec.key === key);
      if (same !== undefined && same.proxyProtocol === socket.spec.proxyProtocol) continue;
      const heir =
        same ?? this.#wanted.find((spec) => !this.#open.has(spec.key) && atSamePlace(spec, socket.spec));
      if (heir === undefined) this.#close(key, socket);
      else this.#rename(key, socket, heir);
    }
    for (const key of this.#failures.keys())
      if (!this.#wanted.some((spec) => spec.key === key)) this.#failures.delete(key);
    return this.#openMissing();
  }

  /** A process accepts on the socket: from here on nobody is refused there, whatever becomes of the process. */
  accepted(key: string): void {
    const socket = this.#open.get(key);
    if (socket === undefined || this.#accepted.has(key)) return;
    this.#accepted.add(key);
    this.#options.report({ type: 'listening', key, port: socket.spec.port });
  }

  /** A new sync process hears what is open and what is not. */
  tell(): void {
    for (const [key, socket] of this.#open)
      if (this.#accepted.has(key)) this.#options.report({ type: 'listening', key, port: socket.spec.port });
    for (const [key, reason] of this.#failures) this.#options.report({ type: 'listen-failed', key, reason });
  }

  /**
   * A process could not listen on a socket that was bound: another program was faster between the two. The socket
   * is given up and bound anew when the port is free.
   */
  lost(key: string, reason: string): void {
    const socket = this.#open.get(key);
    if (socket === undefined) return;
    this.#close(key, socket);
    this.#failed(socket.spec, reason);
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    for (const socket of [...this.#open.values(), ...this.#reserved.values()]) socket.close();
    this.#open.clear();
    this.#reserved.clear();
  }

  async #openMissing(): Promise<void> {
    const missing = [...this.#own, ...this.#wanted].filter(
      ({ key }) => !this.#open.has(key) && !this.#binding.has(key),
    );
    for (const spec of missing) {
      this.#binding.add(spec.key);
      try {
        const socket = this.#takeReserved(spec) ?? (await bindSocket(spec, this.#options.kind, this.#before));
        if (this.#closed || ![...this.#own, ...this.#wanted].some(({ key }) => key === spec.key))
          socket.close();
        else this.#opened(spec.key, socket);
      } catch (error) {
        this.#failed(spec, error instanceof BindError ? error.message : String(error));
      } finally {
        this.#binding.delete(spec.key);
      }
    }
  }

  /** The reserved socket of this HTTPS address, if there is one. */
  #takeReserved(spec: ListenerSpec): BoundSocket | undefined {
    const socket = this.#reserved.get(spec.key);
    this.#reserved.delete(spec.key);
    return socket;
  }

  #opened(key: string, socket: BoundSocket): void {
    this.#failures.delete(key);
    this.#open.set(key, socket);
    for (const receiver of this.#receivers) socket.offer(receiver);
  }

  #rename(key: string, socket: BoundSocket, spec: ListenerSpec): void {
    for (const receiver of this.#receivers) socket.withdraw(receiver);
    this.#open.delete(key);
    this.#accepted.delete(key);
    socket.rename(spec);
    this.#opened(spec.key, socket);
  }

  #close(key: string, socket: BoundSocket): void {
    this.#open.delete(key);
    this.#accepted.delete(key);
    for (const receiver of this.#receivers) socket.withdraw(receiver);
    socket.close();
  }

  #failed(spec: ListenerSpec, reason: string): void {
    if (this.#closed) return;
    if (this.#failures.get(spec.key) !== reason) {
      this.#failures.set(spec.key, reason);
      this.#options.log.error('listen_failed', reason, { listener: spec.listener, key: spec.key });
      this.#options.report({ type: 'listen-failed', key: spec.key, reason });
    }
    this.#cancelRetry ??= this.#options.clock.after(RETRY_MS, () => {
      this.#cancelRetry = null;
      void this.#openMissing();
    });
  }
}

function atSamePlace(left: ListenerSpec, right: ListenerSpec): boolean {
  return left.address === right.address && left.port === right.port;
}

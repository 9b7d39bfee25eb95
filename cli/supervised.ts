/**
 * How a process of `kontrol up` talks to it: `up` is the outermost process and the only one that acts on signals.
 * The children (`kontrol api`, `kontrol proxy`) say `ready`, stop when told to, and end when `up` is gone.
 */

import { presses } from '../shared/presses.ts';

/** child → up. `detail` is shown or used by `up`. */
export type FromChild =
  | { readonly type: 'ready'; readonly detail: unknown }
  | { readonly type: 'failed'; readonly message: string };
/** up → child. */
export type ToChild =
  | { readonly type: 'stop' }
  | { readonly type: 'restart' }
  | { readonly type: 'reopen-logs' };

const MARK = 'KONTROL_SUPERVISED';

export function isSupervised(): boolean {
  return process.send !== undefined && process.env[MARK] === '1';
}

export function supervisedEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, [MARK]: '1' };
}

export interface Orders {
  /** Stop gracefully; called once. A second request exits at once. */
  stop(): void;
  /** Rolling restart (SIGHUP). */
  restart(): void;
  reopenLogs(): void;
  /** `up` is gone without a word. */
  abandoned(): void;
}

/** Takes orders from signals when this is the outermost process, else from `up`. */
export function takeOrders(orders: Orders): void {
  let stopping = false;
  const stop = () => {
    if (stopping) process.exit(1);
    stopping = true;
    orders.stop();
  };
  if (!isSupervised()) {
    const pressed = presses(stop);
    process.on('SIGINT', pressed);
    process.on('SIGTERM', pressed);
    process.on('SIGHUP', () => orders.restart());
    process.on('SIGUSR2', () => orders.reopenLogs());
  } else {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => {});
    process.on('message', (message: ToChild) => {
      if (message.type === 'stop') stop();
      else if (message.type === 'restart') orders.restart();
      else if (message.type === 'reopen-logs') orders.reopenLogs();
    });
    process.on('disconnect', () => orders.abandoned());
  }
  // Without a handler SIGUSR1 would open Node's debugger port.
  process.on('SIGUSR1', () => {});
}

/** Answers whether there is a `kontrol up` that was told. */
export function tellParent(message: FromChild): boolean {
  if (!isSupervised() || !process.connected) return false;
  process.send?.(message, () => {});
  return true;
}

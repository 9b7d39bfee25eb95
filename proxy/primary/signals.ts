/**
 * Signals and stray failures of the primary. INT and TERM drain, a second one ends at once; both are ignored while
 * a parent (`kontrol up`) gives the orders over the channel, because a terminal sends them to the whole group.
 */
import { constants } from 'node:os';
import type { Log } from '../../shared/log.ts';
import { presses } from '../../shared/presses.ts';

export interface Orders {
  stop(): void;
  /** This process exits right after. */
  exiting(): void;
  restart(): void;
  reopenLogs(): void;
}

/** What a parent sends: as SIGTERM, as a second SIGTERM, as SIGHUP, as SIGUSR2. */
export interface ParentMessage {
  readonly type: 'stop' | 'stop-now' | 'restart' | 'reopen-logs';
}

export interface Signals {
  /** Gives every signal back. Idempotent. */
  close(): void;
}

export function takeSignals(log: Log, orders: Orders): Signals {
  let stopped = false;
  const onExit = () => orders.exiting();
  const stop = (exitCode: number) => {
    if (!stopped) {
      stopped = true;
      orders.stop();
      return;
    }
    process.exit(exitCode);
  };
  const onStop = presses((signal: NodeJS.Signals) => {
    if (!process.connected) stop(128 + constants.signals[signal]);
  });
  const onHangUp = () => {
    if (!process.connected) orders.restart();
  };
  const onReopen = () => orders.reopenLogs();
  // Without a handler SIGUSR1 opens Node's debugger.
  const harmless = () => {};
  const onFailure = (error: unknown) => {
    log.error('internal', 'A failure of ours in the primary; it goes on', {
      error: String((error as Error)?.stack ?? error),
    });
  };
  const onMessage = (message: unknown) => {
    const type = (message as Partial<ParentMessage> | null)?.type;
    if (type === 'stop') stop(0);
    else if (type === 'stop-now') {
      stopped = true;
      stop(1);
    } else if (type === 'restart') orders.restart();
    else if (type === 'reopen-logs') orders.reopenLogs();
  };
  process.on('exit', onExit);
  process.on('SIGINT', onStop);
  process.on('SIGTERM', onStop);
  process.on('SIGHUP', onHangUp);
  process.on('SIGUSR1', harmless);
  process.on('SIGUSR2', onReopen);
  process.on('uncaughtException', onFailure);
  process.on('unhandledRejection', onFailure);
  if (process.connected) process.on('message', onMessage);
  return {
    close() {
      process.off('exit', onExit);
      process.off('SIGINT', onStop);
      process.off('SIGTERM', onStop);
      process.off('SIGHUP', onHangUp);
      process.off('SIGUSR2', onReopen);
      process.off('uncaughtException', onFailure);
      process.off('unhandledRejection', onFailure);
      process.off('message', onMessage);
      // A node that has ended must not be kept by whoever else listens to the parent.
      process.channel?.unref();
    },
  };
}

/** Connects that this machine could not even begin: they say nothing about the backend, and the operator is told. */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';

const ADVICE: Readonly<Record<string, string>> = {
  EMFILE: 'this process has no descriptor left; raise its limit (ulimit -n, LimitNOFILE)',
  ENFILE: 'this machine has no descriptor left; raise fs.file-max',
  ENOBUFS: 'this machine has no memory left for sockets; raise net.ipv4.tcp_mem or add memory',
  ENOMEM: 'this machine has no memory left for sockets; raise net.ipv4.tcp_mem or add memory',
  EADDRNOTAVAIL:
    'this machine has no port left towards the backend, or not its address; widen net.ipv4.ip_local_port_range',
};

const LOG_INTERVAL_MS = 10_000;

/** Whether a connect failed for a reason of this machine. */
export function isOwnFailure(error: Error): boolean {
  return Object.hasOwn(ADVICE, (error as NodeJS.ErrnoException).code ?? '');
}

/** Says so in the log, at most every ten seconds: it happens to every request then. */
export class OwnFailures {
  readonly #clock: Clock;
  readonly #log: Log;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** `error` is one that `isOwnFailure` is true for. */
  note(error: Error): void {
    const { code = '' } = error as NodeJS.ErrnoException;
    const now = this.#clock.monotonic();
    this.#count++;
    if (now - this.#loggedAt < LOG_INTERVAL_MS) return;
    this.#loggedAt = now;
    this.#log.error('out_of_sockets', `no connection to a backend can be made: ${ADVICE[code]}`, {
      error: code,
      connects: this.#count,
    });
    this.#count = 0;
  }
}

/**
 * Says in the log why connections to listeners with a PROXY header are cut. Whoever forgot an address in
 * `--trusted-proxies` must find out, and whoever scans ports must not fill the log: one line a minute.
 */
import { canonicalAddress } from '../../shared/address.ts';
import type { ListenerSpec } from '../link/messages.ts';
import type { PrefaceFailure } from '../tunnel/preface.ts';
import type { Environment } from './environment.ts';

const LOG_INTERVAL_MS = 60_000;

export class RefusedPeers {
  readonly #environment: Pick<Environment, 'clock' | 'log'>;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #untold = 0;

  constructor(environment: Pick<Environment, 'clock' | 'log'>) {
    this.#environment = environment;
  }

  untrusted(peer: string, spec: ListenerSpec): void {
    const advice = 'if it is your balancer, name it in --trusted-proxies';
    this.#say(`is no trusted proxy and may not send a PROXY header; ${advice}`, peer, spec);
  }

  /** A trusted peer that did not send its header; one that just left is none of ours. */
  sent(why: PrefaceFailure, peer: string, spec: ListenerSpec): void {
    if (why === 'gone') return;
    const what = why === 'bad' ? 'sent something else than a PROXY header' : 'sent no PROXY header in time';
    this.#say(`${what}; make it send one, or do not ask for one`, peer, spec);
  }

  #say(what: string, from: string, { port, listener }: ListenerSpec): void {
    const { clock, log } = this.#environment;
    const now = clock.monotonic();
    if (now - this.#loggedAt < LOG_INTERVAL_MS) {
      this.#untold++;
      return;
    }
    const peer = canonicalAddress(from);
    log.warn('proxy_header_refused', `${peer} ${what}`, { peer, port, listener, untold: this.#untold });
    this.#loggedAt = now;
    this.#untold = 0;
  }
}

/** Where alerts go, as far as it can be refused: by the same rules as the addresses of backends, also for what names resolve to. */
import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { Alerts } from '../../shared/model/alerts.ts';

/** Why `host:port` may not be reached, or null. */
export type Refusal = (address: string) => string | null;

/** `host:port` of a URL, as addresses of backends are written. */
export function endpointOfUrl({ hostname, port, protocol }: URL): string {
  return `${hostname}:${port !== '' ? port : protocol === 'https:' ? '443' : '80'}`;
}

export function mailPort({ port, security }: Pick<NonNullable<Alerts['smtp']>, 'port' | 'security'>): number {
  return port ?? (security === 'tls' ? 465 : 587);
}

/** Resolves a name; fails when any of its addresses is refused, since the next look-up might choose that one. */
export function guardedLookup(port: number, refusal: Refusal): LookupFunction {
  return (hostname, options, callback) => {
    systemLookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      for (const { address, family } of addresses) {
        const why = refusal(`${family === 6 ? `[${address}]` : address}:${port}`);
        if (why === null) continue;
        callback(new Error(`${hostname} may not be reached: ${why}`), '', 0);
        return;
      }
      const first = addresses[0];
      if (first === undefined) callback(new Error(`${hostname} has no address`), '', 0);
      else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

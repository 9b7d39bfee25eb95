/** The address under which proxies reach a worker: canonical, reachable from the nodes, and none that is refused. */
import ipaddr from 'ipaddr.js';
import { KontrolError } from '../../shared/errors.ts';
import { parseEndpoint } from '../../shared/model/fields.ts';

export interface AddressRules {
  /** Whether workers may give a loopback address: all nodes are on this machine. */
  loopbackAllowed(): boolean;
  /** Why no backend may have this address; null when it may. */
  refusal(address: string): string | null;
}

/** Canonical `host:port`; throws `invalid` with the reason. */
export function workerAddress(host: string, port: number, rules: AddressRules): string {
  const text = host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`;
  const endpoint = parseEndpoint(text);
  if (endpoint === null || endpoint.type === 'unix')
    throw invalidHost('expected a host name or an address, without a port');
  const canonical = canonicalHost(endpoint.host);
  const range = ipaddr.isValid(canonical) ? ipaddr.parse(canonical).range() : null;
  if (range === 'unspecified' || range === 'multicast' || range === 'broadcast')
    throw invalidHost('this is no address of one machine; give the one that proxies can reach');
  if (isLoopback(canonical, range) && !rules.loopbackAllowed()) {
    throw invalidHost(
      'nodes on other machines cannot reach a loopback address; give the address of this machine, or set settings.workers.loopback when every node is on it',
    );
  }
  const address = canonical.includes(':') ? `[${canonical}]:${port}` : `${canonical}:${port}`;
  const refusal = rules.refusal(address);
  if (refusal !== null) throw invalidHost(`${refusal}; settings.backendAddresses says what is refused`);
  return address;
}

/** IPv4 inside IPv6 is the IPv4 address. */
function canonicalHost(host: string): string {
  return ipaddr.isValid(host) ? ipaddr.process(host).toString() : host.toLowerCase().replace(/\.$/, '');
}

function isLoopback(host: string, range: string | null): boolean {
  return range === 'loopback' || host === 'localhost' || host.endsWith('.localhost');
}

function invalidHost(message: string): KontrolError {
  return new KontrolError('invalid', 'The body is not valid', [{ path: 'host', message }]);
}

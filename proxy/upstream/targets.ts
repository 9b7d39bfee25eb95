/** What is connected to for an address of a backend: a socket of this machine, or one address after the other. */
import type { Endpoint as Address } from '../../shared/model/fields.ts';
import type { Target } from './connector.ts';

/** `addresses`: what its name stands for, where it has one. Empty when there is nothing to connect to (yet). */
export function targetsOf(parsed: Address | null, addresses: readonly string[]): readonly Target[] {
  switch (parsed?.type) {
    case undefined:
      return [];
    case 'unix':
      return [{ type: 'unix', path: parsed.path, text: `unix:${parsed.path}` }];
    case 'address':
      return [tcpTarget(parsed.host, parsed.port)];
    case 'name':
      return addresses.map((host) => tcpTarget(host, parsed.port));
  }
}

function tcpTarget(host: string, port: number): Target {
  return { type: 'tcp', host, port, text: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}` };
}

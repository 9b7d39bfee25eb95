/** Which sockets a node listens on, and how they are named: the same words in primary, sync and serving processes. */
import { isIPv6 } from 'node:net';
import type { ListenAddress, SettingsOfProcess } from '../../shared/settings.ts';
import type { ListenerSpec } from './messages.ts';

/** Names a socket: equal keys are the same socket with the same meaning. */
export function listenerKey(type: ListenerSpec['type'], address: string, port: number): string {
  return `${type} ${addressText(address, port)}`;
}

/** `host:port` as in the settings; `:port` for all addresses. */
export function addressText(address: string, port: number): string {
  return `${isIPv6(address) ? `[${address}]` : address}:${port}`;
}

/** The sockets that the settings ask for: HTTP ones open at once, HTTPS ones when there is a certificate. */
export function specsOfSettings(
  settings: Pick<SettingsOfProcess, 'http' | 'https' | 'proxyProtocol'>,
  type: 'http' | 'https',
): ListenerSpec[] {
  return settings[type].map((at: ListenAddress) => ({
    key: listenerKey(type, at.host, at.port),
    type,
    address: at.host,
    port: at.port,
    proxyProtocol: settings.proxyProtocol.includes(addressText(at.host, at.port)),
    listener: null,
  }));
}

/** The socket of a listener object. */
export function specOfListener(listener: {
  readonly name: string;
  readonly address?: string | undefined;
  readonly port: number;
  readonly proxyProtocol?: { readonly in?: boolean | undefined } | undefined;
}): ListenerSpec {
  const address = listener.address ?? '';
  return {
    key: `${listenerKey('tcp', address, listener.port)} ${listener.name}`,
    type: 'tcp',
    address,
    port: listener.port,
    proxyProtocol: listener.proxyProtocol?.in ?? false,
    listener: listener.name,
  };
}

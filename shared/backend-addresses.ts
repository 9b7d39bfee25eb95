/**
 * Addresses that no backend may have: cloud metadata, link-local, and the ports of our own control plane. Whoever
 * may save a service must not reach through the proxy what only the machine itself may. The API checks when a service
 * is saved, nodes check again when they connect, since a name can resolve to anything later.
 */
import { realpathSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { basename, dirname, join, resolve, sep } from 'node:path';
import ipaddr from 'ipaddr.js';
import { parseAddress } from './address.ts';
import { type Endpoint, parseEndpoint } from './model/fields.ts';
import type { Settings } from './model/settings.ts';
import type { SettingsOfProcess } from './settings.ts';

type Refusal = NonNullable<NonNullable<Settings['backendAddresses']>['refuse']>[number];

const ALL: readonly Refusal[] = ['link-local', 'metadata', 'control'];

/** Outside 169.254.0.0/16: AWS over IPv6, Alibaba, Azure, Oracle. */
const METADATA_ADDRESSES = new Set(['fd00:ec2::254', '100.100.100.200', '168.63.129.16', '192.0.0.192']);
const METADATA_NAMES = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
]);

/** A port of the control plane; plain data, so that a process without the URLs can be told. */
export interface ControlPort {
  /** Null when it listens on this machine. */
  readonly host: string | null;
  readonly port: number;
  readonly what: string;
  /** Instead of a port: every Unix socket in this folder. */
  readonly folder?: string;
}

export class BackendAddresses {
  readonly #control: readonly ControlPort[];

  constructor(control: readonly ControlPort[]) {
    this.#control = control;
  }

  /** Why `address` may not be a backend, or null. `refuse` is the list of the object settings; default all. */
  refusal(address: string, refuse: readonly Refusal[] = ALL): string | null {
    const endpoint = parseEndpoint(address);
    if (endpoint === null) return null;
    if (endpoint.type === 'unix')
      return refuse.includes('control') ? this.#socketRefusal(endpoint.path) : null;
    const host = canonical(endpoint.host);
    if (refuse.includes('metadata') && isMetadata(host)) return 'this is a metadata address of a cloud';
    if (refuse.includes('link-local') && isLinkLocal(host)) return 'this is a link-local address';
    if (refuse.includes('control')) {
      const control = this.#control.find((entry) => isAt(entry, host, endpoint));
      if (control !== undefined) return `this is ${control.what}`;
    }
    return null;
  }

  /** Bus and hand-over take orders on their sockets: bytes of a visitor must not get there. */
  #socketRefusal(path: string): string | null {
    const real = realPath(path);
    const control = this.#control.find(({ folder }) => folder !== undefined && isWithin(folder, real));
    return control === undefined ? null : `this is ${control.what}`;
  }
}

function isWithin(folder: string, path: string): boolean {
  return path.startsWith(realPath(join(folder, '.')) + sep);
}

/** Without dots and links, as far as the path exists. */
function realPath(path: string): string {
  const plain = resolve(path);
  try {
    return realpathSync(plain);
  } catch {
    const parent = dirname(plain);
    return parent === plain ? plain : join(realPath(parent), basename(plain));
  }
}

function canonical(host: string): string {
  if (!ipaddr.isValid(host)) return host.replace(/\.$/, '');
  const address = ipaddr.process(host);
  // A NAT64 gateway takes these to the IPv4 address in their last four bytes (RFC 6052).
  if (address.range() === 'rfc6052') return ipaddr.fromByteArray(address.toByteArray().slice(12)).toString();
  return address.toString();
}

function isLinkLocal(host: string): boolean {
  return ipaddr.isValid(host) && ipaddr.process(host).range() === 'linkLocal';
}

function isMetadata(host: string): boolean {
  return host === '169.254.169.254' || METADATA_ADDRESSES.has(host) || METADATA_NAMES.has(host);
}

function isAt(control: ControlPort, host: string, endpoint: Exclude<Endpoint, { type: 'unix' }>): boolean {
  if (control.folder !== undefined || control.port !== endpoint.port) return false;
  return control.host === null ? isThisMachine(host) : control.host === host;
}

function isThisMachine(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost') || host === hostname().toLowerCase()) return true;
  if (!ipaddr.isValid(host)) return false;
  const range = ipaddr.process(host).range();
  if (range === 'loopback' || range === 'unspecified') return true;
  return Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === host));
}

/** The ports of API, internal port, store and bus, as the settings name them. */
export function controlPorts(settings: SettingsOfProcess): ControlPort[] {
  const ports: ControlPort[] = [
    { host: null, port: settings.api.port, what: 'the API of Kontrol' },
    { host: null, port: 0, what: 'in the data folder of Kontrol', folder: resolve(settings.data) },
  ];
  if (settings.internal !== null) {
    ports.push({ host: null, port: settings.internal.port, what: 'the internal port of Kontrol' });
  }
  for (const at of hostsOfUrl(settings.mongoUrl, 27_017)) ports.push({ ...at, what: 'the store of Kontrol' });
  for (const at of hostsOfUrl(settings.redisUrl, 6_379)) ports.push({ ...at, what: 'the bus of Kontrol' });
  return ports;
}

const ANY_ADDRESS: ReadonlySet<string> = new Set(['', '0.0.0.0', '::']);

/**
 * Why a TCP listener may not have this address and port, or null. It would come first at the next start: then the API
 * could not begin, and whoever speaks to it would speak to a backend of somebody's choice.
 */
export function reservedPort(
  settings: Pick<SettingsOfProcess, 'api' | 'internal' | 'mongoUrl' | 'redisUrl'>,
  { address = '', port }: { readonly address?: string | undefined; readonly port: number },
): string | null {
  const overlaps = (host: string) => {
    const own = host === 'localhost' ? '127.0.0.1' : (parseAddress(host) ?? host);
    return own === address || ANY_ADDRESS.has(own) || ANY_ADDRESS.has(address);
  };
  const { api, internal, mongoUrl, redisUrl } = settings;
  if (api.port === port && overlaps(api.host)) return 'this is the port of the API of Kontrol';
  if (internal !== null && internal.port === port && overlaps(internal.host))
    return 'this is the internal port of Kontrol';
  const isHere = (at: { host: string | null; port: number }) => at.host === null && at.port === port;
  if (hostsOfUrl(mongoUrl, 27_017).some(isHere)) return 'this is the port of the store of Kontrol';
  if (hostsOfUrl(redisUrl, 6_379).some(isHere)) return 'this is the port of the bus of Kontrol';
  return null;
}

/** Hosts and ports of a connection string, which may list several and is therefore no URL. */
function hostsOfUrl(url: string | null, defaultPort: number): { host: string | null; port: number }[] {
  const list = /^[a-z+]+:\/\/(?:[^@/]*@)?([^/?]+)/i.exec(url ?? '')?.[1] ?? '';
  return list
    .split(',')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const match = /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(entry);
      const host = canonical((match?.[1] ?? entry).toLowerCase());
      return { host: isThisMachine(host) ? null : host, port: Number(match?.[2] ?? defaultPort) };
    });
}

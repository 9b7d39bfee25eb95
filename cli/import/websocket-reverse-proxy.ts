/**
 * The `.ini` of WebsocketReverseProxy: one list of servers for WebSockets and one for HTTP, each with its algorithm,
 * pools of workers (connections) and buffers (queues) per HTTP server, and JSON health checks at /healthCheck.
 */
import { addressFrom, type Imported, UnreadableLine } from './imported.ts';
import { readSections, type Section, type SectionEntry, wholeNumber } from './sections.ts';

/** Its own defaults; `worker_timeout` in seconds. */
const DEFAULTS = { max_workers: 3, min_workers: 1, worker_timeout: 3, buffer_size: 10 } as const;
type Limit = keyof typeof DEFAULTS;

interface Server {
  readonly number: string;
  line: number;
  address: string | null;
  readonly limits: Partial<Record<Limit, number>>;
}

const HEALTH = { type: 'json', path: '/healthCheck' } as const;

export function readWebsocketReverseProxy(text: string, into: Imported): void {
  let webSocket: string | null = null;
  let http: string | null = null;
  const sections = readSections(text, '=');
  for (const section of sections) {
    switch (section.name.toLowerCase()) {
      case 'frontend':
        readFrontend(section, into);
        break;
      case 'websocket':
        webSocket = readGroup(section, 'websocket', into);
        break;
      case 'http':
        http = readGroup(section, 'http', into);
        break;
      default:
        into.say(section.line, `[${section.name}] is not known and not carried over`);
    }
  }
  if (webSocket === null && http === null)
    throw new UnreadableLine(1, 'there is neither [http] nor [websocket] with servers');
  const routes: Record<string, unknown>[] = [];
  if (webSocket !== null) {
    // A field is compared as it stands; these are the two ways in which clients write it.
    for (const upgrade of ['websocket', 'WebSocket'])
      routes.push({ path: '/', priority: 1, headers: { upgrade }, service: webSocket });
  }
  if (http !== null) routes.push({ path: '/', service: http });
  const first = sections.find(({ name }) => /^(http|websocket)$/i.test(name));
  into.add({ kind: 'domain', name: '*', routes }, first?.line ?? 0);
}

function readFrontend({ entries }: Section, into: Imported): void {
  const port = entries.find(({ key }) => key === 'port');
  const host = entries.find(({ key }) => key === 'host');
  for (const { key, line } of entries) {
    if (key !== 'port' && key !== 'host') into.say(line, `'${key}' is not known and not carried over`);
  }
  if (port !== undefined && wholeNumber(port.value) !== null)
    into.flag('--http', `:${port.value}`, port.line);
  else into.say(port?.line ?? 0, 'the frontend has no port that is a number: the default of --http, :8080');
  if (host !== undefined)
    into.say(host.line, `the proxy listens on every address; to bind one only, --http ${host.value}:PORT`);
}

/** A service of the section's servers; null when it has none. */
function readGroup(section: Section, name: 'http' | 'websocket', into: Imported): string | null {
  const servers = new Map<string, Server>();
  let balance = 'random';
  for (const entry of section.entries) {
    if (entry.key === 'algorithm') balance = readAlgorithm(entry, into);
    else readServerEntry(entry, servers, into);
  }
  const named = [...servers.values()].filter(({ address }) => address !== null);
  for (const { number, line, address } of servers.values()) {
    if (address === null) into.say(line, `server${number} has no address: left out`);
  }
  if (named.length === 0) return null;
  const backends = named.map(({ address }) => address);
  if (name === 'websocket') {
    for (const { number, line, limits } of named) {
      const given = Object.keys(limits);
      if (given.length > 0)
        into.say(line, `${given.join(', ')} of server${number} had no effect for WebSockets; left out`);
    }
    return into.addService(name, { backends, health: HEALTH, websocket: { balance } }, section.line);
  }
  const fields = { backends, balance, health: HEALTH, ...limitsOf(section.line, named, into) };
  return into.addService(name, fields, section.line);
}

function readAlgorithm({ value, line }: SectionEntry, into: Imported): string {
  if (value === 'round-robin' || value === 'random') return value;
  into.say(line, `there is no algorithm '${value}': random`);
  return 'random';
}

function readServerEntry(
  { key, value, line }: SectionEntry,
  servers: Map<string, Server>,
  into: Imported,
): void {
  const match = /^server(\d+)(?:_(addr|max_workers|min_workers|worker_timeout|buffer_size))?$/.exec(key);
  if (match === null) {
    into.say(line, `'${key}' is not known and not carried over`);
    return;
  }
  const number = match[1] as string;
  const server = servers.get(number) ?? { number, line, address: null, limits: {} };
  servers.set(number, server);
  const field = match[2];
  if (field === undefined || field === 'addr') {
    const address = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(value);
    server.line = line;
    server.address = address === null ? null : addressFrom(address[1] as string, address[2] as string);
    return;
  }
  const limit = wholeNumber(value);
  if (limit === null) into.say(line, `${key} '${value}' is not a whole number: the default`);
  else server.limits[field as Limit] = limit;
}

/** Limits stood at each server; here they are those of the service, per backend, and the queue is one for all. */
function limitsOf(line: number, servers: readonly Server[], into: Imported): Record<string, unknown> {
  const all = (limit: Limit) => servers.map(({ limits }) => limits[limit] ?? DEFAULTS[limit]);
  for (const limit of ['max_workers', 'min_workers', 'worker_timeout'] as const) {
    if (new Set(all(limit)).size > 1)
      into.say(line, `the servers differ in ${limit}; a service has one for all of them: the greatest`);
  }
  into.say(
    line,
    'workers and buffers hold for each serving process: with --processes 2 there are twice as many',
  );
  const max = Math.max(...all('max_workers'), 1);
  if (Math.max(...all('min_workers')) > max)
    into.say(line, `min_workers is above max_workers: ${max} of both`);
  return {
    pool: {
      max,
      min: Math.min(Math.max(...all('min_workers')), max),
      idle: `${Math.max(...all('worker_timeout'))}s`,
    },
    queue: { size: all('buffer_size').reduce((sum, size) => sum + size, 0) },
  };
}

/**
 * The `config.yml` of go-reverse-proxy: a TCP target, and HTTP routes whose rules apply in the order they are written,
 * by plain text prefix. Order and prefixes keep their exact meaning; so does the Host that its targets get (their own).
 */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
import { addressFrom, type Imported, literalPattern, UnreadableLine } from './imported.ts';

interface Route {
  readonly line: number;
  readonly host: string;
  readonly prefix: string;
  readonly strip: boolean;
  readonly service: string;
}

export function readGoReverseProxy(text: string, into: Imported): void {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const lineOf = (node: unknown) => lines.linePos((node as Node | null)?.range?.[0] ?? 0).line;
  const [broken] = document.errors;
  if (broken !== undefined) {
    throw new UnreadableLine(lines.linePos(broken.pos[0]).line, broken.message.split('\n')[0] as string);
  }
  const root = document.contents;
  if (!isMap(root)) throw new UnreadableLine(1, 'expected tcp, http_routes, http_config and log_level');
  let routes: number | null = null;
  let port = false;
  for (const pair of root.items) {
    const key = String(pair.key);
    const line = lineOf(pair.key);
    const value = pair.value as Node | null;
    if (key === 'log_level') into.flag('--log-level', scalar(value) === 'debug' ? 'debug' : 'info', line);
    else if (!['tcp', 'http_routes', 'http_config'].includes(key))
      into.say(line, `'${key}' is not known and not carried over`);
    // A name without a value is a section that is left out.
    else if (isScalar(value) && value.value === null) continue;
    else if (key === 'tcp') readTcp(mapOf(value, line), line, lineOf, into);
    else if (key === 'http_config') port = readHttpConfig(mapOf(value, line), line, lineOf, into);
    else {
      routes = line;
      readRoutes(value, line, lineOf, into);
    }
  }
  if (routes !== null && !port) into.say(routes, 'http_config has no port: the default of --http, :8080');
}

/** Names each field of `map` that is none of `known`. */
function tellUnknown(
  map: YAMLMap,
  known: readonly string[],
  lineOf: (node: unknown) => number,
  into: Imported,
): void {
  for (const { key } of map.items) {
    const name = String(key);
    if (!known.includes(name)) into.say(lineOf(key), `'${name}' is not known and not carried over`);
  }
}

function readTcp(tcp: YAMLMap, line: number, lineOf: (node: unknown) => number, into: Imported): void {
  tellUnknown(tcp, ['target', 'port'], lineOf, into);
  const target = splitAddress(scalar(tcp.get('target', true)));
  const listen = listenAddress(scalar(tcp.get('port', true)));
  if (target === null || listen === null) {
    into.say(line, 'tcp needs a target like "localhost:8080" and a port like ":8020": not carried over');
    return;
  }
  const service = into.addService(`tcp-${target.text}`, { protocol: 'tcp', backends: [target.text] }, line);
  const { port } = listen;
  const address = listen.address.replace(/^\[|\]$/g, '').replace(/^localhost$/, '127.0.0.1');
  const name = into.freeName('listener', `tcp-${port}`);
  into.add({ kind: 'listener', name, ...(address === '' ? {} : { address }), port, service }, line);
}

function readRoutes(
  value: Node | null,
  line: number,
  lineOf: (node: unknown) => number,
  into: Imported,
): void {
  if (!isSeq(value)) throw new UnreadableLine(line, 'http_routes is a list');
  const services = new Map<string, string>();
  const routes = value.items.flatMap((item) => {
    const at = lineOf(item);
    const map = mapOf(item as Node, at);
    tellUnknown(map, ['target', 'host', 'path_prefix', 'strip_path_prefix'], lineOf, into);
    const service = serviceOf(scalar(map.get('target', true)), at, services, into);
    if (service === null) return [];
    const prefix = scalar(map.get('path_prefix', true));
    const host = scalar(map.get('host', true)).toLowerCase();
    if (host === '') {
      into.say(at, 'a route without a host matched no request there: not carried over');
      return [];
    }
    const strip = scalar(map.get('strip_path_prefix', true)) === 'true' && prefix !== '';
    return [{ line: at, host, prefix: prefix === '/' ? '' : prefix, strip, service }];
  });
  const hosts = new Map<string, Route[]>();
  for (const route of routes) hosts.set(route.host, [...(hosts.get(route.host) ?? []), route]);
  for (const [host, own] of hosts) addDomain(host, own, into);
}

function addDomain(host: string, routes: readonly Route[], into: Imported): void {
  const everything = routes.findIndex(({ prefix }) => prefix === '');
  for (const route of everything < 0 ? [] : routes.slice(everything + 1)) {
    into.say(route.line, `never reached: an earlier route of ${host} takes every path; left out`);
  }
  const reached = everything < 0 ? routes : routes.slice(0, everything + 1);
  const [only] = reached;
  const line = only?.line ?? 0;
  if (reached.length === 1 && only?.prefix === '') {
    into.add({ kind: 'domain', name: host, service: only.service }, line);
    return;
  }
  // Regular expressions of one priority go in the order written, and before every prefix.
  const own = reached.map(({ prefix, strip, service }) => ({
    path: prefix === '' ? '/' : `~^${literalPattern(prefix)}`,
    service,
    ...(strip ? { rewrite: { match: `~^${literalPattern(prefix)}/?(.*)`, to: '/$1' } } : {}),
  }));
  into.add({ kind: 'domain', name: host, routes: own }, line);
}

/** The service of a target like `http://localhost:8081`, one for each target; null when it is none. */
function serviceOf(
  target: string,
  line: number,
  services: Map<string, string>,
  into: Imported,
): string | null {
  const known = services.get(target);
  if (known !== undefined) return known;
  const url = /^(https?):\/\/(\[[^\]]+\]|[^/:?#@]+)(?::(\d+))?(\/[^?#]*)?$/.exec(target);
  const protocol = url?.[1] as 'http' | 'https' | undefined;
  const address =
    protocol === undefined
      ? null
      : addressFrom(url?.[2] as string, url?.[3] ?? (protocol === 'https' ? 443 : 80));
  if (protocol === undefined || address === null) {
    into.say(line, `'${target}' is not a target like http://localhost:8081: its route is not carried over`);
    return null;
  }
  if ((url?.[4] ?? '/') !== '/') into.say(line, `the path of the target '${target}' had no effect; left out`);
  // The Host that a client of the target would send: targets got their own name, not the visitor's.
  const host = url?.[3] === undefined ? (url?.[2] as string) : address;
  const fields = { ...(protocol === 'https' ? { protocol } : {}), backends: [address], host };
  const name = into.addService(address, fields, line);
  services.set(target, name);
  return name;
}

/** Whether it has a port. */
function readHttpConfig(
  config: YAMLMap,
  line: number,
  lineOf: (node: unknown) => number,
  into: Imported,
): boolean {
  tellUnknown(config, ['port', 'shutdown_timeout'], lineOf, into);
  const text = scalar(config.get('port', true));
  const listen = listenAddress(text);
  if (listen !== null) into.flag('--http', `${listen.address}:${listen.port}`, line);
  else if (text !== '') into.say(line, `port '${text}' is not like ":8021": the default of --http, :8080`);
  const drain = scalar(config.get('shutdown_timeout', true));
  if (/^\d+(\.\d+)?(ms|s|m|h)$/.test(drain)) into.flag('--drain', drain, line);
  else if (drain !== '') into.say(line, `shutdown_timeout '${drain}' cannot be read; --drain is 30s`);
  return text !== '';
}

function mapOf(node: Node | null, line: number): YAMLMap {
  if (!isMap(node)) throw new UnreadableLine(line, 'expected fields with values');
  return node;
}

function scalar(node: unknown): string {
  return isScalar(node) && node.value !== null && node.value !== undefined ? String(node.value) : '';
}

function splitAddress(text: string): { readonly text: string } | null {
  const match = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(text);
  const address = match === null ? null : addressFrom(match[1] as string, match[2] as string);
  return address === null ? null : { text: address };
}

/** `:8021`, `8021` or `127.0.0.1:8021`; an empty address is every one of this machine. */
function listenAddress(text: string): { readonly address: string; readonly port: number } | null {
  const [, address = '', port = ''] = /^(?:(\[[^\]]+\]|[^:]*):)?(\d{1,5})$/.exec(text) ?? [];
  const number = Number(port);
  return port === '' || number < 1 || number > 65_535 ? null : { address, port: number };
}

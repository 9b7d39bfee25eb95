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
  for (const pair of root.items) {
    const key = String(pair.key);
    const line = lineOf(pair.key);
    const value = pair.value as Node | null;
    if (key === 'tcp') readTcp(mapOf(value, line), line, into);
    else if (key === 'http_routes') readRoutes(value, line, lineOf, into);
    else if (key === 'http_config') readHttpConfig(mapOf(value, line), line, into);
    else if (key === 'log_level') into.flag(`--log-level ${scalar(value) === 'debug' ? 'debug' : 'info'}`);
    else into.say(line, `'${key}' is not known and not carried over`);
  }
}

function readTcp(tcp: YAMLMap, line: number, into: Imported): void {
  const target = splitAddress(scalar(tcp.get('target', true)));
  const port = portOf(scalar(tcp.get('port', true)));
  if (target === null || port === null) {
    into.say(line, 'tcp needs a target like "localhost:8080" and a port like ":8020": not carried over');
    return;
  }
  const service = into.addService(`tcp-${target.text}`, { protocol: 'tcp', backends: [target.text] });
  into.add({ kind: 'listener', name: into.freeName('listener', `tcp-${port}`), port, service });
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
    for (const { key } of map.items) {
      const name = String(key);
      if (!['target', 'host', 'path_prefix', 'strip_path_prefix'].includes(name))
        into.say(lineOf(key), `'${name}' is not known and not carried over`);
    }
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
  if (reached.length === 1 && only?.prefix === '') {
    into.add({ kind: 'domain', name: host, service: only.service });
    return;
  }
  into.add({
    kind: 'domain',
    name: host,
    // Regular expressions of one priority go in the order written, and before every prefix.
    routes: reached.map(({ prefix, strip, service }) => ({
      path: prefix === '' ? '/' : `~^${literalPattern(prefix)}`,
      service,
      ...(strip ? { rewrite: { match: `~^${literalPattern(prefix)}/?(.*)`, to: '/$1' } } : {}),
    })),
  });
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
  const name = into.addService(address, {
    ...(protocol === 'https' ? { protocol } : {}),
    backends: [address],
    host,
  });
  services.set(target, name);
  return name;
}

function readHttpConfig(config: YAMLMap, line: number, into: Imported): void {
  const port = portOf(scalar(config.get('port', true)));
  if (port !== null) into.flag(`--http :${port}`);
  const drain = scalar(config.get('shutdown_timeout', true));
  if (/^\d+(\.\d+)?(ms|s|m|h)$/.test(drain)) into.flag(`--drain ${drain}`);
  else if (drain !== '') into.say(line, `shutdown_timeout '${drain}' cannot be read; --drain is 30s`);
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

function portOf(text: string): number | null {
  const match = /^:?(\d{1,5})$/.exec(text);
  return match === null ? null : Number(match[1]);
}

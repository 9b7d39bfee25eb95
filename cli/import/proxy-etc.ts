/**
 * The files of proxy-etc: `config.js` (read, never run) with the settings of its processes, and `routes.json` with its
 * routes. A source is a host, a host with a first path segment, or a first segment on every host; a host alone wins.
 */
import { addressFrom, type Imported, literalPattern, OFF } from './imported.ts';
import { type Literal, type Located, readObjectLiteral } from './object-literal.ts';

type Fields = ReadonlyMap<string, Located>;
/** A source that takes a part of the paths of a host (`*`: of every host). */
interface Part {
  readonly host: string;
  readonly segment: string;
  readonly line: number;
  readonly service: string;
}
type Teller = (field: Located, into: Imported) => void;

/** The cookie in which its clients have their server; ours takes its place. */
const STICKY_COOKIE = 'SERVERID';

const SETTINGS: Readonly<Record<string, Teller>> = {
  dbPath: ({ line }, into) => into.say(line, 'its database is not read: give its config/routes.json too'),
  maxSockets: ({ value, line }, into) => {
    if (typeof value !== 'number' || value < 1)
      into.say(line, 'maxSockets is a number from 1: not carried over');
    else into.ofEveryService['pool'] = { max: value };
  },
  workers: ({ value, line }, into) => {
    if (typeof value === 'number' && value >= 1) into.flag('--processes', String(value), line);
    else into.say(line, 'workers is a number from 1: --processes stays the number of cores');
  },
  tcpTimeout: ({ value, line }, into) => {
    if (typeof value !== 'number' || value <= 0)
      into.say(line, 'tcpTimeout is a number of seconds: not carried over');
    else into.add({ kind: 'settings', timeouts: { firstByte: `${value}s`, idle: `${value}s` } }, line);
  },
  httpKeepAlive: ({ value, line }, into) => {
    if (value === false)
      into.say(line, 'connections to backends are kept and used again; this cannot be switched off');
  },
  app: ({ value, line }, into) => {
    const address = listenAddress(value);
    if (address === null) into.say(line, 'app has no port: kontrolapi listens on 127.0.0.1:7000');
    else into.flag('--api', address, line);
  },
  http: ({ value, line }, into) => {
    const address = listenAddress(value);
    if (address === null) into.say(line, 'http has no port: the default of --http, :8080');
    else into.flag('--http', address, line);
  },
  https: ({ value, line }, into) => {
    const address = listenAddress(value);
    if (address === null) into.say(line, 'https has no port: the default of --https, :8443');
    else into.flag('--https', address, line);
    const key = textOf(fieldsOf(value).get('keyPath'));
    const certificate = textOf(fieldsOf(value).get('certPath'));
    if (key !== null && certificate !== null)
      into.say(line, `copy ${certificate} to certs/cert.pem and ${key} to certs/key.pem`);
    else
      into.say(
        line,
        'https has no keyPath and certPath both: it opens when certs/cert.pem and certs/key.pem are there',
      );
  },
  memoryMonitor: ({ value, line }, into) => {
    const monitor = fieldsOf(value);
    const limit = monitor.get('memoryLimit');
    const wait = monitor.get('gracefulWait');
    if (typeof limit?.value === 'number') into.flag('--memory-limit', String(limit.value), limit.line);
    else into.say(line, 'memoryMonitor has no memoryLimit that is a number: --memory-limit is off');
    if (typeof wait?.value === 'number') into.flag('--drain', `${wait.value}s`, wait.line);
    const interval = monitor.get('checkInterval');
    if (interval !== undefined) into.say(interval.line, 'memory is looked at every 10 s; this cannot be set');
  },
  credentials: ({ line }, into) =>
    into.say(
      line,
      'passwords are not carried over: the first start makes the user admin and says how to log in',
    ),
};

export function readProxyEtc(text: string, into: Imported): void {
  const fields = readObjectLiteral(text);
  const routes = [...fields].filter(([, { value }]) => value instanceof Map && value.has('targets'));
  if (routes.length > 0 || fields.size === 0) {
    readRoutes(routes, into);
    for (const [key, { line }] of fields)
      if (!routes.some(([name]) => name === key)) into.say(line, `'${key}' is not a route: not carried over`);
    return;
  }
  for (const [key, field] of fields) {
    const tell = Object.hasOwn(SETTINGS, key) ? SETTINGS[key] : undefined;
    if (tell === undefined) into.say(field.line, `'${key}' is not known and not carried over`);
    else tell(field, into);
  }
  // A file without this section had no HTTPS at all.
  if (fields.has('http') && !fields.has('https')) into.flag('--https', OFF, 0);
}

function readRoutes(routes: readonly (readonly [string, Located])[], into: Imported): void {
  const wholeHosts = new Set<string>();
  const parts: Part[] = [];
  for (const [key, { line, value }] of routes) {
    const fields = fieldsOf(value);
    const source = (textOf(fields.get('source')) ?? key).trim().toLowerCase();
    const [host, segment] = splitSource(source);
    if (host === '' && segment === '') {
      into.say(line, `'${source}' is no source: not carried over`);
      continue;
    }
    const service = readTargets(source, fields, line, into);
    if (service === null) continue;
    if (segment !== '') parts.push({ host, segment, line, service });
    else {
      wholeHosts.add(host);
      into.add({ kind: 'domain', name: host, service }, line);
      // A name without a dot was looked for as a host and as the first segment of a path.
      if (!host.includes('.') && host !== 'localhost')
        parts.push({ host: '*', segment: host, line, service });
    }
    if (/^\d+$/.test(source)) into.say(line, `${source} was a port that was opened too: add it to --http`);
  }
  const anywhere = parts.filter(({ host }) => host === '*');
  for (const name of new Set(parts.map(({ host }) => host))) {
    const own = parts.filter(({ host }) => host === name);
    if (wholeHosts.has(name)) {
      for (const { line, segment } of own)
        into.say(
          line,
          `never reached: ${name} alone is a source and takes every path; /${segment} is left out`,
        );
      continue;
    }
    const applying = name === '*' ? anywhere : [...own, ...anywhere];
    const routes = applying.map(({ segment, service }) => ({
      path: `~(?i)^/${literalPattern(segment)}(/|$)`,
      service,
    }));
    into.add({ kind: 'domain', name, routes }, own[0]?.line ?? 0);
  }
}

/** Host and first path segment of a source; a segment alone is for every host. */
function splitSource(source: string): readonly [string, string] {
  if (source.startsWith('/')) return ['*', source.slice(1).split('/', 1)[0] ?? ''];
  const [first = '', second = ''] = source.split('/');
  if (/^\d+$/.test(first)) return ['*', first];
  return [first, second];
}

function readTargets(source: string, route: Fields, line: number, into: Imported): string | null {
  const targets = route.get('targets')?.value;
  const backends = (Array.isArray(targets) ? (targets as readonly Located[]) : []).flatMap((target) => {
    const fields = fieldsOf(target.value);
    const port = fields.get('port')?.value;
    const address = addressFrom(
      textOf(fields.get('host')) ?? '',
      typeof port === 'number' ? port : String(port ?? ''),
    );
    if (address === null) into.say(target.line, 'a target needs a host and a port: left out');
    return address === null ? [] : [address];
  });
  if (backends.length === 0) {
    into.say(line, `'${source}' has no target: not carried over`);
    return null;
  }
  const distinct = [...new Set(backends)];
  if (distinct.length < backends.length)
    into.say(line, `'${source}' has a target more than once: it gets the share of one`);
  const session =
    textOf(route.get('sessionType'))
      ?.toLowerCase()
      .replace(/[^a-z]/g, '') ?? 'nonsticky';
  if (session !== 'sticky' && session !== 'nonsticky')
    into.say(route.get('sessionType')?.line ?? line, 'sessionType is Sticky or Non Sticky: Non Sticky');
  const sticky = session === 'sticky' ? { sticky: { cookie: STICKY_COOKIE } } : {};
  return into.addService(source, { backends: distinct, ...sticky }, line);
}

function fieldsOf(value: Literal): Fields {
  return value instanceof Map ? value : new Map();
}

function textOf(field: Located | undefined): string | null {
  return typeof field?.value === 'string' ? field.value : null;
}

function listenAddress(value: Literal): string | null {
  const port = fieldsOf(value).get('port')?.value;
  if (typeof port !== 'number') return null;
  const host = textOf(fieldsOf(value).get('hostname')) ?? '';
  return `${host}:${port}`;
}

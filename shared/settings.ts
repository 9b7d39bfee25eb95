/**
 * Settings of a process: flag > environment > file > default. One table declares them all; `--help`, the docs and
 * the parser read it. (The object `settings`, which holds for all nodes, is in `shared/model/settings.ts`.)
 */
import { availableParallelism, hostname } from 'node:os';
import { collect, invalid, type RawSetting, type SettingName } from './settings-sources.ts';
import {
  formatAddress,
  type ListenAddress,
  readAccessLog,
  readAddress,
  readAddresses,
  readDuration,
  readInteger,
  readList,
  readMegabytes,
  readMongoUrl,
  readNetworks,
  readNodeName,
  readOneOf,
  readPath,
  readRedisUrl,
  readSecret,
  showable,
} from './settings-values.ts';

export type { ListenAddress } from './settings-values.ts';

export interface SettingsOfProcess {
  readonly http: readonly ListenAddress[];
  readonly https: readonly ListenAddress[];
  /** Port that HTTPS visitors see; the first of `https` when null. */
  readonly publicHttpsPort: number | null;
  readonly api: ListenAddress;
  readonly apiCert: string | null;
  readonly apiKey: string | null;
  readonly internal: ListenAddress | null;
  readonly node: string;
  readonly mongoUrl: string | null;
  readonly redisUrl: string | null;
  readonly data: string;
  readonly processes: number;
  readonly certs: string;
  readonly pages: string | null;
  readonly apiToken: string | null;
  readonly secret: string | null;
  /** CIDRs and addresses. */
  readonly trustedProxies: readonly string[];
  /** Addresses of listeners (as in `http`, `https`) that require a PROXY header. */
  readonly proxyProtocol: readonly string[];
  readonly ttlMs: number;
  readonly drainMs: number;
  readonly drainWaitMs: number;
  /** Megabytes per serving process; 0 = off. */
  readonly memoryLimitMb: number;
  /** Never anything faster than this; `auto`: the cheapest that passes a trial at start. */
  readonly sockets: 'auto' | 'onread' | 'net';
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** `off`, `json`, `combined` (both to stdout), or `json:FILE`, `combined:FILE`, FILE (JSON). */
  readonly accessLog: string;
}

/** Which command reads the settings: `kontrol up`, `kontrol api` or `kontrol proxy`. */
export type SettingsReader = 'up' | 'api' | 'proxy';

interface Declaration<T> {
  /** Without dashes; also the key in the file. */
  readonly flag: string;
  /** `KONTROL_X_Y` of the flag unless given. */
  readonly variable?: string;
  readonly argument: string;
  readonly description: string;
  /** Text that is read like any other; null means the value null. */
  readonly default: string | null;
  /** How the help shows a default that depends on the machine. */
  readonly shownDefault?: string;
  readonly of: 'all' | 'api' | 'proxy';
  readonly read: (text: string) => T;
  /** What an empty text means; where it is absent, a value must be given. */
  readonly empty?: T;
  /** Never shown; `no-flag` ones are not flags either, since `ps` shows those to everyone. */
  readonly credential?: 'url' | 'no-flag';
}

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;

/** All settings, in the order of the help. The mapped type makes a forgotten one a compile error. */
const DECLARATIONS: { readonly [K in keyof SettingsOfProcess]: Declaration<SettingsOfProcess[K]> } = {
  http: {
    flag: 'http',
    argument: 'ADDRESSES',
    description: 'where visitors come in over HTTP, comma separated; empty turns it off',
    default: ':8080',
    of: 'proxy',
    read: readAddresses,
    empty: [],
  },
  https: {
    flag: 'https',
    argument: 'ADDRESSES',
    description: 'where visitors come in over HTTPS; opened when a certificate exists; empty turns it off',
    default: ':8443',
    of: 'proxy',
    read: readAddresses,
    empty: [],
  },
  publicHttpsPort: {
    flag: 'public-https-port',
    argument: 'PORT',
    description: 'the HTTPS port that visitors see, for redirects, when it is not that of --https',
    default: null,
    shownDefault: 'the port of --https',
    of: 'proxy',
    read: readInteger(1, 65_535),
    empty: null,
  },
  api: {
    flag: 'api',
    argument: 'ADDRESS',
    description: 'where kontrolapi listens (a proxy refuses it as a backend)',
    default: '127.0.0.1:7000',
    of: 'all',
    read: readAddress,
  },
  apiCert: {
    flag: 'api-cert',
    argument: 'FILE',
    description: 'certificate (PEM) of kontrolapi; with --api-key',
    default: null,
    of: 'api',
    read: readPath,
    empty: null,
  },
  apiKey: {
    flag: 'api-key',
    argument: 'FILE',
    description: 'private key (PEM) of kontrolapi; with --api-cert',
    default: null,
    of: 'api',
    read: readPath,
    empty: null,
  },
  internal: {
    flag: 'internal',
    argument: 'ADDRESS',
    description: 'metrics, health and reload of the node; empty turns it off',
    default: '127.0.0.1:42007',
    of: 'all',
    read: readAddress,
    empty: null,
  },
  node: {
    flag: 'node',
    argument: 'NAME',
    description: 'name of this node; unique among all nodes',
    default: hostname().replace(/[^A-Za-z0-9._-]/g, '-'),
    shownDefault: 'the host name',
    of: 'proxy',
    read: readNodeName,
  },
  mongoUrl: {
    flag: 'mongo-url',
    variable: 'MONGO_URL',
    argument: 'URL',
    description: 'MongoDB that holds everything; without it the embedded store in --data',
    default: null,
    of: 'all',
    read: readMongoUrl,
    empty: null,
    credential: 'url',
  },
  redisUrl: {
    flag: 'redis-url',
    variable: 'REDIS_URL',
    argument: 'URL',
    description: 'Redis that carries the messages; without it a socket in --data',
    default: null,
    of: 'all',
    read: readRedisUrl,
    empty: null,
    credential: 'url',
  },
  data: {
    flag: 'data',
    argument: 'FOLDER',
    description: 'embedded store (shared by the processes of one machine) and last-known-good copies',
    default: './data',
    of: 'all',
    read: readPath,
  },
  processes: {
    flag: 'processes',
    argument: 'NUMBER',
    description: 'serving processes',
    default: String(availableParallelism()),
    shownDefault: 'the number of CPUs',
    of: 'proxy',
    read: readInteger(1, 1_024),
  },
  certs: {
    flag: 'certs',
    argument: 'FOLDER',
    description: 'where cert.pem and key.pem of the default certificate are looked for',
    default: './certs',
    of: 'all',
    read: readPath,
  },
  pages: {
    flag: 'pages',
    argument: 'FOLDER',
    description: 'templates of the answers that the proxy makes itself',
    default: null,
    shownDefault: 'errorpages of the package',
    of: 'all',
    read: readPath,
    empty: null,
  },
  apiToken: {
    flag: 'api-token',
    argument: 'TOKEN',
    description: 'an admin token for automation; else the first start makes a user and a token',
    default: null,
    of: 'api',
    read: readSecret,
    empty: null,
    credential: 'no-flag',
  },
  secret: {
    flag: 'secret',
    argument: 'TEXT',
    description: 'encrypts stored private keys, cookie and ticket keys',
    default: null,
    of: 'all',
    read: readSecret,
    empty: null,
    credential: 'no-flag',
  },
  trustedProxies: {
    flag: 'trusted-proxies',
    argument: 'CIDRS',
    description: 'whose X-Forwarded-* and Forwarded fields are believed, comma separated',
    default: '',
    shownDefault: 'none',
    of: 'all',
    read: readNetworks,
    empty: [],
  },
  proxyProtocol: {
    flag: 'proxy-protocol',
    argument: 'ADDRESSES',
    description: 'which of --http and --https require a PROXY header (from --trusted-proxies only)',
    default: '',
    shownDefault: 'none',
    of: 'proxy',
    read: (text) => readList(text).map((item) => formatAddress(readAddress(item))),
    empty: [],
  },
  ttlMs: {
    flag: 'ttl',
    argument: 'DURATION',
    description: 'how often everything is read again even if no message came',
    default: '20s',
    of: 'all',
    read: readDuration(100, DAY),
  },
  drainMs: {
    flag: 'drain',
    argument: 'DURATION',
    description: 'how long requests may go on when a process stops or is replaced',
    default: '30s',
    of: 'all',
    read: readDuration(0, DAY),
  },
  drainWaitMs: {
    flag: 'drain-wait',
    argument: 'DURATION',
    description: 'how long a stopping node reports not ready before its listeners close',
    default: '0s',
    of: 'proxy',
    read: readDuration(0, HOUR),
  },
  memoryLimitMb: {
    flag: 'memory-limit',
    argument: 'MB',
    description: 'a serving process above this is replaced gracefully; 0 = off',
    default: '0',
    of: 'proxy',
    read: readMegabytes,
  },
  sockets: {
    flag: 'sockets',
    argument: 'VARIANT',
    description: 'how connections are made: auto (the cheapest that works in this Node), onread or net',
    default: 'auto',
    of: 'proxy',
    read: readOneOf('auto', 'onread', 'net'),
  },
  logLevel: {
    flag: 'log-level',
    argument: 'LEVEL',
    description: 'debug, info, warn or error; the log goes to stderr',
    default: 'info',
    of: 'all',
    read: readOneOf('debug', 'info', 'warn', 'error'),
  },
  accessLog: {
    flag: 'access-log',
    argument: 'WHAT',
    description: 'off, json, combined (to stdout), FILE or combined:FILE (reopened on SIGUSR2)',
    default: 'json',
    of: 'proxy',
    read: readAccessLog,
  },
};

const KEYS = Object.keys(DECLARATIONS) as (keyof SettingsOfProcess)[];

/** The environment variable of a setting. */
function variableOf(declaration: Declaration<unknown>): string {
  return declaration.variable ?? `KONTROL_${declaration.flag.toUpperCase().replaceAll('-', '_')}`;
}

function belongsTo(declaration: Declaration<unknown>, which: SettingsReader): boolean {
  return which === 'up' || declaration.of === 'all' || declaration.of === which;
}

/**
 * Reads the settings of one command. `argv` holds its flags only (not the command). Throws a KontrolError
 * `setting_invalid` with one line that names the flag, variable or key at fault. With `--help` among the flags nothing
 * is checked and `help` is true. `warnings` are lines for the log.
 */
export function readSettings(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  which: SettingsReader,
): { settings: SettingsOfProcess; warnings: readonly string[]; help: boolean } {
  const help = argv.includes('--help') || argv.includes('-h');
  const { byFlag, warnings } = help
    ? { byFlag: new Map<string, RawSetting>(), warnings: [] }
    : collect(settingNames(which), argv, env, which);
  const values = KEYS.map((key) => [key, readOne(DECLARATIONS[key], byFlag)] as const);
  // Every key was just read with its own declaration.
  const settings = Object.fromEntries(values) as unknown as SettingsOfProcess;
  if (help) return { settings, warnings, help };
  checkTogether(settings, which, byFlag);
  // The children of `kontrol up` read the same flags and variables, about which it has spoken already.
  if (env['KONTROL_SUPERVISED'] === '1') return { settings, warnings: [], help };
  return { settings, warnings: [...warnings, ...advice(settings, which)], help };
}

function settingNames(which: SettingsReader): readonly SettingName[] {
  return KEYS.map((key) => {
    const declaration: Declaration<unknown> = DECLARATIONS[key];
    return {
      flag: declaration.flag,
      variable: variableOf(declaration),
      asFlag: declaration.credential !== 'no-flag',
      belongs: belongsTo(declaration, which),
    };
  });
}

function readOne(declaration: Declaration<unknown>, byFlag: ReadonlyMap<string, RawSetting>): unknown {
  const raw = byFlag.get(declaration.flag);
  const text = raw?.text.trim();
  if (raw !== undefined && text !== undefined) {
    if (text !== '') return read(declaration, text, raw.from);
    if (declaration.empty !== undefined) return declaration.empty;
    // `VARIABLE=` is how compose files and shells pass on "not set".
    if (raw.source !== 'environment') throw invalid(`${raw.from}: needs a value`);
  }
  if (declaration.default === null) return null;
  if (declaration.default === '') return declaration.empty;
  return read(declaration, declaration.default, `--${declaration.flag}`);
}

function read(declaration: Declaration<unknown>, text: string, from: string): unknown {
  try {
    return declaration.read(text);
  } catch (error) {
    const got = declaration.credential === undefined ? `, got "${showable(text)}"` : '';
    throw invalid(`${from}: ${(error as Error).message}${got}`);
  }
}

/** What is right alone but wrong together. */
function checkTogether(
  settings: SettingsOfProcess,
  which: SettingsReader,
  byFlag: ReadonlyMap<string, RawSetting>,
): void {
  const nameOf = (flag: string) => byFlag.get(flag)?.from ?? `--${flag}`;
  if ((settings.apiCert === null) !== (settings.apiKey === null)) {
    const [given, missing] = settings.apiCert === null ? ['api-key', 'api-cert'] : ['api-cert', 'api-key'];
    throw invalid(`${nameOf(given)} needs --${missing} as well`);
  }
  if (which === 'api') return;
  const taken = new Map<string, string>();
  const claims: readonly (readonly [string, readonly ListenAddress[]])[] = [
    ['http', settings.http],
    ['https', settings.https],
    ['internal', settings.internal === null ? [] : [settings.internal]],
    ['api', which === 'up' ? [settings.api] : []],
  ];
  for (const [flag, addresses] of claims) {
    for (const address of addresses) {
      const spelling = formatAddress(address);
      const other = taken.get(spelling);
      if (other !== undefined && address.port !== 0) {
        throw invalid(`${nameOf(flag)}: ${spelling} is already taken by ${nameOf(other)}`);
      }
      taken.set(spelling, flag);
    }
  }
  const visitors = new Set([...settings.http, ...settings.https].map(formatAddress));
  const stray = settings.proxyProtocol.find((address) => !visitors.has(address));
  if (stray !== undefined) {
    throw invalid(`${nameOf('proxy-protocol')}: ${stray} is neither in --http nor in --https`);
  }
}

/** What works but is hardly meant. */
function advice(settings: SettingsOfProcess, which: SettingsReader): string[] {
  const lines: string[] = [];
  if (which !== 'api' && settings.proxyProtocol.length > 0 && settings.trustedProxies.length === 0) {
    lines.push(
      '--proxy-protocol without --trusted-proxies refuses every connection: name the balancers there',
    );
  }
  if (which !== 'api' && settings.memoryLimitMb > 0 && settings.memoryLimitMb < 128) {
    lines.push(`--memory-limit ${settings.memoryLimitMb} MB is less than an idle serving process may need`);
  }
  if (which !== 'proxy' && settings.apiToken !== null && settings.apiToken.length < 16) {
    lines.push('KONTROL_API_TOKEN has fewer than 16 characters: it can be guessed');
  }
  if (settings.secret !== null && settings.secret.length < 16) {
    lines.push('KONTROL_SECRET has fewer than 16 characters: it can be guessed');
  }
  return lines;
}

/** The help of a command's settings: all with environment variable and default. Ends with a line feed. */
export function helpText(which: SettingsReader): string {
  const rows = KEYS.map((key): Declaration<unknown> => DECLARATIONS[key])
    .filter((declaration) => belongsTo(declaration, which))
    .map((declaration) => {
      const variable = variableOf(declaration);
      const secret = declaration.credential === 'no-flag';
      const usage = secret ? variable : `--${declaration.flag} ${declaration.argument}`;
      const shown = declaration.shownDefault ?? declaration.default ?? 'none';
      return `  ${usage}${secret ? ' (environment or file only)' : `  ${variable}`}\n      ${declaration.description} (default: ${shown})`;
    });
  return [
    `Usage: kontrol ${which} [--flag value]…`,
    '',
    'Flags go before environment variables, those before the file (--config FILE, KONTROL_CONFIG; its keys are the',
    'flags without dashes), and that before the defaults. Durations take ms, s, m, h, d; plain numbers are milliseconds.',
    '',
    ...rows,
    '',
  ].join('\n');
}

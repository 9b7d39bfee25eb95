/**
 * The `proxy_reverse.conf` of Monkey: entries of servers, tried in the order written, each with any number of regular
 * expressions (unanchored, without regard to case, as there). A server that stands several times has that weight.
 */
import { compilePattern } from '../../shared/patterns.ts';
import { addressFrom, type Imported, UnreadableLine } from './imported.ts';
import { readSections, type SectionEntry, wholeNumber } from './sections.ts';

/** As written, without case and hyphens. */
const POLICIES: Readonly<Record<string, string>> = {
  naive: 'naive',
  firstalive: 'first-alive',
  roundrobin: 'round-robin',
  locklessroundrobin: 'round-robin',
  lockingroundrobin: 'round-robin',
  leastconnections: 'least-connections',
  sourcehash: 'source-hash',
  weightedroundrobin: 'weighted-round-robin',
};

/** What an entry may say, and inherits from the defaults where it does not. */
interface Values {
  servers: SectionEntry | null;
  balancer: SectionEntry | null;
  attempts: SectionEntry | null;
  offline: SectionEntry | null;
  readonly matches: SectionEntry[];
}

export function readMonkey(text: string, into: Imported): void {
  const sections = readSections(text, ' ');
  let defaults = emptyValues();
  for (const { name, entries } of sections) {
    if (name.toUpperCase() === 'PROXY_DEFAULTS') defaults = readValues(entries, into);
  }
  const routes: Record<string, unknown>[] = [];
  let number = 0;
  for (const { name, line, entries } of sections) {
    const kind = name.toUpperCase();
    if (kind === 'PROXY_DEFAULTS') continue;
    if (kind !== 'PROXY_ENTRY') {
      into.say(line, `[${name}] is not known and not carried over`);
      continue;
    }
    number++;
    const route = readEntry(line, number, readValues(entries, into), defaults, into);
    if (route !== null) routes.push(route);
  }
  if (number === 0) throw new UnreadableLine(1, 'there is no [PROXY_ENTRY]');
  const first = sections.find(({ name }) => name.toUpperCase() === 'PROXY_ENTRY');
  if (routes.length > 0) into.add({ kind: 'domain', name: '*', routes }, first?.line ?? 0);
}

function readEntry(
  line: number,
  number: number,
  own: Values,
  defaults: Values,
  into: Imported,
): Record<string, unknown> | null {
  const servers = own.servers ?? defaults.servers;
  const matches = own.matches.length > 0 ? own.matches : defaults.matches;
  const paths = matches.flatMap((match) => readMatch(match, into));
  if (servers === null || paths.length === 0) {
    const missing = servers === null ? 'ServerList' : 'Match that can be used';
    into.say(line, `the entry has no ${missing}, also not by [PROXY_DEFAULTS]: not carried over`);
    return null;
  }
  const balance = readBalancer(own.balancer ?? defaults.balancer, line, into);
  const backends = readServers(servers, balance, into);
  if (backends.length === 0) return null;
  const weighted = backends.some((backend) => typeof backend === 'object');
  const fields = {
    backends,
    balance: weighted && balance === 'round-robin' ? 'weighted-round-robin' : balance,
    ...readPassive(own.attempts ?? defaults.attempts, own.offline ?? defaults.offline, into),
  };
  const service = into.addService(`proxy-entry-${number}`, fields, line);
  return { path: paths, service };
}

function readValues(entries: readonly SectionEntry[], into: Imported): Values {
  const values = emptyValues();
  const once = (known: SectionEntry | null, entry: SectionEntry): SectionEntry => {
    if (known !== null)
      into.say(
        entry.line,
        `${entry.key} stands at line ${known.line} already: this one counts, and that does not`,
      );
    return entry;
  };
  for (const entry of entries) {
    switch (entry.key.toLowerCase()) {
      case 'match':
        values.matches.push(entry);
        break;
      case 'serverlist':
        values.servers = once(values.servers, entry);
        break;
      case 'loadbalancer':
      case 'loadbalance':
        values.balancer = once(values.balancer, entry);
        break;
      case 'attemptscount':
        values.attempts = once(values.attempts, entry);
        break;
      case 'offlinetimeout':
        values.offline = once(values.offline, entry);
        break;
      case 'statisticsurl':
        into.say(
          entry.line,
          'statistics are not on a path of visitors: see /status of the internal port (42007)',
        );
        break;
      default:
        into.say(entry.line, `'${entry.key}' is not known and not carried over`);
    }
  }
  return values;
}

function emptyValues(): Values {
  return { servers: null, balancer: null, attempts: null, offline: null, matches: [] };
}

/** Several expressions on one line, with spaces between, were alternatives. */
function readMatch({ value, line }: SectionEntry, into: Imported): string[] {
  const pattern = `(?i)${value.trim().replace(/\s+/g, '|')}`;
  try {
    compilePattern(pattern);
    return [`~${pattern}`];
  } catch (error) {
    into.say(line, `${(error as Error).message}: this Match is not carried over`);
    return [];
  }
}

function readBalancer(entry: SectionEntry | null, line: number, into: Imported): string {
  if (entry === null) {
    into.say(line, 'the entry has no LoadBalancer: round-robin');
    return 'round-robin';
  }
  const policy = POLICIES[entry.value.toLowerCase().replace(/[^a-z]/g, '')];
  if (policy !== undefined) return policy;
  into.say(entry.line, `there is no balancing '${entry.value}': round-robin`);
  return 'round-robin';
}

function readServers(
  { value, line }: SectionEntry,
  balance: string,
  into: Imported,
): (string | { readonly address: string; readonly weight: number })[] {
  const counts = new Map<string, number>();
  for (const server of value.split(/\s+/)) {
    const match = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(server);
    const address =
      match === null ? null : addressFrom((match[1] as string).toLowerCase(), match[2] as string);
    if (address === null) into.say(line, `'${server}' is not host:port: left out`);
    else counts.set(address, (counts.get(address) ?? 0) + 1);
  }
  const repeated = [...counts.values()].some((count) => count > 1);
  if (repeated && balance !== 'round-robin' && balance !== 'weighted-round-robin') {
    if (balance !== 'first-alive')
      into.say(line, `a server stands several times; under ${balance} that is carried over as its weight`);
  }
  return [...counts].map(([address, weight]) => (repeated ? { address, weight } : address));
}

function readPassive(
  attempts: SectionEntry | null,
  offline: SectionEntry | null,
  into: Imported,
): Record<string, unknown> {
  const passive: Record<string, unknown> = {};
  const count = attempts === null ? null : wholeNumber(attempts.value);
  if (attempts !== null) {
    if (count === null || count < 1 || count > 1_000)
      into.say(attempts.line, `AttemptsCount '${attempts.value}' is not from 1 to 1000: the default, 3`);
    else passive['attempts'] = count;
  }
  const seconds = offline === null ? null : wholeNumber(offline.value);
  if (offline !== null) {
    if (seconds === null || seconds === 0)
      into.say(
        offline.line,
        'OfflineTimeOut 0 (no memory of dead servers) does not exist here: the default, 10s',
      );
    else passive['offline'] = `${seconds}s`;
  }
  return Object.keys(passive).length === 0 ? {} : { passive };
}

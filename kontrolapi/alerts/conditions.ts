/** What is wrong now, worked out from what this process sees. Pure: whether somebody is told is decided elsewhere. */
import { X509Certificate } from 'node:crypto';
import type { Alarm } from '../nodes/alarms.ts';
import type { View } from '../revisions/view.ts';

/** Something that is wrong. */
export interface Condition {
  /** The same as long as the same thing is wrong. */
  readonly key: string;
  /** Urgent ones are told at night, too. */
  readonly urgent: boolean;
  /** Grows when it gets worse, and is told again then. */
  readonly level: number;
  readonly title: string;
  readonly detail: string;
  /** How long it has to be so before it is told, and to be over before that is, in ms. */
  readonly raiseMs: number;
  readonly clearMs: number;
}

/** The parts of a node's record that count here; records of other versions may lack any. */
export interface SeenNode {
  readonly name: string;
  readonly live: boolean;
  readonly seq?: unknown;
  readonly trouble?: unknown;
  readonly certificateValidTo?: unknown;
}

export interface Seen {
  readonly nodes: readonly SeenNode[];
  readonly alarms: readonly Alarm[];
  readonly view: View;
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** When the country data was last brought up to date; null when that is not known. */
  readonly geoDataAt: number | null;
}

const DAY_MS = 86_400_000;
const CERTIFICATE_DAYS = [30, 7, 1];
const GEO_DATA_DAYS = 30;
/**
 * Things of one kind that are looked at. Much more than `Board` tells: were it cut here at what is told, something new
 * would push out something told, which would seem to be over.
 */
const MAX_OF_KIND = 5_000;
const SHORT = { raiseMs: 5_000, clearMs: 15_000 };
/** A node counts as live for a while when this process has just started. */
const NODE = { raiseMs: 5_000, clearMs: 30_000 };
const LAG = { raiseMs: 60_000, clearMs: 15_000 };
/** One backend of several costs no visitor anything: a restart is no news. */
const BACKEND = { raiseMs: 30_000, clearMs: 15_000 };

export function conditionsOf(seen: Seen): Condition[] {
  return [
    ...services(seen),
    ...lagging(seen),
    ...seen.alarms.slice(0, MAX_OF_KIND).map(ofAlarm),
    ...certificates(seen),
    ...geoData(seen),
  ];
}

function ofAlarm({ alarm, about, message }: Alarm): Condition {
  return {
    key: `${alarm}/${about}`,
    urgent: alarm === 'node_lost',
    level: 0,
    title: TITLES[alarm](about),
    detail: message,
    ...(alarm === 'node_lost' ? NODE : SHORT),
  };
}

const TITLES: Readonly<Record<Alarm['alarm'], (about: string) => string>> = {
  node_lost: (node) => `node ${node} is gone`,
  quarantined: (node) => `node ${node} could not load objects`,
  deletions_held: (node) => `node ${node} holds back deletions that look like an accident`,
  hash_mismatch: (revision) => `nodes do not agree at ${revision}`,
};

function services({ nodes }: Seen): Condition[] {
  const anyLive = nodes.some(({ live }) => live);
  const found = nothing();
  const doubted = nothing();
  const suspended: string[] = [];
  for (const { name, live, trouble } of nodes) {
    // That the last node is gone makes nothing well: what it said stands until another one says more.
    if ((!live && anyLive) || typeof trouble !== 'object' || trouble === null) continue;
    const told = trouble as Readonly<Record<string, unknown>>;
    gather(found.down, told['down'], name);
    gather(found.dead, told['dead'], name);
    gather(found.flapping, told['flapping'], name);
    gather(doubted.down, told['failingServices'], name);
    gather(doubted.dead, told['failingBackends'], name);
    if (told['checksSuspended'] === true) suspended.push(name);
  }
  const conditions = [...ofNodes(suspended), ...ofBackends(found)];
  if (!anyLive) return conditions.map(standing);
  const known = new Set(conditions.map(({ key }) => key));
  return [
    ...conditions,
    ...ofBackends(doubted)
      .map(standing)
      .filter(({ key }) => !known.has(key)),
  ];
}

/** By what it is about: the nodes that say so. */
interface Found {
  readonly down: Map<string, string[]>;
  readonly dead: Map<string, string[]>;
  readonly flapping: Map<string, string[]>;
}

function nothing(): Found {
  return { down: new Map(), dead: new Map(), flapping: new Map() };
}

/** One that keeps what was told from being over, and is not told itself. */
function standing(condition: Condition): Condition {
  return { ...condition, raiseMs: Number.POSITIVE_INFINITY };
}

function ofNodes(suspended: readonly string[]): Condition[] {
  return suspended.slice(0, MAX_OF_KIND).map((node) => ({
    key: `checks_suspended/${node}`,
    urgent: true,
    level: 0,
    title: `node ${node} reaches no backend beyond its own machine`,
    detail:
      'all of them failed their checks at once, so the checks are not believed; look at its links, routes and firewall, ' +
      'or at what all those backends have in common',
    ...SHORT,
  }));
}

function ofBackends({ down, dead, flapping }: Found): Condition[] {
  return [
    ...[...down].slice(0, MAX_OF_KIND).map(([service, on]) => ({
      key: `service_down/${service}`,
      urgent: true,
      level: 0,
      title: `service ${service} has no backend left`,
      detail: `on ${on.join(', ')}: its backends are dead or gone, and visitors get 503`,
      ...SHORT,
    })),
    ...[...dead].slice(0, MAX_OF_KIND).map(([backend, on]) => ({
      key: `backend_down/${backend}`,
      urgent: false,
      level: 0,
      title: `${nameOf(backend)} is down`,
      detail: `on ${on.join(', ')}: it fails its checks; the others of its service have its visitors`,
      ...BACKEND,
    })),
    ...[...flapping].slice(0, MAX_OF_KIND).map(([backend, on]) => ({
      key: `backend_flapping/${backend}`,
      urgent: false,
      level: 0,
      title: `${nameOf(backend)} comes and goes`,
      detail: `on ${on.join(', ')}: it was found dead and alive again and again within ten minutes`,
      ...SHORT,
    })),
  ];
}

/** `backend`: service and address, with a space between them. */
function nameOf(backend: string): string {
  return `backend ${backend.split(' ').reverse().join(' of service ')}`;
}

function gather(found: Map<string, string[]>, names: unknown, node: string): void {
  if (!Array.isArray(names)) return;
  for (const name of names) {
    if (typeof name !== 'string' || name.length > 500) continue;
    const nodes = found.get(name);
    if (nodes === undefined) found.set(name, [node]);
    else nodes.push(node);
  }
}

function lagging({ nodes, seq }: Seen): Condition[] {
  return nodes
    .filter((node) => node.live && typeof node.seq === 'number' && node.seq < seq)
    .slice(0, MAX_OF_KIND)
    .map(({ name, seq: served }) => ({
      key: `node_lagging/${name}`,
      urgent: false,
      level: 0,
      title: `node ${name} lags behind`,
      detail: `it serves revision ${served} for more than a minute after ${seq} was there; can it reach the store?`,
      ...LAG,
    }));
}

/** Those of the API, and the default one that each node reads from its folder. */
function certificates({ view, nodes, now }: Seen): Condition[] {
  const near: Condition[] = [];
  for (const [name, { doc }] of view.entries('certificate')) {
    const advice = `PUT /v1/certificates/${name} with a new one`;
    near.push(
      ...expiry(`certificate/${name}`, `certificate ${name}`, validTo(doc['certificate']), now, advice),
    );
  }
  for (const { name, live, certificateValidTo: until } of nodes) {
    if (!live || typeof until !== 'number') continue;
    const title = `the default certificate of node ${name}`;
    const advice = 'put a new cert.pem and key.pem into the folder that its --certs names';
    near.push(...expiry(`certificate_file/${name}`, title, until, now, advice));
  }
  return near.sort((a, b) => b.level - a.level).slice(0, MAX_OF_KIND);
}

function expiry(key: string, what: string, until: number | null, now: number, advice: string): Condition[] {
  if (until === null) return [];
  const days = (until - now) / DAY_MS;
  const level = CERTIFICATE_DAYS.filter((limit) => days <= limit).length + (days <= 0 ? 1 : 0);
  if (level === 0) return [];
  const left = Math.max(1, Math.ceil(days));
  const when = days <= 0 ? 'has expired' : `expires within ${left} day${left === 1 ? '' : 's'}`;
  const title = `${what} ${when}`;
  const detail = `it is valid until ${new Date(until).toISOString()}; ${advice}`;
  return [{ key, urgent: days <= 1, level, title, detail, ...SHORT }];
}

/** Reading a certificate costs a tenth of a millisecond, and they stay the same for months. */
const expiries = new Map<string, number | null>();
const MAX_READ = 10_000;

function validTo(pem: unknown): number | null {
  if (typeof pem !== 'string') return null;
  const known = expiries.get(pem);
  if (known !== undefined) return known;
  if (expiries.size >= MAX_READ) expiries.clear();
  const at = readExpiry(pem);
  expiries.set(pem, at);
  return at;
}

function readExpiry(pem: string): number | null {
  try {
    const at = Date.parse(new X509Certificate(pem).validTo);
    return Number.isNaN(at) ? null : at;
  } catch {
    return null;
  }
}

function geoData({ view, now, geoDataAt }: Seen): Condition[] {
  if (geoDataAt === null || now - geoDataAt < GEO_DATA_DAYS * DAY_MS) return [];
  let used = false;
  for (const [, { doc }] of view.entries('rule')) if (doc['type'] === 'country') used = true;
  if (!used) return [];
  return [
    {
      key: 'geo_data/old',
      urgent: false,
      level: 0,
      title: 'the country data is older than 30 days',
      detail:
        'country rules go by it; install a newer geoip-lite, or point GEODATADIR to newer data, and restart',
      ...SHORT,
    },
  ];
}

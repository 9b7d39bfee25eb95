/** Hosts that browsers cannot reach over https, because no certificate covers them, and certificates that end soon. */
import { X509Certificate } from 'node:crypto';
import type { FieldProblem } from '../../shared/errors.ts';
import { claimedHosts, type Domain } from '../../shared/model/domain.ts';
import type { Doc, View } from '../revisions/view.ts';

const SOON_MS = 14 * 86_400_000;
/** Domains that are looked at when a certificate changes, and hosts that one warning names. */
const MAX_DOMAINS = 20_000;
const MAX_NAMED = 5;
/**
 * Certificates are read once each, which takes a second for ten thousand: so long at a time, in milliseconds, and
 * nothing is said until all were read.
 */
const MAX_READING_MS = 25;

interface Names {
  readonly names: ReadonlySet<string>;
  readonly validTo: number;
}

/** Documents keep their identity while nobody changes them, so each is read once. */
const READ = new WeakMap<Doc, Names>();

/** A domain that sends everyone to https needs a certificate for each of its hosts. */
export function uncoveredHosts(domain: Domain, draft: View): FieldProblem[] {
  if (!needsHttps(domain)) return [];
  const covered = coveredNames(draft);
  if (covered === null) return [];
  const hosts = claimedHosts(domain).filter((host) => isName(host) && !isCovered(host, covered));
  if (hosts.length === 0) return [];
  const [first] = hosts;
  const more = hosts.length > 1 ? ` and ${hosts.length - 1} more` : '';
  const message = `no stored certificate covers ${first}${more}: visitors are sent to https and get the default certificate of the node there, if it has one`;
  return [{ path: 'https', message }];
}

export function certificateProblems(doc: Doc, name: string, draft: View, now: number): FieldProblem[] {
  const path = 'certificate';
  const { validTo } = namesOf(doc);
  const found: FieldProblem[] = [];
  if (validTo > now && validTo - now < SOON_MS) {
    const days = Math.floor((validTo - now) / 86_400_000);
    found.push({ path, message: `it expires in ${days} day(s); renew it` });
  }
  const lost = hostsLost(name, draft);
  if (lost.length > 0) {
    const more = lost.length > MAX_NAMED ? ', …' : '';
    const hosts = lost.slice(0, MAX_NAMED).join(', ');
    found.push({ path, message: `hosts that need https have no certificate now: ${hosts}${more}` });
  }
  return found;
}

/** Hosts that need https, that no certificate covers, and that look as if they belonged to this one by its name. */
function hostsLost(name: string, draft: View): string[] {
  const covered = coveredNames(draft);
  if (covered === null) return [];
  const lost: string[] = [];
  let looked = 0;
  for (const [, { doc }] of draft.entries('domain')) {
    if (looked++ >= MAX_DOMAINS) break;
    const domain = doc as unknown as Domain;
    if (!needsHttps(domain)) continue;
    for (const host of claimedHosts(domain)) {
      if (host === name || host.endsWith(`.${name}`)) {
        if (isName(host) && !isCovered(host, covered)) lost.push(host);
      }
    }
  }
  return lost;
}

function needsHttps({ https }: Domain): boolean {
  return https === 'redirect' || https === 'only';
}

function isName(host: string): boolean {
  return !host.startsWith('~') && host !== '*' && !host.startsWith('**.');
}

function isCovered(host: string, names: ReadonlySet<string>): boolean {
  return names.has(host) || names.has(host.replace(/^[^.]+\./, '*.'));
}

/** Null while not all certificates are read. */
function coveredNames(draft: View): Set<string> | null {
  const names = new Set<string>();
  const until = performance.now() + MAX_READING_MS;
  for (const [, { doc }] of draft.entries('certificate')) {
    if (!READ.has(doc) && performance.now() > until) return null;
    for (const name of namesOf(doc).names) names.add(name);
  }
  return names;
}

function namesOf(doc: Doc): Names {
  const known = READ.get(doc);
  if (known !== undefined) return known;
  const read = readNames(String(doc.certificate ?? ''));
  READ.set(doc, read);
  return read;
}

function readNames(pem: string): Names {
  try {
    const certificate = new X509Certificate(pem);
    const names = [...(certificate.subjectAltName ?? '').matchAll(/DNS:([^,\s"]+)/g)].map((match) =>
      String(match[1]).toLowerCase(),
    );
    return { names: new Set(names), validTo: Date.parse(certificate.validTo) };
  } catch {
    // One that was edited by hand and cannot be read covers nothing.
    return { names: new Set(), validTo: 0 };
  }
}

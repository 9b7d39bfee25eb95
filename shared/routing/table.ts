/**
 * Everything a node serves by: the objects of the configuration and the members of services, compiled. Changes are
 * patched in one by one; an entry that cannot be used is reported and leaves its earlier version in force, or fails
 * closed where there is none. What a table decides depends on its objects, not on the order in which they came.
 */
import type { Certificate } from '../model/certificate.ts';
import { claimedHosts, type Domain } from '../model/domain.ts';
import { canonicalHost } from '../model/fields.ts';
import { type Kind, nameOf, type ObjectOf, parseObject } from '../model/kinds.ts';
import type { Listener } from '../model/listener.ts';
import { membersSchema } from '../model/live.ts';
import type { Page } from '../model/page.ts';
import { type ResolvedLimits, resolveLimits, type Settings } from '../model/settings.ts';
import { brokenDomain, type CompiledDomain, compileDomain } from './compile-domain.ts';
import type { CompiledService } from './decision.ts';
import type { DefaultCertificateDoc, RejectedEntry, TableEntry } from './entry.ts';
import {
  type CompiledRule,
  type CountryLookup,
  compileRule,
  type DryRunHook,
  type RuleReference,
} from './firewall.ts';
import { HostClaims } from './host-claims.ts';
import { HostIndex } from './host-index.ts';
import { type CompiledMaintenance, compileMaintenance } from './maintenance.ts';
import { type ServicePlace, ServiceTable } from './service-table.ts';
import { references, type ViewSource } from './view.ts';

export interface TableOptions {
  /** Country of an address; without it country rules cannot be loaded. May throw when its data cannot be read. */
  readonly country?: CountryLookup;
  /** Port that HTTPS visitors see, for redirects; default 443. */
  readonly publicHttpsPort?: number;
  /** Hears of each dry-run rule that would have decided. */
  readonly onDryRun?: DryRunHook;
}

export interface CompiledListener {
  readonly doc: Listener;
  /** Services by host, for TLS that is passed through; null when there are none. */
  readonly hosts: HostIndex<string> | null;
}

/** What an `apply` changed, for those who hold state beside the table. */
export interface TableChange {
  readonly rejected: RejectedEntry[];
  /** Names of services that are another CompiledService now, or gone. */
  readonly services: string[];
  /** Names of pages that changed or are gone. */
  readonly brands: string[];
  readonly listeners: boolean;
  /** Certificates, secrets, or the client certificates of a domain. */
  readonly certificates: boolean;
  readonly settings: boolean;
}

/** Collects what one `apply` changes. */
interface Patch {
  readonly rejected: RejectedEntry[];
  readonly brands: Set<string>;
  listeners: boolean;
  certificates: boolean;
  settings: boolean;
}

export class Table implements ViewSource {
  readonly publicHttpsPort: number;
  readonly onDryRun: DryRunHook | null;
  readonly #country: CountryLookup | undefined;
  #epoch = 1;
  /** Null when they exist but could not be loaded: who the global rules keep out is not known then. */
  #settings: Settings | null = {};
  /** Whether there ever was word of the settings; without it an unusable document has no good version before it. */
  #settingsKnown = false;
  #limits: ResolvedLimits = resolveLimits({});
  #maintenance: CompiledMaintenance | null = null;
  #globalRules: readonly RuleReference[] = [];
  #globalRulesEpoch = 0;
  /** Null for a rule that exists but could not be loaded. */
  readonly #rules = new Map<string, CompiledRule | null>();
  readonly #services = new ServiceTable();
  readonly #domains = new Map<string, CompiledDomain>();
  /** Those that ask their visitors for certificates. */
  readonly #asking = new Set<string>();
  readonly #claims = new HostClaims();
  readonly #pages = new Map<string, Page>();
  readonly #listeners = new Map<string, CompiledListener>();
  readonly #certificates = new Map<string, Certificate>();
  readonly #secrets = new Map<string, string>();
  #defaultCertificate: DefaultCertificateDoc | null = null;

  constructor(options: TableOptions = {}) {
    this.#country = options.country;
    this.publicHttpsPort = options.publicHttpsPort ?? 443;
    this.onDryRun = options.onDryRun ?? null;
  }

  /** Patches the entries in, one after the other. Never throws. */
  apply(entries: readonly TableEntry[]): TableChange {
    const patch: Patch = {
      rejected: [],
      brands: new Set(),
      listeners: false,
      certificates: false,
      settings: false,
    };
    for (const entry of entries) {
      try {
        // A document beside `broken` is the last good version.
        if (entry.doc === null && entry.broken !== undefined) this.#break(entry, entry.broken.claims, patch);
        else this.#set(entry, patch);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        patch.rejected.push({ kind: entry.kind, name: entry.name, reason });
        if (!this.#hasGood(entry)) this.#break(entry, claimsOf(entry), patch);
      }
    }
    const services = this.#services.compile(this.#settings?.timeouts);
    return { ...patch, services, brands: [...patch.brands] };
  }

  /** Changes whenever a rule, the settings, or the loadability of a service do; views are kept for one epoch. */
  get epoch(): number {
    return this.#epoch;
  }

  service(name: string): CompiledService | undefined {
    return this.#services.get(name);
  }

  placeOf(name: string): ServicePlace | undefined {
    return this.#services.placeOf(name);
  }

  services(): IterableIterator<CompiledService> {
    return this.#services.all();
  }

  serviceBroken(name: string): boolean {
    return this.#services.isBroken(name);
  }

  /** Null when there is no such rule or it could not be loaded. */
  rule(name: string): CompiledRule | null {
    return this.#rules.get(name) ?? null;
  }

  /** The domain that answers for a canonical host without port. */
  domainOf(host: string): CompiledDomain | undefined {
    return this.#claims.find(host);
  }

  /** Who owns which host; for Explain. */
  get claims(): HostClaims {
    return this.#claims;
  }

  domain(name: string): CompiledDomain | undefined {
    return this.#domains.get(name);
  }

  /** Whether there is no domain at all: nobody has set up a site yet. */
  get empty(): boolean {
    return this.#domains.size === 0;
  }

  /** Whether any domain asks its visitors for certificates. */
  get verifiesClients(): boolean {
    return this.#asking.size > 0;
  }

  domains(): IterableIterator<CompiledDomain> {
    return this.#domains.values();
  }

  /** The rules of `settings.firewall`. Settings that could not be loaded count as one rule that could not. */
  get globalRules(): readonly RuleReference[] {
    if (this.#globalRulesEpoch !== this.#epoch) {
      this.#globalRulesEpoch = this.#epoch;
      this.#globalRules =
        this.#settings === null
          ? [{ name: 'settings', rule: null }]
          : references(this, this.#settings.firewall ?? []);
    }
    return this.#globalRules;
  }

  /** Maintenance of everything; null for none. */
  get maintenance(): CompiledMaintenance | null {
    return this.#maintenance;
  }

  limits(): ResolvedLimits {
    return this.#limits;
  }

  via(): boolean {
    return this.#settings?.via ?? true;
  }

  /** The object `settings`; empty when there is none. */
  settings(): Settings {
    return this.#settings ?? {};
  }

  get defaultBrand(): string | null {
    return this.#settings?.pages ?? null;
  }

  page(name: string): Page | undefined {
    return this.#pages.get(name);
  }

  pages(): IterableIterator<Page> {
    return this.#pages.values();
  }

  listener(name: string): CompiledListener | undefined {
    return this.#listeners.get(name);
  }

  *listeners(): IterableIterator<Listener> {
    for (const { doc } of this.#listeners.values()) yield doc;
  }

  certificates(): IterableIterator<Certificate> {
    return this.#certificates.values();
  }

  certificate(name: string): Certificate | undefined {
    return this.#certificates.get(name);
  }

  /** The opened secret, e.g. `certificate/<digest>` or `cookie-key`. */
  secret(name: string): string | undefined {
    return this.#secrets.get(name);
  }

  /** The pair found in the folder `certs`; null when there is none. */
  defaultCertificate(): DefaultCertificateDoc | null {
    return this.#defaultCertificate;
  }

  #set(entry: TableEntry, patch: Patch): void {
    const { kind, name } = entry;
    switch (kind) {
      case 'rule': {
        const rule = parse('rule', entry);
        if (rule === null) this.#rules.delete(name);
        else this.#rules.set(name, compileRule(rule, this.#country));
        this.#epoch++;
        return;
      }
      case 'service':
        if (this.#services.isBroken(name)) this.#epoch++;
        this.#services.setService(name, parse('service', entry));
        return;
      case 'domain':
        this.#setDomain(name, parse('domain', entry), patch);
        return;
      case 'settings':
        this.#setSettings(parse('settings', entry) ?? {}, patch);
        return;
      case 'page':
        put(this.#pages, name, parse('page', entry));
        patch.brands.add(name);
        return;
      case 'listener':
        put(this.#listeners, name, compileListener(parse('listener', entry)));
        patch.listeners = true;
        return;
      case 'certificate':
        put(this.#certificates, name, parse('certificate', entry));
        patch.certificates = true;
        return;
      case 'members':
        this.#services.setMembers(name, entry.doc === null ? undefined : membersSchema.parse(entry.doc));
        return;
      case 'secret':
        put(this.#secrets, name, entry.doc === null ? null : textOf(entry, 'value'));
        patch.certificates = true;
        return;
      case 'defaultCertificate':
        this.#defaultCertificate =
          entry.doc === null
            ? null
            : { certificate: textOf(entry, 'certificate'), key: textOf(entry, 'key') };
        patch.certificates = true;
        return;
    }
  }

  #setDomain(name: string, doc: Domain | null, patch: Patch): void {
    const before = this.#domains.get(name);
    const domain = doc === null ? null : compileDomain(doc);
    this.#claim(name, domain, doc === null ? [] : claimedHosts(doc), patch);
    const hadCertificates = before?.doc?.clientCertificates ?? null;
    const hasCertificates = doc?.clientCertificates ?? null;
    if (hadCertificates?.ca !== hasCertificates?.ca) patch.certificates = true;
  }

  #setSettings(settings: Settings, patch: Patch): void {
    this.#maintenance = compileMaintenance(settings.maintenance);
    this.#settings = settings;
    this.#settingsKnown = true;
    this.#limits = resolveLimits(settings);
    this.#epoch++;
    patch.settings = true;
  }

  #claim(name: string, domain: CompiledDomain | null, hosts: readonly string[], patch: Patch): void {
    const conflicts = this.#claims.set(name, domain, hosts);
    put(this.#domains, name, domain);
    if (domain?.clientAuthority) this.#asking.add(name);
    else this.#asking.delete(name);
    for (const { domain: loser, host, owner } of conflicts) {
      patch.rejected.push({
        kind: 'domain',
        name: loser,
        reason: `the host ${host} belongs to the domain ${owner}; remove it from one of the two`,
      });
    }
  }

  /** Whether an earlier version of the object is in force. */
  #hasGood({ kind, name }: TableEntry): boolean {
    switch (kind) {
      case 'rule':
        return this.rule(name) !== null;
      case 'domain':
        return this.#domains.get(name)?.broken === null;
      case 'service':
        return this.#services.has(name);
      case 'settings':
        return this.#settingsKnown && this.#settings !== null;
      default:
        return true;
    }
  }

  /** The object exists but cannot be used: whoever depends on it is refused. */
  #break(entry: TableEntry, claims: readonly string[], patch: Patch): void {
    const { kind, name } = entry;
    switch (kind) {
      case 'rule':
        this.#rules.set(name, null);
        this.#epoch++;
        return;
      case 'domain': {
        const reason = entry.broken?.reason ?? 'its document is not valid';
        this.#claim(name, brokenDomain(name, reason), usableHosts(name, claims), patch);
        return;
      }
      case 'service':
        this.#services.break(name);
        this.#epoch++;
        return;
      case 'settings':
        this.#settings = null;
        this.#epoch++;
        patch.settings = true;
        return;
      case 'page':
        put(this.#pages, name, null);
        patch.brands.add(name);
        return;
      case 'listener':
        put(this.#listeners, name, null);
        patch.listeners = true;
        return;
      case 'certificate':
        put(this.#certificates, name, null);
        patch.certificates = true;
        return;
      case 'members':
        this.#services.setMembers(name, undefined);
        return;
      case 'secret':
        put(this.#secrets, name, null);
        patch.certificates = true;
        return;
      case 'defaultCertificate':
        this.#defaultCertificate = null;
        patch.certificates = true;
        return;
    }
  }
}

function compileListener(doc: Listener | null): CompiledListener | null {
  if (doc === null || doc.hosts === undefined) return doc && { doc, hosts: null };
  const hosts = new HostIndex<string>();
  for (const [pattern, service] of Object.entries(doc.hosts)) hosts.set(pattern, pattern, service);
  return { doc, hosts };
}

function put<T>(map: Map<string, T>, name: string, value: T | null): void {
  if (value === null) map.delete(name);
  else map.set(name, value);
}

/** The valid object of an entry; null for a removal. Throws an Error that names every problem. */
function parse<K extends Kind>(kind: K, entry: TableEntry): ObjectOf[K] | null {
  if (entry.doc === null) return null;
  const result = parseObject(kind, entry.doc, 'ignore');
  if (!result.ok) {
    throw new Error(
      result.problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; '),
    );
  }
  const name = nameOf(kind, result.value);
  if (name !== entry.name)
    throw new Error(`the document is named ${name}; its name and its place must be the same`);
  return result.value;
}

function textOf(entry: TableEntry, field: string): string {
  const value = entry.doc?.[field];
  if (typeof value !== 'string') throw new Error(`${field}: expected a text`);
  return value;
}

/** The hosts that a document means to claim, as far as it can be read at all. */
function claimsOf(entry: TableEntry): readonly string[] {
  const aliases: unknown = entry.doc?.['aliases'];
  return Array.isArray(aliases) ? aliases.filter((alias) => typeof alias === 'string') : [];
}

/** The name of a domain and its other claims, those left out that are no host. */
function usableHosts(name: string, claims: readonly string[]): string[] {
  return [name, ...claims].flatMap((text) => {
    const host = canonicalHost(text);
    return typeof host === 'string' ? [host] : [];
  });
}

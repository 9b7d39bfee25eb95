/**
 * Lets only usable objects into the table. A bad one is quarantined: its last good version stays in force; without
 * one it still claims its hosts and answers 503. Nothing that a document holds can cost more than its own rejection.
 */
import type { Log } from '../../shared/log.ts';
import { claimedHosts } from '../../shared/model/domain.ts';
import { KINDS, type Kind, parseObject } from '../../shared/model/kinds.ts';
import type { Quarantined } from '../../shared/model/live.ts';
import type { EntryKind, RejectedEntry, TableEntry } from '../../shared/routing/entry.ts';
import { Table } from '../../shared/routing/table.ts';
import { absurdity, type PlainDocument } from './documents.ts';

/** Reasons are cut to this many characters: a bad document may have thousands of problems. */
const MAX_REASON = 300;
const MAX_CLAIMS = 1_000;
/** What a visitor meets when an object of these kinds has no good version; of the others: 503. */
const WITHOUT: Partial<Record<EntryKind, string>> = {
  listener: 'its port stays closed',
  certificate: 'its hosts are served with another certificate that fits, or the default one',
  page: 'the default pages take its place',
};

/** A new state of an object; null deletes it. */
export interface ObjectChange {
  readonly kind: EntryKind;
  readonly name: string;
  readonly doc: PlainDocument | null;
}

/** What a kind demands beyond its schema: says why an object cannot be used, or null. */
export type Demand = (kind: EntryKind, doc: PlainDocument) => string | null;

export class Guard {
  /** Everything that was let in, compiled by the code that serving processes use. */
  readonly table = new Table({ country: () => null });
  readonly #log: Log;
  readonly #demand: Demand;
  readonly #quarantined = new Map<string, Quarantined>();
  readonly #admitted = new Map<string, TableEntry>();
  readonly #services = new Set<string>();
  /** Null after a domain changed. */
  #conflictList: readonly Quarantined[] | null = null;

  constructor(log: Log, demand: Demand = () => null) {
    this.#log = log;
    this.#demand = demand;
  }

  /** Takes over entries that are known to be good (or known to be broken). */
  seed(entries: readonly TableEntry[]): void {
    for (const entry of entries) {
      this.#admitted.set(keyOf(entry), entry);
      if (entry.broken !== undefined) this.#note(entry, entry.broken.reason, entry.doc !== null);
    }
    this.#apply(entries);
  }

  /** The entries that bring `changes` about; quarantined objects appear only if they have no good version. */
  admit(changes: readonly ObjectChange[]): TableEntry[] {
    return changes.flatMap((change) => this.#admit(change) ?? []);
  }

  /** Names of services that were compiled anew, or are gone, since the last call. */
  takeServices(): string[] {
    const names = [...this.#services];
    this.#services.clear();
    return names;
  }

  /** What was last let in under `kind/name`, good or broken. */
  admitted(kind: EntryKind, name: string): TableEntry | undefined {
    return this.#admitted.get(keyOf({ kind, name }));
  }

  /**
   * Serving processes could not use these entries, or died of them; `confirmed` tells what they hold instead. Returns
   * what they must get: an entry that fails closed for each object without a good version.
   */
  refuse(
    entries: readonly { readonly kind: EntryKind; readonly name: string }[],
    reason: string,
    confirmed: ReadonlyMap<string, TableEntry>,
  ): TableEntry[] {
    return entries.flatMap(({ kind, name }) => {
      const key = keyOf({ kind, name });
      const good = confirmed.get(key);
      if (good !== undefined) {
        this.#restore(good);
        this.#note({ kind, name }, reason, good.broken === undefined);
        return [];
      }
      const broken = brokenEntry(kind, name, this.#admitted.get(key)?.doc ?? null, reason);
      this.#restore(broken);
      this.#note(broken, reason, false);
      return [broken];
    });
  }

  /** Whether an object is in quarantine, or a domain lost a host to another: then a rejection of it is no news. */
  isKnown(rejected: RejectedEntry): boolean {
    if (this.#quarantined.has(keyOf(rejected))) return true;
    return rejected.kind === 'domain' && this.#conflicts().some(({ name }) => name === rejected.name);
  }

  /** Objects that could not be loaded, and domains that lost a host to another domain, by kind and name. */
  quarantined(): Quarantined[] {
    return [...this.#quarantined.values(), ...this.#conflicts()].sort(
      (a, b) => compare(a.kind, b.kind) || compare(a.name, b.name),
    );
  }

  #conflicts(): readonly Quarantined[] {
    if (this.#conflictList !== null) return this.#conflictList;
    const conflicts: Quarantined[] = [];
    for (const domain of this.table.domains()) {
      if (domain.doc === null || domain.broken !== null) continue;
      for (const host of claimedHosts(domain.doc)) {
        const owner = this.table.claims.ownerOf(host);
        if (owner === undefined || owner.name === domain.name) continue;
        const reason = `the host ${host} belongs to the domain ${owner.name}; remove it from one of the two`;
        conflicts.push({ kind: 'domain', name: domain.name, reason, lastGood: true });
        break;
      }
    }
    this.#conflictList = conflicts;
    return conflicts;
  }

  #admit(change: ObjectChange): TableEntry | null {
    const { kind, name, doc } = change;
    const key = keyOf(change);
    if (doc === null) {
      this.#quarantined.delete(key);
      const known = this.#admitted.delete(key);
      this.#apply([{ kind, name, doc: null }]);
      return known ? { kind, name, doc: null } : null;
    }
    const entry = this.#tryValidate(kind, name, doc);
    const problem = typeof entry === 'string' ? entry : this.#compile(entry);
    if (problem === null && typeof entry !== 'string') {
      if (this.#quarantined.delete(key)) {
        this.#log.info('object_released', `${key} is valid now and in force`, { object: key });
      }
      this.#admitted.set(key, entry);
      return entry;
    }
    const before = this.#admitted.get(key);
    const reason = (problem ?? '').slice(0, MAX_REASON);
    const lastGood = before !== undefined && before.broken === undefined;
    this.#note(change, reason, lastGood);
    if (lastGood) return null;
    const broken = brokenEntry(kind, name, doc, reason);
    this.#restore(broken);
    return broken;
  }

  #tryValidate(kind: EntryKind, name: string, doc: PlainDocument): TableEntry | string {
    try {
      return this.#validate(kind, name, doc);
    } catch (error) {
      return `it cannot be validated: ${(error as Error).message}`;
    }
  }

  /** The entry of a valid document in its long form, or what is wrong with it. */
  #validate(kind: EntryKind, name: string, doc: PlainDocument): TableEntry | string {
    const absurd = absurdity(doc);
    if (absurd !== null) return absurd;
    if (!isKind(kind)) return { kind, name, doc };
    const result = parseObject(kind, doc, 'ignore');
    if (!result.ok) {
      const shown = result.problems
        .slice(0, 3)
        .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
      const more = result.problems.length - shown.length;
      return more > 0 ? `${shown.join('; ')}; and ${more} more` : shown.join('; ');
    }
    if (result.ignored.length > 0) {
      this.#log.warn('fields_ignored', `${kind} ${name} has fields that this version does not know`, {
        object: `${kind}/${name}`,
        fields: result.ignored.slice(0, 20),
      });
    }
    const value = result.value as unknown as PlainDocument;
    return this.#demand(kind, value) ?? { kind, name, doc: value };
  }

  /** Compiles an entry into the table; says why that failed. */
  #compile(entry: TableEntry): string | null {
    const before = entry.kind === 'domain' ? this.table.domain(entry.name) : undefined;
    let rejected: readonly RejectedEntry[];
    try {
      rejected = this.#apply([entry]);
    } catch (error) {
      return `it cannot be compiled: ${(error as Error).message}`;
    }
    const own = rejected.find(({ kind, name }) => kind === entry.kind && name === entry.name);
    if (own === undefined) return null;
    const after = entry.kind === 'domain' ? this.table.domain(entry.name) : undefined;
    // A domain that only lost a host to another one is in force with the rest.
    if (after !== undefined && after !== before && after.broken === null) return null;
    return own.reason;
  }

  #restore(entry: TableEntry): void {
    this.#admitted.set(keyOf(entry), entry);
    this.#apply([entry]);
  }

  #apply(entries: readonly TableEntry[]): readonly RejectedEntry[] {
    if (entries.some(({ kind }) => kind === 'domain')) this.#conflictList = null;
    const change = this.table.apply(entries);
    for (const name of change.services) this.#services.add(name);
    return change.rejected;
  }

  #note({ kind, name }: { kind: EntryKind; name: string }, reason: string, lastGood: boolean): void {
    const key = keyOf({ kind, name });
    const known = this.#quarantined.get(key);
    if (known?.reason === reason && known.lastGood === lastGood) return;
    this.#quarantined.set(key, { kind, name, reason, lastGood });
    const effect = lastGood
      ? 'its last good version stays in force'
      : (WITHOUT[kind] ?? 'what depends on it answers 503');
    this.#log.warn('object_quarantined', `${key} cannot be used and ${effect}: ${reason}`, { object: key });
  }
}

/** An object that exists, but fails closed. */
function brokenEntry(kind: EntryKind, name: string, doc: PlainDocument | null, reason: string): TableEntry {
  const aliases: unknown = kind === 'domain' ? doc?.['aliases'] : undefined;
  const claims = Array.isArray(aliases)
    ? aliases
        .slice(0, MAX_CLAIMS)
        .filter((alias): alias is string => typeof alias === 'string' && alias.length <= 512)
    : [];
  return { kind, name, doc: null, broken: { reason, claims: kind === 'domain' ? [name, ...claims] : [] } };
}

function isKind(kind: EntryKind): kind is Kind {
  return (KINDS as readonly string[]).includes(kind);
}

function keyOf({ kind, name }: { readonly kind: EntryKind; readonly name: string }): string {
  return `${kind}/${name}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

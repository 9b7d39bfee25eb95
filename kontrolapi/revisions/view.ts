/**
 * What a change is decided and validated against: the objects by kind and name, who claims a host, who names an
 * object. `State` (the newest known revision) and `Draft` (a state with changes on top) both are one.
 */

import { claimedHosts, type Domain } from '../../shared/model/domain.ts';
import { KINDS, type Kind } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import { type Referrer, referencesOf } from './references.ts';

export type Doc = Readonly<Record<string, unknown>>;

/** An object as it stands: its document in long form and the revision that wrote it. */
export interface Held {
  readonly rev: number;
  readonly doc: Doc;
}

/** An object with where it stands. */
export interface Named extends Held {
  readonly kind: Kind;
  readonly name: string;
}

export interface View {
  get(kind: Kind, name: string): Held | undefined;
  /** All objects of a kind, in no order. */
  entries(kind: Kind): Iterable<readonly [name: string, held: Held]>;
  /** Every object, kinds in an order in which references point backwards. */
  all(): Iterable<Named>;
  /** Names of the domains that claim a host or pattern; more than one only after edits by hand. */
  claimants(host: string): readonly string[];
  /** Objects that name this one. */
  referrers(kind: Kind, name: string): readonly Referrer[];
}

/** Objects of one kind, with the sorted names that lists page through. */
class Shelf {
  readonly objects = new Map<string, Held>();
  #names: readonly string[] | null = null;

  set(name: string, held: Held): void {
    if (!this.objects.has(name)) this.#names = null;
    this.objects.set(name, held);
  }

  delete(name: string): void {
    if (this.objects.delete(name)) this.#names = null;
  }

  get names(): readonly string[] {
    this.#names ??= [...this.objects.keys()].sort();
    return this.#names;
  }
}

/** The objects at the newest revision that this process knows, with the indexes that make validation cheap. */
export class State implements View {
  readonly #shelves = new Map<Kind, Shelf>(KINDS.map((kind) => [kind, new Shelf()]));
  readonly #hosts = new Map<string, string[]>();
  readonly #referrers = new Map<string, Referrer[]>();

  get(kind: Kind, name: string): Held | undefined {
    return this.#shelf(kind).objects.get(name);
  }

  entries(kind: Kind): Iterable<readonly [string, Held]> {
    return this.#shelf(kind).objects;
  }

  /** Sorted; the same array until a name comes or goes. */
  names(kind: Kind): readonly string[] {
    return this.#shelf(kind).names;
  }

  count(kind: Kind): number {
    return this.#shelf(kind).objects.size;
  }

  *all(): Iterable<Named> {
    for (const kind of KINDS) {
      for (const name of this.names(kind)) {
        const held = this.get(kind, name);
        if (held !== undefined) yield { kind, name, ...held };
      }
    }
  }

  claimants(host: string): readonly string[] {
    return this.#hosts.get(host) ?? [];
  }

  referrers(kind: Kind, name: string): readonly Referrer[] {
    return this.#referrers.get(`${kind}/${name}`) ?? [];
  }

  /** Sets one object, or removes it with null. */
  put(kind: Kind, name: string, held: Held | null): void {
    const shelf = this.#shelf(kind);
    const before = shelf.objects.get(name);
    if (before !== undefined) this.#unindex(kind, name, before.doc);
    if (held === null) {
      shelf.delete(name);
      return;
    }
    shelf.set(name, held);
    this.#index(kind, name, held.doc);
  }

  clear(): void {
    for (const kind of KINDS) this.#shelves.set(kind, new Shelf());
    this.#hosts.clear();
    this.#referrers.clear();
  }

  #shelf(kind: Kind): Shelf {
    return this.#shelves.get(kind) as Shelf;
  }

  #index(kind: Kind, name: string, doc: Doc): void {
    for (const reference of referencesOf(kind, doc)) {
      append(this.#referrers, `${reference.kind}/${reference.name}`, { kind, name, path: reference.path });
    }
    if (kind === 'domain') for (const host of hostsOf(doc)) append(this.#hosts, host, name);
  }

  #unindex(kind: Kind, name: string, doc: Doc): void {
    for (const reference of referencesOf(kind, doc)) {
      const key = `${reference.kind}/${reference.name}`;
      drop(this.#referrers, key, (entry) => entry.kind === kind && entry.name === name);
    }
    if (kind === 'domain') {
      for (const host of hostsOf(doc)) drop(this.#hosts, host, (entry) => entry === name);
    }
  }
}

/** A view with changes on top of another one; what validation looks at before anything is written. */
export class Draft implements View {
  readonly #base: View;
  readonly #changed = new Map<string, Change>();

  constructor(base: View, changes: readonly Change[]) {
    this.#base = base;
    for (const change of changes) this.#changed.set(`${change.kind}/${change.name}`, change);
  }

  get(kind: Kind, name: string): Held | undefined {
    const change = this.#changed.get(`${kind}/${name}`);
    if (change === undefined) return this.#base.get(kind, name);
    return change.doc === null ? undefined : { rev: 0, doc: change.doc };
  }

  *entries(kind: Kind): Iterable<readonly [string, Held]> {
    for (const entry of this.#base.entries(kind)) {
      if (!this.#changed.has(`${kind}/${entry[0]}`)) yield entry;
    }
    for (const change of this.#changed.values()) {
      if (change.kind === kind && change.doc !== null) yield [change.name, { rev: 0, doc: change.doc }];
    }
  }

  *all(): Iterable<Named> {
    for (const kind of KINDS) {
      for (const [name, held] of this.entries(kind)) yield { kind, name, ...held };
    }
  }

  claimants(host: string): readonly string[] {
    const claimants = this.#base.claimants(host).filter((name) => !this.#changed.has(`domain/${name}`));
    for (const { kind, name, doc } of this.#changed.values()) {
      if (kind === 'domain' && doc !== null && hostsOf(doc).includes(host)) claimants.push(name);
    }
    return claimants;
  }

  referrers(kind: Kind, name: string): readonly Referrer[] {
    const unchanged = this.#base
      .referrers(kind, name)
      .filter((referrer) => !this.#changed.has(`${referrer.kind}/${referrer.name}`));
    const changed = [...this.#changed.values()].flatMap((change) =>
      change.doc === null
        ? []
        : referencesOf(change.kind, change.doc)
            .filter((reference) => reference.kind === kind && reference.name === name)
            .map((reference) => ({ kind: change.kind, name: change.name, path: reference.path })),
    );
    return [...unchanged, ...changed];
  }
}

function hostsOf(doc: Doc): string[] {
  return claimedHosts(doc as unknown as Domain);
}

function append<T>(index: Map<string, T[]>, key: string, value: T): void {
  const list = index.get(key);
  if (list === undefined) index.set(key, [value]);
  else list.push(value);
}

/** Removes every entry that `matches`; lists are replaced, not changed, since views hand them out. */
function drop<T>(index: Map<string, T[]>, key: string, matches: (value: T) => boolean): void {
  const rest = (index.get(key) ?? []).filter((value) => !matches(value));
  if (rest.length === 0) index.delete(key);
  else index.set(key, rest);
}

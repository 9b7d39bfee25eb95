/**
 * What a change is decided and validated against: the objects by kind and name, who claims a host, who names an
 * object. `State` (the newest known revision) and `Draft` (a state with changes on top) both are one.
 */

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
  /** By the object that is named, then by the one that names it. */
  readonly #referrers = new Map<string, Map<string, Referrer[]>>();

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
    return [...(this.#referrers.get(`${kind}/${name}`)?.values() ?? [])].flat();
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

  #shelf(kind: Kind): Shelf {
    return this.#shelves.get(kind) as Shelf;
  }

  #index(kind: Kind, name: string, doc: Doc): void {
    for (const reference of referencesOf(kind, doc)) {
      const target = `${reference.kind}/${reference.name}`;
      const sources = this.#referrers.get(target) ?? new Map<string, Referrer[]>();
      this.#referrers.set(target, sources);
      append(sources, `${kind}/${name}`, { kind, name, path: reference.path });
    }
    if (kind === 'domain') for (const host of hostsOf(doc)) append(this.#hosts, host, name);
  }

  #unindex(kind: Kind, name: string, doc: Doc): void {
    for (const reference of referencesOf(kind, doc)) {
      const target = `${reference.kind}/${reference.name}`;
      const sources = this.#referrers.get(target);
      sources?.delete(`${kind}/${name}`);
      if (sources?.size === 0) this.#referrers.delete(target);
    }
    if (kind === 'domain') for (const host of hostsOf(doc)) drop(this.#hosts, host, name);
  }
}

/** A view with changes on top of another one; what validation looks at before anything is written. */
export class Draft implements View {
  readonly #base: View;
  readonly #changed = new Map<string, Change>();
  /** The changed objects alone, with their indexes: what many changes ask of each other must not cost n². */
  readonly #changes = new State();

  constructor(base: View, changes: readonly Change[]) {
    this.#base = base;
    for (const change of changes) {
      const { kind, name, doc } = change;
      this.#changed.set(`${kind}/${name}`, change);
      this.#changes.put(kind, name, doc === null ? null : { rev: 0, doc });
    }
  }

  get(kind: Kind, name: string): Held | undefined {
    return this.#has(kind, name) ? this.#changes.get(kind, name) : this.#base.get(kind, name);
  }

  *entries(kind: Kind): Iterable<readonly [string, Held]> {
    for (const entry of this.#base.entries(kind)) if (!this.#has(kind, entry[0])) yield entry;
    yield* this.#changes.entries(kind);
  }

  *all(): Iterable<Named> {
    for (const kind of KINDS) {
      for (const [name, held] of this.entries(kind)) yield { kind, name, ...held };
    }
  }

  claimants(host: string): readonly string[] {
    const unchanged = this.#base.claimants(host).filter((name) => !this.#has('domain', name));
    return [...unchanged, ...this.#changes.claimants(host)];
  }

  referrers(kind: Kind, name: string): readonly Referrer[] {
    const unchanged = this.#base.referrers(kind, name).filter((at) => !this.#has(at.kind, at.name));
    return [...unchanged, ...this.#changes.referrers(kind, name)];
  }

  #has(kind: Kind, name: string): boolean {
    return this.#changed.has(`${kind}/${name}`);
  }
}

/** Tolerates any shape: documents edited by hand are part of the state until somebody repairs them. */
function hostsOf({ name, aliases }: Doc): string[] {
  const hosts: unknown[] = [name, ...(Array.isArray(aliases) ? aliases : [])];
  return hosts.filter((host) => typeof host === 'string');
}

function append<T>(index: Map<string, T[]>, key: string, value: T): void {
  const list = index.get(key);
  if (list === undefined) index.set(key, [value]);
  else list.push(value);
}

/** Removes `value`; lists are replaced, not changed, since views hand them out. */
function drop<T>(index: Map<string, T[]>, key: string, value: T): void {
  const rest = (index.get(key) ?? []).filter((entry) => entry !== value);
  if (rest.length === 0) index.delete(key);
  else index.set(key, rest);
}

/**
 * Which domain has which host. Two domains should never claim the same one (the API refuses it), but documents
 * edited by hand can: then a domain that could be loaded goes before one that could not, and the lexicographically
 * first name before the others, whatever the order in which they came.
 */
import type { CompiledDomain } from './compile-domain.ts';
import { compare, HostIndex } from './host-index.ts';

/** A claim that another domain has. */
export interface HostConflict {
  readonly domain: string;
  readonly host: string;
  readonly owner: string;
}

export class HostClaims {
  readonly #index = new HostIndex<CompiledDomain>();
  /** Claimants of each host pattern, the owner first. */
  readonly #claimants = new Map<string, CompiledDomain[]>();
  readonly #patterns = new Map<string, readonly string[]>();

  find(host: string): CompiledDomain | undefined {
    return this.#index.find(host);
  }

  /** The owner of a host pattern in canonical form. */
  ownerOf(pattern: string): CompiledDomain | undefined {
    return this.#claimants.get(pattern)?.[0];
  }

  patterns(): IterableIterator<string> {
    return this.#claimants.keys();
  }

  /**
   * Makes the domain `name` claim `patterns` (canonical) and nothing else; null gives up all it has. Answers the
   * conflicts about the hosts it had or has now. Throws an Error, changing nothing, when a pattern does not compile.
   */
  set(name: string, domain: CompiledDomain | null, patterns: readonly string[]): HostConflict[] {
    const probe = new HostIndex<null>();
    for (const pattern of patterns) if (pattern.startsWith('~')) probe.set(pattern, name, null);
    const before = this.#patterns.get(name) ?? [];
    for (const pattern of before) this.#claim(pattern, name, null);
    if (domain === null) this.#patterns.delete(name);
    else {
      this.#patterns.set(name, [...new Set(patterns)]);
      for (const pattern of patterns) this.#claim(pattern, name, domain);
    }
    const touched = new Set([...before, ...patterns]);
    for (const pattern of touched) {
      const owner = this.#claimants.get(pattern)?.[0];
      if (owner === undefined) this.#index.delete(pattern);
      else this.#index.set(pattern, owner.name, owner);
    }
    return [...touched].flatMap((pattern) => this.#conflictsOf(pattern));
  }

  #claim(pattern: string, name: string, domain: CompiledDomain | null): void {
    const others = (this.#claimants.get(pattern) ?? []).filter((claimant) => claimant.name !== name);
    if (domain !== null) others.push(domain);
    others.sort((a, b) => Number(a.broken !== null) - Number(b.broken !== null) || compare(a.name, b.name));
    if (others.length === 0) this.#claimants.delete(pattern);
    else this.#claimants.set(pattern, others);
  }

  #conflictsOf(pattern: string): HostConflict[] {
    const [owner, ...others] = this.#claimants.get(pattern) ?? [];
    if (owner === undefined) return [];
    return others
      .filter((claimant) => claimant.broken === null)
      .map((claimant) => ({ domain: claimant.name, host: pattern, owner: owner.name }));
  }
}

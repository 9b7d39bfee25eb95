/**
 * From a host to what claims it: exact, `*.x` (one label), `**.x` (any depth, longest first), regular expressions
 * (in order of the claimant's name), `*`. Names are looked up in Maps, never as properties, and an exact host
 * costs one look-up however many there are.
 */
import { compilePattern, type Pattern } from '../patterns.ts';

interface HostRegex<T> {
  readonly pattern: string;
  readonly compiled: Pattern;
  /** Name of the claimant; the order among regular expressions, then the pattern itself. */
  readonly order: string;
  readonly value: T;
}

export class HostIndex<T> {
  readonly #exact = new Map<string, T>();
  readonly #oneLabel = new Map<string, T>();
  readonly #anyDepth = new Map<string, T>();
  readonly #regexes: HostRegex<T>[] = [];
  #fallback: T | undefined;

  /**
   * Makes `pattern` (canonical, as `canonicalHost` gives it) lead to `value`, in place of what it led to. `order`
   * is the claimant's name. Throws an Error when a regular expression does not compile.
   */
  set(pattern: string, order: string, value: T): void {
    if (pattern === '*') this.#fallback = value;
    else if (pattern.startsWith('~')) this.#setRegex(pattern, order, value);
    else if (pattern.startsWith('**.')) this.#anyDepth.set(pattern.slice(3), value);
    else if (pattern.startsWith('*.')) this.#oneLabel.set(pattern.slice(2), value);
    else this.#exact.set(pattern, value);
  }

  delete(pattern: string): void {
    if (pattern === '*') this.#fallback = undefined;
    else if (pattern.startsWith('~')) this.#deleteRegex(pattern);
    else if (pattern.startsWith('**.')) this.#anyDepth.delete(pattern.slice(3));
    else if (pattern.startsWith('*.')) this.#oneLabel.delete(pattern.slice(2));
    else this.#exact.delete(pattern);
  }

  /** What claims `host` (canonical, without port), or undefined. */
  find(host: string): T | undefined {
    const exact = this.#exact.get(host);
    return exact === undefined ? this.#findPattern(host) : exact;
  }

  #findPattern(host: string): T | undefined {
    let dot = host.indexOf('.');
    if (dot > 0) {
      const oneLabel = this.#oneLabel.get(host.slice(dot + 1));
      if (oneLabel !== undefined) return oneLabel;
      if (this.#anyDepth.size > 0) {
        for (; dot !== -1; dot = host.indexOf('.', dot + 1)) {
          const anyDepth = this.#anyDepth.get(host.slice(dot + 1));
          if (anyDepth !== undefined) return anyDepth;
        }
      }
    }
    for (const entry of this.#regexes) if (entry.compiled.matches(host)) return entry.value;
    return this.#fallback;
  }

  #setRegex(pattern: string, order: string, value: T): void {
    const compiled = compilePattern(pattern.slice(1));
    this.#deleteRegex(pattern);
    let low = 0;
    let high = this.#regexes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#regexes[middle] as HostRegex<T>; // middle < length
      if ((compare(entry.order, order) || compare(entry.pattern, pattern)) < 0) low = middle + 1;
      else high = middle;
    }
    this.#regexes.splice(low, 0, { pattern, compiled, order, value });
  }

  #deleteRegex(pattern: string): void {
    const index = this.#regexes.findIndex((entry) => entry.pattern === pattern);
    if (index !== -1) this.#regexes.splice(index, 1);
  }
}

/** By code units: the same order on every machine. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

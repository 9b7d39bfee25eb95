/** Several whitelists must all be met: two that share nothing refuse everyone, which is hardly meant. */
import ipaddr from 'ipaddr.js';
import type { Rule } from '../../shared/model/rule.ts';
import type { View } from '../revisions/view.ts';

/** Lists whose product of lengths is greater are not compared: a warning is not worth a stall. */
const MAX_PAIRS = 10_000;
/** Comparisons for one state, of addresses, pairs and names: some 0.3 s. What is left then goes without a warning. */
const MAX_COMPARISONS = 300_000;

type Cidr = [ipaddr.IPv4 | ipaddr.IPv6, number];

const OF_VIEWS = new WeakMap<View, Whitelists>();

/**
 * Compares whitelists of one state; a pair is compared once, however many domains and routes name both, and all of
 * them together cost a bounded time.
 */
export class Whitelists {
  readonly #view: View;
  readonly #pairs = new Map<string, boolean>();
  readonly #known = new Map<string, Rule | null>();
  #left = MAX_COMPARISONS;

  /** Those of a state, the same for everyone who asks. */
  static of(view: View): Whitelists {
    const known = OF_VIEWS.get(view);
    if (known !== undefined) return known;
    const made = new Whitelists(view);
    OF_VIEWS.set(view, made);
    return made;
  }

  private constructor(view: View) {
    this.#view = view;
  }

  /** Nothing more is compared for this state. */
  get exhausted(): boolean {
    return this.#left <= 0;
  }

  /** A sentence about the first two whitelists among `names` that nobody can meet both, or null. */
  contradiction(names: readonly string[]): string | null {
    this.#left -= names.length;
    if (this.exhausted) return null;
    const lists = [...new Set(names)].flatMap((name) => this.#whitelist(name) ?? []);
    for (const [index, one] of lists.entries()) {
      for (const other of lists.slice(index + 1)) {
        if (this.exhausted) return null;
        this.#left--;
        if (this.#meet(one, other)) continue;
        return `nobody can meet both whitelists ${one.name} and ${other.name}: everyone is refused`;
      }
    }
    return null;
  }

  #whitelist(name: string): Rule | null {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const found = this.#read(name);
    this.#known.set(name, found);
    return found;
  }

  #read(name: string): Rule | null {
    const rule = this.#view.get('rule', name)?.doc as unknown as Rule | undefined;
    const counts = rule?.list === 'whitelist' && rule.enabled !== false && rule.dryRun !== true;
    return counts ? rule : null;
  }

  #meet(one: Rule, other: Rule): boolean {
    const pair = `${one.name} ${other.name}`;
    const known = this.#pairs.get(pair);
    if (known !== undefined) return known;
    let meets = true;
    this.#left -= pairsOf(one, other);
    try {
      meets = overlap(one, other);
    } catch {
      // A rule that was edited by hand and cannot be read is reported elsewhere.
    }
    this.#pairs.set(pair, meets);
    return meets;
  }
}

/** How many comparisons `overlap` makes at most. */
function pairsOf({ match: a = [] }: Rule, { match: b = [] }: Rule): number {
  return Math.min(a.length * b.length, MAX_PAIRS);
}

function overlap(one: Rule, other: Rule): boolean {
  const a = one.match ?? [];
  const b = other.match ?? [];
  if (one.type !== other.type || a.length * b.length > MAX_PAIRS) return true;
  if (one.type === 'country') {
    const codes = new Set(a.map((code) => code.toUpperCase()));
    return b.some((code) => codes.has(code.toUpperCase()));
  }
  if (one.type !== 'ip') return true;
  const left = a.map(cidrOf);
  const right = b.map(cidrOf);
  return left.some((x) => right.some((y) => contains(x, y) || contains(y, x)));
}

function cidrOf(text: string): Cidr {
  if (text.includes('/')) return ipaddr.parseCIDR(text);
  const address = ipaddr.process(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

function contains(outer: Cidr, inner: Cidr): boolean {
  return outer[0].kind() === inner[0].kind() && outer[1] <= inner[1] && inner[0].match(outer[0], outer[1]);
}

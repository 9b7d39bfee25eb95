/** Several whitelists must all be met: two that share nothing refuse everyone, which is hardly meant. */
import ipaddr from 'ipaddr.js';
import type { Rule } from '../../shared/model/rule.ts';
import type { View } from '../revisions/view.ts';

/** Lists whose product of lengths is greater are not compared: a warning is not worth a stall. */
const MAX_PAIRS = 10_000;

type Cidr = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** Compares whitelists of one state; a pair is compared once, however many routes name both. */
export class Whitelists {
  readonly #view: View;
  readonly #pairs = new Map<string, boolean>();

  constructor(view: View) {
    this.#view = view;
  }

  /** A sentence about the first two whitelists among `names` that nobody can meet both, or null. */
  contradiction(names: readonly string[]): string | null {
    const lists = [...new Set(names)].flatMap((name) => this.#whitelist(name) ?? []);
    for (const [index, one] of lists.entries()) {
      for (const other of lists.slice(index + 1)) {
        if (this.#meet(one, other)) continue;
        return `nobody can meet both whitelists ${one.name} and ${other.name}: everyone is refused`;
      }
    }
    return null;
  }

  #whitelist(name: string): Rule | null {
    const rule = this.#view.get('rule', name)?.doc as unknown as Rule | undefined;
    const counts = rule?.list === 'whitelist' && rule.enabled !== false && rule.dryRun !== true;
    return counts ? rule : null;
  }

  #meet(one: Rule, other: Rule): boolean {
    const pair = `${one.name} ${other.name}`;
    const known = this.#pairs.get(pair);
    if (known !== undefined) return known;
    let meets = true;
    try {
      meets = overlap(one, other);
    } catch {
      // A rule that was edited by hand and cannot be read is reported elsewhere.
    }
    this.#pairs.set(pair, meets);
    return meets;
  }
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

/** Several whitelists must all be met: two that share nothing refuse everyone, which is hardly meant. */
import ipaddr from 'ipaddr.js';
import type { Rule } from '../../shared/model/rule.ts';
import type { View } from '../revisions/view.ts';

/** Lists whose product of lengths is greater are not compared: a warning is not worth a stall. */
const MAX_PAIRS = 250_000;

type Cidr = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** A sentence about the first two whitelists among `names` that nobody can meet both, or null. */
export function contradiction(names: readonly string[], view: View): string | null {
  const lists = [...new Set(names)].flatMap((name) => {
    const rule = view.get('rule', name)?.doc as unknown as Rule | undefined;
    const counts =
      rule !== undefined && rule.list === 'whitelist' && rule.enabled !== false && rule.dryRun !== true;
    return counts ? [rule] : [];
  });
  for (const [index, one] of lists.entries()) {
    for (const other of lists.slice(index + 1)) {
      if (one.type !== other.type || overlap(one, other)) continue;
      return `nobody can meet both whitelists ${one.name} and ${other.name}: everyone is refused`;
    }
  }
  return null;
}

function overlap(one: Rule, other: Rule): boolean {
  const a = one.match ?? [];
  const b = other.match ?? [];
  if (a.length * b.length > MAX_PAIRS) return true;
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

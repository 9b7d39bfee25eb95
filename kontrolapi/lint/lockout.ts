/** Rules that would keep out whoever saves them, and whitelists that nobody can meet together. */
import { LOCAL_ADDRESSES } from '../../shared/address.ts';
import { type Kind, SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Rule } from '../../shared/model/rule.ts';
import { compileRule, evaluate, type FirewallSubject } from '../../shared/routing/firewall.ts';
import { country } from '../../shared/routing/geo.ts';
import { Whitelists } from '../resources/whitelists.ts';
import type { Doc, View } from '../revisions/view.ts';

/** Users of a changed rule that are looked at. */
const MAX_USERS = 50;

/** What an object says of who may pass, and where it says so. */
interface Firewall {
  readonly path: string;
  readonly rules: readonly string[];
}

type Compiled = ReturnType<typeof compileRule>;

/** A sentence when the caller's address would be refused by the object's own rules; null for none. */
export function lockout(
  kind: Kind,
  name: string,
  doc: Doc,
  draft: View,
  address: string | null,
  now: number,
): { readonly path: string; readonly message: string } | null {
  // Whoever is on this machine, or behind it, is no visitor; their address says nothing.
  if (address === null || LOCAL_ADDRESSES.has(address)) return null;
  const compiled = new Map<string, Compiled | null>();
  for (const { path, rules } of kind === 'rule' ? ruleInUse(name, draft) : firewallsOf(kind, doc)) {
    const refusal = refusedBy(rules, draft, compiled, address, now);
    if (refusal !== null)
      return { path, message: `rule ${refusal} refuses your own address ${address}; is that meant?` };
  }
  return null;
}

/** For a rule that changed: the first of its users where it contradicts another whitelist. */
export function contradiction(name: string, draft: View): string | null {
  const whitelists = Whitelists.of(draft);
  const global = listOf(draft.get('settings', SETTINGS_NAME)?.doc.firewall);
  if (whitelists.exhausted) return null;
  // A domain names a rule once for each of its routes.
  const users = new Set(draft.referrers('rule', name).flatMap((at) => (at.kind === 'domain' ? at.name : [])));
  for (const user of [...users].slice(0, MAX_USERS)) {
    const doc = draft.get('domain', user)?.doc;
    if (doc === undefined) continue;
    for (const { rules } of firewallsOf('domain', doc)) {
      const told = whitelists.contradiction([...global, ...rules]);
      if (told !== null) return `domain ${user}: ${told}`;
      if (whitelists.exhausted) return null;
    }
  }
  return null;
}

function ruleInUse(name: string, draft: View): Firewall[] {
  return draft.referrers('rule', name).length === 0 ? [] : [{ path: 'match', rules: [name] }];
}

function firewallsOf(kind: Kind, doc: Doc): Firewall[] {
  const own = listOf(doc.firewall);
  const found: Firewall[] = own.length === 0 ? [] : [{ path: 'firewall', rules: own }];
  if (kind !== 'domain' || !Array.isArray(doc.routes)) return found;
  doc.routes.forEach((route: { readonly firewall?: unknown } | null, index) => {
    const rules = listOf(route?.firewall);
    if (rules.length > 0) found.push({ path: `routes.${index}.firewall`, rules: [...own, ...rules] });
  });
  return found;
}

/** `compiled`: rules that were compiled for this object before; many routes name the same ones. */
function refusedBy(
  names: readonly string[],
  draft: View,
  compiled: Map<string, Compiled | null>,
  address: string,
  now: number,
): string | null {
  const references = names.flatMap((name) => {
    let rule = compiled.get(name);
    if (rule === undefined) {
      rule = compiledRule(draft.get('rule', name)?.doc as unknown as Rule | undefined);
      compiled.set(name, rule);
    }
    return rule === null ? [] : [{ name, rule }];
  });
  const subject: FirewallSubject = { address, now, confirmed: () => true };
  return evaluate(references, subject, null, null)?.rule ?? null;
}

function compiledRule(rule: Rule | undefined): Compiled | null {
  try {
    return rule === undefined ? null : compileRule(rule, country);
  } catch {
    // What cannot be loaded is reported where it is saved.
    return null;
  }
}

function listOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
}

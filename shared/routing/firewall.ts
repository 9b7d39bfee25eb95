/**
 * The firewall: rules compiled once, evaluated in order for a client. A rule that cannot be loaded never means
 * "open": whoever names it is refused with 503 (behaviour.md, rule).
 */
import { AddressSet, LOCAL_ADDRESSES } from '../address.ts';
import type { CauseCode } from '../causes.ts';
import type { Rule, RuleList } from '../model/rule.ts';
import { compilePattern } from '../patterns.ts';
import { type CompiledRate, compileRate } from './rate.ts';

/** Looks up the ISO code (upper case) of an address in canonical form; null when it has none that is known. */
export type CountryLookup = (address: string) => string | null;

export interface CompiledRule {
  readonly name: string;
  readonly list: RuleList;
  readonly enabled: boolean;
  readonly dryRun: boolean;
  /** Milliseconds since 1970; infinity for never. */
  readonly expires: number;
  /** What a rule of list `limit` counts; null for the others. */
  readonly rate: CompiledRate | null;
  /** Whether the rule's criterion fits the address (canonical text). */
  matches(address: string): boolean;
}

/**
 * Compiles a rule. Throws an Error that says what is wrong: a pattern or range that is none, or a country rule where
 * `country` is missing or its data cannot be read (it is asked once here, so that no request waits for the data).
 */
export function compileRule(rule: Rule, country: CountryLookup | undefined): CompiledRule {
  return {
    name: rule.name,
    list: rule.list,
    enabled: rule.enabled ?? true,
    dryRun: rule.dryRun ?? false,
    expires: rule.expires ? Date.parse(rule.expires) : Number.POSITIVE_INFINITY,
    rate: rule.rate === undefined ? null : compileRate(rule.name, rule.rate),
    matches: matcherOf(rule, country),
  };
}

function matcherOf(rule: Rule, country: CountryLookup | undefined): (address: string) => boolean {
  const entries = rule.match ?? [];
  switch (rule.type) {
    case 'ip': {
      const set = new AddressSet(entries);
      return (address) => set.has(address);
    }
    case 'ip-regex': {
      const patterns = entries.map(compilePattern);
      return (address) => patterns.some((pattern) => pattern.test(address));
    }
    case 'country':
      return countryMatcher(rule, country);
    // The rates of `limit` rules are counted elsewhere (`FirewallSubject.count`); as a criterion they fit everyone.
    case 'rate':
    case 'all':
      return () => true;
  }
}

function countryMatcher(rule: Rule, country: CountryLookup | undefined): (address: string) => boolean {
  if (country === undefined) throw new Error('no country data is at hand here; use a rule of type ip');
  country('192.0.2.1');
  const codes = new Set(rule.match?.map((code) => code.toUpperCase()));
  // Local addresses have no country; a whitelist must not shut out the site's own machines for that.
  const passesLocal = rule.list === 'whitelist';
  return (address) => {
    const code = country(address);
    return code === null ? passesLocal && LOCAL_ADDRESSES.has(address) : codes.has(code);
  };
}

/** A rule as its user sees it: null when it does not exist or could not be loaded. */
export interface RuleReference {
  readonly name: string;
  readonly rule: CompiledRule | null;
}

/** What the rules are asked about. */
export interface FirewallSubject {
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /**
   * Whether the client may skip the interstitial: it holds a valid cookie, or its request cannot show the page.
   * Null when the cookie cannot be checked for want of a key: then the rule counts as not loadable. Called only
   * where the answer decides.
   */
  confirmed(): boolean | null;
  /** Hears of each rule in force that limits a rate, in the order in which they are asked. */
  count?(name: string, rate: CompiledRate, dryRun: boolean): void;
}

export type RuleOutcome = 'refused' | 'allowed' | 'asked' | 'passed' | 'counted' | 'inert' | 'unloadable';

/** Hears of each rule that is reached; for Explain. `reason` is for people. */
export interface RuleObserver {
  rule(name: string, outcome: RuleOutcome, dryRun: boolean, reason: string): void;
}

/** Hears of each dry-run rule that would have ended something, and for which address. */
export type DryRunHook = (rule: string, outcome: RuleOutcome, address: string) => void;

/** Why the rules end a request; null when they let it pass. */
export interface Refusal {
  readonly cause: Extract<CauseCode, 'rule_blocked' | 'rule_unloadable' | 'securepage'>;
  readonly rule: string;
}

/** Asks the rules of one list (global, domain or route) in order. */
export function evaluate(
  rules: readonly RuleReference[],
  subject: FirewallSubject,
  observer: RuleObserver | null,
  onDryRun: DryRunHook | null,
): Refusal | null {
  for (const { name, rule } of rules) {
    if (rule === null) {
      observer?.rule(name, 'unloadable', false, 'it does not exist or could not be loaded');
      return { cause: 'rule_unloadable', rule: name };
    }
    const outcome = rule.enabled ? outcomeOf(rule, subject) : 'inert';
    if (observer !== null) observer.rule(name, outcome, rule.dryRun, reasonOf(rule, outcome, subject.now));
    if (outcome === 'counted' && rule.rate !== null) {
      subject.count?.(name, rule.rate, rule.dryRun);
      continue;
    }
    const cause = CAUSE_OF[outcome];
    if (rule.dryRun) {
      if (onDryRun !== null && (cause !== null || outcome === 'allowed'))
        onDryRun(name, outcome, subject.address);
    } else if (cause !== null) {
      return { cause, rule: name };
    } else if (outcome === 'allowed') {
      return null;
    }
  }
  return null;
}

const CAUSE_OF: Readonly<Record<RuleOutcome, Refusal['cause'] | null>> = {
  refused: 'rule_blocked',
  asked: 'securepage',
  unloadable: 'rule_unloadable',
  allowed: null,
  passed: null,
  counted: null,
  inert: null,
};

function outcomeOf(rule: CompiledRule, subject: FirewallSubject): RuleOutcome {
  const expired = subject.now >= rule.expires;
  // An expired whitelist refuses everyone: what was for a few is not to become open to all.
  if (rule.list === 'whitelist') return !expired && rule.matches(subject.address) ? 'passed' : 'refused';
  if (expired) return 'inert';
  if (rule.list === 'limit') return 'counted';
  if (!rule.matches(subject.address)) return 'passed';
  if (rule.list === 'blacklist') return 'refused';
  if (rule.list === 'allow') return 'allowed';
  const confirmed = subject.confirmed();
  return confirmed === null ? 'unloadable' : confirmed ? 'passed' : 'asked';
}

function reasonOf(rule: CompiledRule, outcome: RuleOutcome, now: number): string {
  if (!rule.enabled) return 'it is disabled';
  if (now >= rule.expires) {
    return rule.list === 'whitelist' ? 'it has expired, so it refuses everyone' : 'it has expired';
  }
  switch (outcome) {
    case 'refused':
      return rule.list === 'whitelist' ? 'the address is not on it' : 'the address is on it';
    case 'allowed':
      return 'the address is on it; the rest of this list is skipped';
    case 'asked':
      return 'the visitor has not confirmed yet';
    case 'counted':
      return 'the request counts against its rate; with no place left it gets 429';
    case 'unloadable':
      return 'the key for its cookie is missing';
    default:
      return rule.list === 'whitelist' ? 'the address is on it' : 'it does not concern this request';
  }
}

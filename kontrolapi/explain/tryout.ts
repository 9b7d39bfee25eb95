/**
 * Tries a rule on traffic that was seen: what it would have done to each of the last requests of the nodes, judged
 * with the code that judges visitors. Nothing is refused, and nothing is saved.
 */
import type { Rule } from '../../shared/model/rule.ts';
import { compileRule, evaluate, type RuleOutcome } from '../../shared/routing/firewall.ts';
import { country } from '../../shared/routing/geo.ts';

/** A request as a node remembers it, as far as a rule looks at it. */
export interface SeenRequest {
  readonly id: string;
  readonly at: number;
  readonly method: string;
  readonly host: string;
  readonly target: string;
  readonly address: string;
  readonly domain: string | null;
  readonly status: number;
}

export interface Tried {
  /** Requests that were judged, and of when the oldest and the newest are. */
  readonly requests: number;
  readonly from: string | null;
  readonly to: string | null;
  /** What would have become of them. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Those that would have been refused, by address and by domain, most first. */
  readonly addresses: readonly { readonly address: string; readonly requests: number }[];
  readonly domains: readonly { readonly domain: string; readonly requests: number }[];
  /** Some of them, newest first. */
  readonly examples: readonly (SeenRequest & { readonly outcome: string })[];
  readonly note: string | null;
}

const MAX_LISTED = 20;
const PERIODS: Readonly<Record<string, number>> = {
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};
/** Outcomes that a visitor would have noticed. */
const NOTICED: ReadonlySet<string> = new Set(['refused', 'asked', 'limited', 'unloadable']);

/**
 * `concerns`: whether the rule would be asked for a domain (null for none that was found). Throws an Error for a
 * rule that cannot be loaded. The rule counts as enabled, in force and without dry run.
 */
export function tryRule(
  rule: Rule,
  seen: readonly SeenRequest[],
  concerns: (domain: string | null) => boolean,
): Tried {
  const requests = seen.filter(({ domain }) => concerns(domain)).sort((a, b) => a.at - b.at);
  const judge = rule.rate === undefined ? judgeOf(rule) : rateJudge(rule.rate);
  const outcomes: Record<string, number> = {};
  const noticed: (SeenRequest & { readonly outcome: string })[] = [];
  for (const request of requests) {
    const outcome = judge(request);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (NOTICED.has(outcome)) noticed.push({ ...request, outcome });
  }
  return {
    requests: requests.length,
    from: timeOf(requests[0]),
    to: timeOf(requests.at(-1)),
    outcomes,
    addresses: most(noticed.map(({ address }) => address)).map(([address, count]) => ({
      address,
      requests: count,
    })),
    domains: most(noticed.map(({ domain }) => domain ?? '(none)')).map(([domain, count]) => ({
      domain,
      requests: count,
    })),
    examples: noticed.slice(-MAX_LISTED).reverse(),
    note: noteOn(rule),
  };
}

function judgeOf(rule: Rule): (request: SeenRequest) => RuleOutcome {
  const compiled = { ...compileRule(rule, country), enabled: true, dryRun: false };
  return ({ address, at, method }) => {
    let told: RuleOutcome = 'passed';
    const subject = { address, now: at, confirmed: () => method !== 'GET' };
    const observer = {
      rule(_name: string, outcome: RuleOutcome) {
        told = outcome;
      },
    };
    evaluate([{ name: rule.name, rule: compiled }], subject, observer, null);
    return told;
  };
}

/** Windows that begin with the period, as one node without its fellows would count. */
function rateJudge({ requests, per, by }: NonNullable<Rule['rate']>): (request: SeenRequest) => string {
  const period = typeof per === 'number' ? per : (PERIODS[per] ?? 60_000);
  const counts = new Map<string, number>();
  return ({ address, domain, at }) => {
    const whom = by === 'domain' ? (domain ?? '') : address;
    const window = `${Math.floor(at / period)} ${whom}`;
    const count = (counts.get(window) ?? 0) + 1;
    counts.set(window, count);
    return count > requests ? 'limited' : 'passed';
  };
}

function noteOn({ rate, list }: Rule): string | null {
  if (rate?.by?.startsWith('header:') === true)
    return 'header fields are not remembered: requests were counted by client instead';
  if (list === 'securepage')
    return 'cookies and Accept are not remembered: each GET counts as one of a visitor who must confirm';
  return null;
}

function timeOf(request: SeenRequest | undefined): string | null {
  return request === undefined ? null : new Date(request.at).toISOString();
}

function most(names: readonly string[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, MAX_LISTED);
}

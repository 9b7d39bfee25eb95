/**
 * What a client is told of a limit: `RateLimit-Policy` and `RateLimit` as structured fields
 * (draft-ietf-httpapi-ratelimit-headers-10), and Retry-After.
 */
import type { Decision, FieldChanges, PageDecision } from '../../shared/routing/decision.ts';
import type { RateCount } from '../../shared/routing/rate.ts';

const NO_FIELDS: FieldChanges['set'] = [];
const NO_NAMES: FieldChanges['remove'] = new Set();

/** Adds the fields for `count` to an answer; `resetMs` until places come free. */
export function withLimitFields(
  changes: FieldChanges | null,
  { rule, rate }: RateCount,
  left: number,
  resetMs: number,
): FieldChanges {
  const limit = `"${rule}";r=${Math.max(0, left)};t=${seconds(resetMs)}`;
  const added = [['ratelimit-policy', rate.policy] as const, ['ratelimit', limit] as const];
  return {
    set: changes?.set ?? NO_FIELDS,
    // Both are lists: a backend that has limits of its own keeps what it says of them.
    add: changes === null ? added : [...changes.add, ...added],
    remove: changes?.remove ?? NO_NAMES,
  };
}

/** The answer to a request over the limit. */
export function limited(decision: Decision, count: RateCount, resetMs: number): PageDecision {
  return {
    type: 'page',
    cause: 'rate_limited',
    labels: { ...decision.labels, rule: count.rule },
    response: withLimitFields(decision.response, count, 0, resetMs),
    retryAfter: seconds(resetMs),
  };
}

function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}

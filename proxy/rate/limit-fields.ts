/**
 * What a client is told of a limit: `RateLimit-Policy` and `RateLimit` as structured fields
 * (draft-ietf-httpapi-ratelimit-headers-10), and Retry-After.
 */
import type { Decision, FieldChanges, PageDecision } from '../../shared/routing/decision.ts';
import type { RateCount } from '../../shared/routing/rate.ts';

/** Adds the fields for `count` to an answer; `resetMs` until places come free. */
export function withLimitFields(
  changes: FieldChanges | null,
  { rule, rate }: RateCount,
  left: number,
  resetMs: number,
): FieldChanges {
  // Names of rules hold neither quotes nor backslashes; seconds are whole and at least 1, as `w` and `t` ask.
  const policy = `"${rule}";q=${rate.requests};w=${Math.max(1, Math.round(rate.periodMs / 1_000))}`;
  const limit = `"${rule}";r=${Math.max(0, left)};t=${seconds(resetMs)}`;
  return {
    set: changes?.set ?? [],
    // Both are lists: a backend that has limits of its own keeps what it says of them.
    add: [...(changes?.add ?? []), ['ratelimit-policy', policy], ['ratelimit', limit]],
    remove: changes?.remove ?? new Set(),
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

/**
 * What a rule of type `rate` counts, and under which key. Deciding only names it (`Decision.counts`): the counting
 * is done by whoever serves (proxy/rate), so that deciding stays pure and Explain never uses a place up.
 */
import { createHash } from 'node:crypto';
import ipaddr from 'ipaddr.js';
import type { Rule } from '../model/rule.ts';

/** A rate as the data path holds it. */
export interface CompiledRate {
  /** Requests that may pass in any window of `periodMs`. */
  readonly requests: number;
  readonly periodMs: number;
  /** What tells those apart that are counted: `client`, `domain`, or the lower-case name of a field after `header:`. */
  readonly by: string;
  /** Counts are kept under it: a rule that only changes how many keeps them. */
  readonly scope: string;
  /** What clients are told of it: its value in `RateLimit-Policy`. */
  readonly policy: string;
}

/** One count that a request makes before it may go on. */
export interface RateCount {
  readonly rule: string;
  readonly rate: CompiledRate;
  readonly key: string;
  /** A rule under dry run counts, and refuses nobody. */
  readonly dryRun: boolean;
}

const PERIODS = { second: 1_000, minute: 60_000, hour: 3_600_000, day: 86_400_000 };

export function compileRate(name: string, { requests, per, by }: NonNullable<Rule['rate']>): CompiledRate {
  const periodMs = typeof per === 'number' ? per : PERIODS[per];
  const lower = (by ?? 'client').toLowerCase();
  // Names of rules hold neither quotes nor backslashes; seconds are whole and at least 1, as `w` asks.
  const policy = `"${name}";q=${requests};w=${Math.max(1, Math.round(periodMs / 1_000))}`;
  return { requests, periodMs, by: lower, scope: `${name} ${periodMs} ${lower}`, policy };
}

/** What of a request says whom it counts for. */
interface Counted {
  /** Canonical text of the one client address. */
  readonly address: string;
  /** Value of a field by its lower-case name. */
  header(name: string): string | undefined;
  /** See `RequestView.single`. */
  single?(name: string): string | undefined;
}

/** Who or what a request counts for. Values of fields are hashed: they may be long, and they may be secrets. */
export function rateKey(rate: CompiledRate, request: Counted, domain: string): string {
  if (rate.by === 'domain') return `${rate.scope} ${domain}`;
  if (rate.by !== 'client') {
    const name = rate.by.slice('header:'.length);
    const value = request.single === undefined ? request.header(name) : request.single(name);
    // Who leaves the field out is told apart by address, or leaving it out would open the limit; so would giving it twice.
    if (value !== undefined && value !== '')
      return `${rate.scope} #${createHash('sha256').update(value, 'latin1').digest('base64url').slice(0, 22)}`;
  }
  return `${rate.scope} ${clientPrefix(request.address)}`;
}

/** An IPv6 client owns a /64 at least, so that is what is counted; IPv4 addresses count each for itself. */
export function clientPrefix(address: string): string {
  if (!address.includes(':') || !ipaddr.IPv6.isValid(address)) return address;
  const { parts } = ipaddr.IPv6.parse(address);
  return parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':');
}

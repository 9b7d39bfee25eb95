/** Maintenance of a route, a domain or everything: whether it holds for a request now, and who gets past it. */
import { AddressSet } from '../address.ts';
import type { Maintenance } from '../model/maintenance.ts';
import { constantTimeEqual, cookieValue } from '../signed-cookie.ts';
import type { RequestView } from './decision.ts';

/** Seconds for Retry-After when nobody said how long it takes. */
export const DEFAULT_RETRY_AFTER = 60;

export interface CompiledMaintenance {
  /** Milliseconds since 1970; minus and plus infinity when open. */
  readonly from: number;
  readonly until: number;
  readonly addresses: AddressSet | null;
  readonly cookie: { readonly name: string; readonly value: string } | null;
  readonly header: { readonly name: string; readonly value: string } | null;
}

/** Null for none. Throws an Error when an address of its bypass is none. */
export function compileMaintenance(maintenance: Maintenance | undefined): CompiledMaintenance | null {
  if (maintenance === undefined || maintenance === false) return null;
  const given = maintenance === true ? {} : maintenance;
  const addresses = given.bypass?.addresses ?? [];
  return {
    from: given.from ? Date.parse(given.from) : Number.NEGATIVE_INFINITY,
    until: given.until ? Date.parse(given.until) : Number.POSITIVE_INFINITY,
    addresses: addresses.length > 0 ? new AddressSet(addresses) : null,
    cookie: given.bypass?.cookie ?? null,
    header: given.bypass?.header ?? null,
  };
}

/** Maintenance that was switched on by hand: the schedule counts no more, its bypass does. */
export function withoutSchedule(maintenance: CompiledMaintenance | null): CompiledMaintenance {
  return {
    addresses: null,
    cookie: null,
    header: null,
    ...maintenance,
    from: Number.NEGATIVE_INFINITY,
    until: Number.POSITIVE_INFINITY,
  };
}

/** Whether `request` gets the maintenance page: it is time, and nothing of the request is a way past it. */
export function inMaintenance(maintenance: CompiledMaintenance, request: RequestView): boolean {
  if (request.now < maintenance.from || request.now >= maintenance.until) return false;
  if (maintenance.addresses?.has(request.address)) return false;
  const { header, cookie } = maintenance;
  if (header !== null) {
    const value = request.header(header.name);
    if (value !== undefined && constantTimeEqual(value, header.value)) return false;
  }
  if (cookie !== null) {
    const value = cookieValue(request.header('cookie'), cookie.name);
    if (value !== null && constantTimeEqual(value, cookie.value)) return false;
  }
  return true;
}

/** Seconds until it is over, at least 1; `DEFAULT_RETRY_AFTER` when the end is open. */
export function retryAfter(maintenance: CompiledMaintenance, now: number): number {
  if (maintenance.until === Number.POSITIVE_INFINITY) return DEFAULT_RETRY_AFTER;
  return Math.max(1, Math.ceil((maintenance.until - now) / 1_000));
}

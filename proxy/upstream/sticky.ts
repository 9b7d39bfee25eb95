/**
 * Sticky sessions of one service: a cookie that only we can have made names the backend a visitor stays with. The name
 * is a keyed hash of the service and the backend's address, so that it tells a visitor nothing, is the same on every
 * node and after every restart, and means nothing for another service; a place in a list never enters into it.
 */
import { createHmac } from 'node:crypto';
import type { ResolvedSticky } from '../../shared/model/service.ts';
import { constantTimeEqual, cookieKeys, cookieValue } from '../../shared/signed-cookie.ts';
import type { PickRequest } from './contract.ts';

/** Characters of a token by which it is looked up; the other 32 (192 bits) are compared in constant time. */
const HEAD_LENGTH = 11;
const TOKEN_LENGTH = 43;
const MIN_PERIOD_MS = 1_000;
/** A cookie of an earlier period is believed for as many periods as make up its `maxAge`. */
const PERIODS = 2;
/** Cookies of our name that are looked at: any host of the same domain may set one, and it may stand before ours. */
const MAX_SAME_NAMED = 4;

export class Sticky {
  readonly #service: string;
  readonly #config: ResolvedSticky;
  /** Signs first, all are believed. */
  readonly #keys: readonly string[];
  readonly #now: () => number;
  /** Without an age there is but one period. */
  readonly #periodMs: number | null;
  #addresses: ReadonlySet<string> = new Set();
  /** By key and period; only those that are believed now. */
  readonly #tokens = new Map<string, Tokens>();
  #period = 0;

  /** `keys`: the text of the secret `cookie-key`; `now`: milliseconds since 1970. */
  constructor(service: string, config: ResolvedSticky, keys: string, now: () => number) {
    this.#service = service;
    this.#config = config;
    this.#keys = cookieKeys(keys);
    this.#now = now;
    this.#periodMs = config.maxAgeMs === null ? null : Math.max(MIN_PERIOD_MS, config.maxAgeMs / PERIODS);
  }

  /** The addresses that visitors may be pinned to. */
  setAddresses(addresses: Iterable<string>): void {
    this.#addresses = new Set(addresses);
    for (const tokens of this.#tokens.values()) tokens.update(this.#addresses);
  }

  /** The address a visitor is pinned to; null when it has no cookie of ours, or one whose backend is gone. */
  addressOf(request: PickRequest): string | null {
    const field = request.header('cookie');
    for (let nth = 0; nth < MAX_SAME_NAMED; nth++) {
      const value = cookieValue(field, this.#config.cookie, nth);
      if (value === null) return null;
      const address = this.#addressIn(value);
      if (address !== null) return address;
    }
    return null;
  }

  #addressIn(value: string): string | null {
    if (value.length > TOKEN_LENGTH + 12) return null;
    const dot = value.indexOf('.');
    if (dot < 1 || value.length - dot - 1 !== TOKEN_LENGTH) return null;
    const period = Number.parseInt(value.slice(0, dot), 36);
    const current = this.#currentPeriod();
    // A clock of another node may be a little ahead.
    if (!(period <= current + 1 && period >= current - PERIODS)) return null;
    const token = value.slice(dot + 1);
    for (const key of this.#keys) {
      const address = this.#tokensOf(key, period).addressOf(token);
      if (address !== null) return address;
    }
    return null;
  }

  /** The Set-Cookie that pins a visitor to this address; null when it has that already. */
  cookieFor(address: string, request: PickRequest): string | null {
    const key = this.#keys[0];
    if (key === undefined) return null;
    const { cookie, maxAgeMs } = this.#config;
    const period = this.#currentPeriod();
    const value = `${period.toString(36)}.${this.#tokensOf(key, period).of(address)}`;
    const field = request.header('cookie');
    for (let nth = 0; nth < MAX_SAME_NAMED; nth++) {
      const has = cookieValue(field, cookie, nth);
      if (has === value) return null;
      if (has === null) break;
    }
    const age = maxAgeMs === null ? '' : `; Max-Age=${Math.ceil(maxAgeMs / 1_000)}`;
    return `${cookie}=${value}; Path=/${age}; HttpOnly; SameSite=Lax${request.secure === true ? '; Secure' : ''}`;
  }

  #currentPeriod(): number {
    if (this.#periodMs === null) return 0;
    const period = Math.floor(this.#now() / this.#periodMs);
    if (period !== this.#period) {
      this.#period = period;
      this.#tokens.clear();
    }
    return period;
  }

  #tokensOf(key: string, period: number): Tokens {
    const id = `${period} ${key}`;
    let tokens = this.#tokens.get(id);
    if (tokens === undefined) {
      tokens = new Tokens(key, `kontrol-sticky\n${this.#service}\n${period}\n`);
      tokens.update(this.#addresses);
      this.#tokens.set(id, tokens);
    }
    return tokens;
  }
}

/** The tokens of all addresses under one key and period, made when they are first needed. */
class Tokens {
  readonly #key: string;
  readonly #prefix: string;
  readonly #tokens = new Map<string, string>();
  readonly #addresses = new Map<string, string>();
  /** Addresses whose token has not been made yet. */
  #due: string[] = [];

  constructor(key: string, prefix: string) {
    this.#key = key;
    this.#prefix = prefix;
  }

  update(addresses: ReadonlySet<string>): void {
    for (const [address, token] of this.#tokens) {
      if (addresses.has(address)) continue;
      this.#tokens.delete(address);
      this.#addresses.delete(token.slice(0, HEAD_LENGTH));
    }
    this.#due = [...addresses].filter((address) => !this.#tokens.has(address));
  }

  of(address: string): string {
    const known = this.#tokens.get(address);
    if (known !== undefined) return known;
    const token = createHmac('sha256', this.#key)
      .update(this.#prefix + address)
      .digest('base64url');
    this.#tokens.set(address, token);
    this.#addresses.set(token.slice(0, HEAD_LENGTH), address);
    return token;
  }

  addressOf(token: string): string | null {
    for (const address of this.#due) this.of(address);
    if (this.#due.length > 0) this.#due = [];
    const address = this.#addresses.get(token.slice(0, HEAD_LENGTH));
    return address !== undefined && constantTimeEqual(this.of(address), token) ? address : null;
  }
}

/** Counts open connections per client address, so that none can take more than its part. */
import { canonicalAddress } from '../../shared/address.ts';

/** Below: how many an address has now; addresses that have none are not kept. */
export class AddressLimit {
  readonly #counts = new Map<string, number>();

  /** Takes one of at most `limit` places; false when none is left. Give it back under the key that was returned. */
  take(remoteAddress: string, limit: number): string | null {
    const key = keyOf(remoteAddress);
    const count = this.#counts.get(key) ?? 0;
    if (count >= limit) return null;
    this.#counts.set(key, count + 1);
    return key;
  }

  give(key: string): void {
    const count = (this.#counts.get(key) ?? 0) - 1;
    if (count > 0) this.#counts.set(key, count);
    else this.#counts.delete(key);
  }

  /** Addresses that have connections now. */
  get size(): number {
    return this.#counts.size;
  }
}

/** IPv6 visitors own a /64 at least: its first four groups count as one address. */
function keyOf(remoteAddress: string): string {
  const address = canonicalAddress(remoteAddress);
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const last = tail === '' ? [] : tail.split(':');
    while (groups.length + last.length < 8) groups.push('0');
    groups.push(...last);
  }
  return `${groups.slice(0, 4).join(':')}::/64`;
}

/** The last requests of a process, for Explain and for trying a rule on traffic that was seen. Bounded in number and size. */
import type { RequestRecord } from './record.ts';

/** Longest text of a visitor that is kept, in characters. */
const MAX_TEXT = 2_048;
/** Longest text in a brief, of which many go into one message. */
const MAX_BRIEF = 120;

/** A request as it is told beside many others. */
export interface BriefRequest {
  readonly id: string;
  readonly at: number;
  readonly method: string;
  readonly host: string;
  readonly target: string;
  readonly address: string;
  readonly domain: string | null;
  readonly route: number | null;
  readonly rule: string | null;
  readonly status: number;
}

export class RecentRequests {
  readonly #ring: (RequestRecord | undefined)[];
  #next = 0;

  constructor(size = 1_024) {
    this.#ring = new Array(size).fill(undefined);
  }

  /** Keeps the record itself, so it may not be changed afterwards. */
  add(record: RequestRecord): void {
    this.#ring[this.#next] = isLarge(record) ? shortened(record) : record;
    this.#next = this.#next + 1 === this.#ring.length ? 0 : this.#next + 1;
  }

  /** The newest request with this id, or null when it is not (or no longer) here. */
  find(id: string): RequestRecord | null {
    for (const record of this.newest(this.#ring.length)) if (record.id === id) return record;
    return null;
  }

  /** At most `count` requests, the newest first. */
  newest(count: number): RequestRecord[] {
    const found: RequestRecord[] = [];
    for (let back = 1; back <= this.#ring.length && found.length < count; back++) {
      const record = this.#ring[(this.#next - back + this.#ring.length) % this.#ring.length];
      if (record === undefined) break;
      found.push(record);
    }
    return found;
  }
}

export function briefOf(record: RequestRecord): BriefRequest {
  const { id, at, method, host, target, address, domain, route, rule, status } = record;
  return {
    id,
    at,
    method,
    host: host.slice(0, MAX_BRIEF),
    target: target.slice(0, MAX_BRIEF),
    address,
    domain,
    route,
    rule,
    status,
  };
}

function isLarge(record: RequestRecord): boolean {
  return (
    record.target.length > MAX_TEXT ||
    (record.userAgent !== null && record.userAgent.length > MAX_TEXT) ||
    (record.referer !== null && record.referer.length > MAX_TEXT)
  );
}

function shortened(record: RequestRecord): RequestRecord {
  return {
    ...record,
    target: record.target.slice(0, MAX_TEXT),
    userAgent: record.userAgent?.slice(0, MAX_TEXT) ?? null,
    referer: record.referer?.slice(0, MAX_TEXT) ?? null,
  };
}

/** The last requests of a process, for Explain and for trying a rule on traffic that was seen. Bounded in number and size. */
import type { RequestRecord } from './record.ts';

/** Longest text of a visitor that is kept, in characters. */
const MAX_TEXT = 2_048;

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

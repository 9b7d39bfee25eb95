/**
 * Changes that no serving process has acknowledged yet, in order. What arrives while one is tried is merged into one
 * change behind it, so a burst costs a few messages; its parts (one per revision) stay apart, so that a change that
 * kills can be halved until the guilty part is alone.
 */
import type { TableEntry } from '../../shared/routing/entry.ts';

/** Entries that are applied together or not at all. */
export type Part = readonly TableEntry[];

export interface Change {
  /** Given when it is sent; grows by one with each. */
  readonly number: number;
  readonly seq: number;
  /** Monotonic time of the hint or tick that brought it. */
  readonly since: number;
  readonly parts: readonly Part[];
  readonly size: number;
  /** Processes that died while they took it. */
  readonly deaths: number;
}

/** Parts that wait as they came; of more only the last word on each object is kept, as a part of its own. */
const MAX_PARTS = 256;

interface Waiting {
  seq: number;
  since: number;
  parts: Part[];
  deaths: number;
  /** Beyond so many parts they are merged again. */
  limit: number;
}

export class ChangeQueue {
  readonly #waiting: Waiting[] = [];
  #number: number;

  /** Numbers begin after `number`. */
  constructor(number: number) {
    this.#number = number;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Processes that died of the next change; null when there is none. */
  get headDeaths(): number | null {
    return this.#waiting[0]?.deaths ?? null;
  }

  add(parts: readonly Part[], seq: number, since: number): void {
    const tail = this.#waiting.at(-1);
    if (tail !== undefined && tail.deaths === 0) {
      // Not spread: a first table can have more parts than a call has room for arguments.
      for (const part of parts) tail.parts.push(part);
      tail.seq = seq;
      if (tail.parts.length <= tail.limit) return;
      tail.parts = newest(tail.parts);
      // Twice as many as there are: else each further change would cost as much as all of them.
      tail.limit = Math.max(MAX_PARTS, 2 * tail.parts.length);
    } else this.#waiting.push({ seq, since, parts: [...parts], deaths: 0, limit: limitFor(parts) });
  }

  /** The next change, numbered. It is gone from the queue; `putBack` returns it. */
  take(): Change | undefined {
    const head = this.#waiting.shift();
    if (head === undefined) return undefined;
    const { seq, since, parts, deaths } = head;
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    return { number: ++this.#number, seq, since, parts, size, deaths };
  }

  /** To the front again, to be tried once more under a new number. */
  putBack(change: Change, deaths: number): void {
    const { seq, since, parts } = change;
    this.#waiting.unshift({ seq, since, parts: [...parts], deaths, limit: limitFor(parts) });
  }

  /**
   * To the front again as two halves, each of which is blamed for its next death. Only the second brings what it does
   * to its number; the first leaves it at `before`.
   */
  split({ seq, since, parts }: Change, before: number): void {
    const middle = Math.ceil(parts.length / 2);
    const half = (some: Part[], at: number): Waiting => {
      return { seq: at, since, parts: some, deaths: 1, limit: limitFor(some) };
    };
    this.#waiting.unshift(half(parts.slice(0, middle), before), half(parts.slice(middle), seq));
  }
}

function limitFor(parts: readonly Part[]): number {
  return Math.max(MAX_PARTS, 2 * parts.length);
}

/** The last word on each object only, each a part of its own: what kills must not take others along. */
function newest(parts: readonly Part[]): Part[] {
  const last = new Map<string, TableEntry>();
  for (const entry of parts.flat()) {
    const key = `${entry.kind}/${entry.name}`;
    last.delete(key);
    last.set(key, entry);
  }
  return [...last.values()].map((entry) => [entry]);
}

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

interface Waiting {
  seq: number;
  since: number;
  parts: Part[];
  deaths: number;
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
      tail.parts.push(...parts);
      tail.seq = seq;
      if (tail.parts.length > 256) tail.parts = [newest(tail.parts)];
    } else this.#waiting.push({ seq, since, parts: [...parts], deaths: 0 });
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
    this.#waiting.unshift({ seq: change.seq, since: change.since, parts: [...change.parts], deaths });
  }

  /** To the front again as two halves, each of which is blamed for its next death. */
  split(change: Change): void {
    const middle = Math.ceil(change.parts.length / 2);
    const halves = [change.parts.slice(0, middle), change.parts.slice(middle)];
    this.#waiting.unshift(
      ...halves.map((parts) => ({ seq: change.seq, since: change.since, parts, deaths: 1 })),
    );
  }
}

/** All parts as one, the last word on each object only. */
function newest(parts: readonly Part[]): Part {
  const last = new Map<string, TableEntry>();
  for (const entry of parts.flat()) {
    const key = `${entry.kind}/${entry.name}`;
    last.delete(key);
    last.set(key, entry);
  }
  return [...last.values()];
}

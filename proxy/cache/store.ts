/**
 * The stored answers of one service in one process: found by the URI that visitors ask for, told apart by what else
 * decides about the answer, and bounded in bytes and number. The one that was not used for the longest time goes first.
 */
import type { RequestView } from '../../shared/routing/decision.ts';
import { IntrusiveList, type Linked } from '../upstream/intrusive-list.ts';
import type { KeptBody } from './body.ts';
import type { KeptHead } from './kept-head.ts';
import type { AnswerHead, Terms } from './rules.ts';

/** An answer under more requirements than these is not looked for. */
const MAX_VARIANTS = 64;
const MAX_ENTRIES = 100_000;
/** Maps, objects and strings around the bytes, about. */
const OVERHEAD = 1_024;

/** Request fields that `Vary` names, with the values that the answer was chosen by. */
export type Selecting = readonly (readonly [name: string, value: string | undefined])[];

const NOTHING_SELECTS: Selecting = [];

/** RFC 9111 §4.1. */
export function selectingOf(head: AnswerHead, view: RequestView): Selecting {
  const vary = head.field('vary');
  if (vary === undefined) return NOTHING_SELECTS;
  const names = new Set(
    vary
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  );
  names.delete('');
  return [...names].map((name) => [name, view.header(name)]);
}

export function selects(selecting: Selecting, view: RequestView): boolean {
  return selecting.length === 0 || selecting.every(([name, value]) => view.header(name) === value);
}

/** Bytes that the stores of a process hold together. */
export class Tally {
  bytes = 0;
}

export class StoredAnswer implements Linked<StoredAnswer> {
  linkBefore: StoredAnswer | null = null;
  linkAfter: StoredAnswer | null = null;
  /** The size that the store counted it with. */
  counted = 0;
  /** Replaced when the backend says that it is still good. */
  head: KeptHead;
  terms: Terms;
  /** Monotonic; its age counts from there. */
  receivedAt: number;
  readonly body: KeptBody;
  readonly uri: string;
  readonly key: string;
  /** Number of the service's key that it came from. */
  readonly build: number;
  /** Paths it can be purged by, normalised: the visitors' and the backend's. */
  readonly paths: readonly string[];
  /** Replaced with the head. */
  selecting: Selecting;
  /** It is being asked for anew. */
  refreshing = false;
  /** It is in the store. */
  stored = false;
  #pins = 0;
  #store: Store | null = null;

  constructor(facts: {
    readonly head: KeptHead;
    readonly terms: Terms;
    readonly receivedAt: number;
    readonly body: KeptBody;
    readonly uri: string;
    readonly key: string;
    readonly build: number;
    readonly paths: readonly string[];
    readonly selecting: Selecting;
  }) {
    this.head = facts.head;
    this.terms = facts.terms;
    this.receivedAt = facts.receivedAt;
    this.body = facts.body;
    this.uri = facts.uri;
    this.key = facts.key;
    this.build = facts.build;
    this.paths = facts.paths;
    this.selecting = facts.selecting;
  }

  /** It could be used as it is, if the request let it. */
  isFresh(monotonic: number): boolean {
    return !this.terms.alwaysRevalidate && this.ageMs(monotonic) < this.terms.lifetimeMs;
  }

  ageMs(monotonic: number): number {
    return this.terms.initialAgeMs + Math.max(0, monotonic - this.receivedAt);
  }

  /** A slow visitor keeps its memory, whether it stays stored or not. Each call is followed by one of `unpin`. */
  pin(): void {
    this.#pins++;
  }

  unpin(): void {
    if (--this.#pins === 0 && !this.stored) this.#store?.freed(this);
  }

  get pinned(): boolean {
    return this.#pins > 0;
  }

  /** It stands in this store. */
  isIn(store: Store): boolean {
    return this.stored && this.#store === store;
  }

  /** By the store that takes it. */
  takenBy(store: Store): void {
    this.#store = store;
    this.stored = true;
  }

  get size(): number {
    const text = 2 * (2 * this.uri.length + this.key.length);
    return OVERHEAD + text + this.head.size + this.body.held;
  }
}

export class Store {
  #limit: number;
  readonly #byUri = new Map<string, StoredAnswer[]>();
  /** In order of their last use. */
  readonly #answers = new IntrusiveList<StoredAnswer>();
  readonly #tally: Tally;
  #bytes = 0;
  /** Bytes of answers that are stored no more and still read by slow visitors. */
  readonly #leaving = new Map<StoredAnswer, number>();
  #leavingBytes = 0;

  /** `limit`: bytes. */
  constructor(limit: number, tally: Tally = new Tally()) {
    this.#limit = limit;
    this.#tally = tally;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entries(): number {
    return this.#answers.size;
  }

  /** The newest answer to this request, whether it may be used or not. */
  find(uri: string, key: string, view: RequestView): StoredAnswer | null {
    const variants = this.#byUri.get(uri);
    if (variants === undefined) return null;
    for (let i = variants.length - 1; i >= 0; i--) {
      const answer = variants[i] as StoredAnswer;
      if (answer.key !== key || !selects(answer.selecting, view)) continue;
      if (answer !== this.#answers.last) {
        this.#answers.remove(answer);
        this.#answers.addLast(answer);
      }
      return answer;
    }
    return null;
  }

  /** Why nothing of it can be used for a request that a backend is asked, as RFC 9211 §2.2 names it. */
  missOf(uri: string, key: string, view: RequestView): 'uri-miss' | 'vary-miss' | 'request' {
    const variants = this.#byUri.get(uri)?.filter((answer) => answer.key === key);
    if (variants === undefined || variants.length === 0) return 'uri-miss';
    return variants.some(({ selecting }) => selects(selecting, view)) ? 'request' : 'vary-miss';
  }

  /**
   * Stores it in place of the one to the same requests; false when it is larger than all there may be, or when slow
   * visitors keep so much of what was evicted that nothing more may be.
   */
  put(answer: StoredAnswer): boolean {
    const { size, uri } = answer;
    if (size > this.#limit || this.#leavingBytes > this.#limit / 2) return false;
    this.#makeWay(answer);
    const variants = this.#byUri.get(uri);
    this.#byUri.set(uri, variants === undefined ? [answer] : [...variants, answer]);
    this.#answers.addLast(answer);
    answer.counted = size;
    this.#count(size);
    this.freed(answer);
    answer.takenBy(this);
    this.#evict();
    return true;
  }

  remove(answer: StoredAnswer): void {
    if (!answer.isIn(this)) return;
    this.#answers.remove(answer);
    this.#count(-answer.counted);
    answer.stored = false;
    if (answer.pinned) {
      this.#leaving.set(answer, answer.counted);
      this.#leavingBytes += answer.counted;
    }
    const variants = this.#byUri.get(answer.uri);
    if (variants === undefined || variants.length === 1) this.#byUri.delete(answer.uri);
    else
      this.#byUri.set(
        answer.uri,
        variants.filter((other) => other !== answer),
      );
  }

  /** Everything under this URI. */
  invalidate(uri: string): void {
    for (const answer of this.#byUri.get(uri) ?? []) this.remove(answer);
  }

  /** Removes what `unwanted` says; answers how many. */
  purge(unwanted: (answer: StoredAnswer) => boolean): number {
    let removed = 0;
    let answer = this.#answers.first;
    while (answer !== null) {
      const after: StoredAnswer | null = answer.linkAfter;
      if (unwanted(answer)) {
        this.remove(answer);
        removed++;
      }
      answer = after;
    }
    return removed;
  }

  resize(limit: number): void {
    this.#limit = limit;
    this.#evict();
  }

  /** Gives up the answer that was not used for the longest time; false when there is none. */
  drop(): boolean {
    const { first } = this.#answers;
    if (first === null) return false;
    this.remove(first);
    return true;
  }

  /** Nobody reads it any more, or it is stored again. */
  freed(answer: StoredAnswer): void {
    if (this.#leaving.size === 0) return;
    this.#leavingBytes -= this.#leaving.get(answer) ?? 0;
    this.#leaving.delete(answer);
  }

  /** What `answer` replaces goes, and one more where there are too many. */
  #makeWay({ uri, key, selecting }: StoredAnswer): void {
    const variants = this.#byUri.get(uri);
    if (variants === undefined) return;
    const same = JSON.stringify(selecting);
    for (const other of [...variants]) {
      if (other.key === key && JSON.stringify(other.selecting) === same) this.remove(other);
    }
    const left = this.#byUri.get(uri);
    if (left !== undefined && left.length >= MAX_VARIANTS) this.remove(left[0] as StoredAnswer);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#tally.bytes += bytes;
  }

  #evict(): void {
    while ((this.#bytes > this.#limit || this.#answers.size > MAX_ENTRIES) && this.drop());
  }
}

/**
 * A hash over a set of objects that is kept up to date with each change and does not depend on the order in which
 * they came: two processes that hold the same objects show the same 32 hexadecimal digits.
 */
import { createHash } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';
import type { Kind } from './model/kinds.ts';

const WORDS = 4;
/** Number of bytes of a digest. */
export const DIGEST_BYTES = WORDS * 4;

/** The digest of one object; `doc` must be plain JSON. */
export function objectDigest(kind: Kind, name: string, doc: Readonly<Record<string, unknown>>): Buffer {
  const hash = createHash('sha256');
  // JSON strings end where they end: no two pairs of kind and name run into one another.
  hash.update(JSON.stringify([kind, name]));
  hash.update(canonicalJson(doc));
  return hash.digest().subarray(0, DIGEST_BYTES);
}

/** The sum of the digests of a set. Word by word modulo 2^32, so that adding and removing commute. */
export class StateHash {
  readonly #words = new Uint32Array(WORDS);

  add(digest: Buffer): void {
    for (let i = 0; i < WORDS; i++) this.#words[i] = this.#word(i) + digest.readUInt32LE(i * 4);
  }

  remove(digest: Buffer): void {
    for (let i = 0; i < WORDS; i++) this.#words[i] = this.#word(i) - digest.readUInt32LE(i * 4);
  }

  /** 32 hexadecimal digits; zeros for the empty set. */
  get value(): string {
    return Buffer.from(this.#words.buffer).toString('hex');
  }

  #word(index: number): number {
    return this.#words[index] ?? 0;
  }
}

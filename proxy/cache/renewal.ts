/** A stored answer of which the backend says that it is still good (RFC 9111 §4.3.4), and who gets it. */
import type { RequestView } from '../../shared/routing/decision.ts';
import type { KeptHead } from './kept-head.ts';
import type { Reader } from './reader.ts';
import { isShareable, type Terms } from './rules.ts';
import { type Selecting, type StoredAnswer, selectingOf, selects } from './store.ts';

export class Renewal {
  /** What the 304 says is for all; if not (a cookie), its fields go to the visitor alone whose request it answers. */
  readonly shareable: boolean;
  /** That the stored answer has from now on; null where it is not renewed for all. */
  readonly head: KeptHead | null;
  readonly #kept: StoredAnswer;
  readonly #says: KeptHead;
  readonly #selecting: Selecting;
  readonly #cacheStatus: string;
  /** Its tag is that of another answer. */
  readonly #other: boolean;

  /** `says`: the head of the 304; `view`: the request that it answers. */
  constructor(kept: StoredAnswer, says: KeptHead, view: RequestView, cacheStatus: string) {
    const tag = says.field('etag');
    this.#kept = kept;
    this.#says = says;
    this.#cacheStatus = `${cacheStatus}; fwd-status=304`;
    this.#other = tag !== undefined && tag !== kept.head.field('etag');
    this.shareable = isShareable(says);
    this.head = this.#other || !this.shareable ? null : kept.head.updated(says);
    // It may vary by other fields than before.
    this.#selecting = this.head === null ? kept.selecting : selectingOf(this.head, view);
  }

  /** The answer has that head now; true when it is to be stored again, under these terms. */
  take(head: KeptHead, terms: Terms | null, monotonic: number): boolean {
    const kept = this.#kept;
    kept.head = head;
    kept.selecting = this.#selecting;
    kept.receivedAt = monotonic;
    if (terms === null) return false;
    kept.terms = terms;
    return true;
  }

  serves(reader: Reader): boolean {
    return !this.#other && selects(this.#selecting, reader.asker.view);
  }

  /** Gives it the stored answer; one that is not for all with what the backend said to this visitor. */
  serve(reader: Reader, monotonic: number): void {
    const kept = this.#kept;
    const { body } = kept;
    const { shareable } = this;
    const head = shareable ? kept.head : kept.head.updated(this.#says);
    const ageSeconds = shareable ? Math.floor(kept.ageMs(monotonic) / 1_000) : null;
    reader.read(
      { head, body, length: body.end, pins: kept },
      { ageSeconds, cacheStatus: this.#cacheStatus, outcome: 'revalidated' },
    );
  }
}

/**
 * What became of revisions that asked to be confirmed: one live document each, written before the revision, changed
 * by compare-and-set only. So a confirmation and an undoing exclude each other, however many processes try.
 */
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { Revision } from '../../shared/model/revision.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';

/** `undoing`: nobody confirmed in time; from here on it is undone, by whichever process gets there. */
export type ConfirmationState = 'open' | 'confirmed' | 'undoing' | 'undone';

export interface Confirmation {
  /** `id` of the revision. */
  readonly id: string;
  readonly v: number;
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly until: number;
  readonly state: ConfirmationState;
  /** Who confirmed. */
  readonly by: string | null;
  /** The revision that undid it; null when there was nothing left to undo. */
  readonly undoneBy: number | null;
  /** `kind/name: why` of what was not put back. */
  readonly kept: readonly string[];
}

/** Changes that may wait for a confirmation at the same time. */
const MAX_OPEN = 1_000;
/** Settled ones that are remembered for the history. */
const MAX_SETTLED = 1_000;

export class Confirmations {
  readonly #live: LiveStore;
  readonly #clock: Clock;
  #open = 0;
  /** Called when this process opened one. */
  onOpened: () => void = () => {};

  constructor(live: LiveStore, clock: Clock) {
    this.#live = live;
    this.#clock = clock;
  }

  /** Before the revision is appended: should this process die then, another one finds it. */
  async open(revision: Revision): Promise<void> {
    if (this.#open >= MAX_OPEN) {
      throw new KontrolError(
        'conflict',
        `${this.#open} changes wait for a confirmation already; confirm some first`,
      );
    }
    const { id, seq, at, confirmWithinMs = 0 } = revision;
    const until = at + confirmWithinMs;
    await this.#live.insert('confirmations', id, { seq, until, state: 'open' });
    this.#open++;
    this.onOpened();
  }

  /** The revision lost its number and was never written. */
  async withdraw(id: string): Promise<void> {
    this.#open = Math.max(0, this.#open - 1);
    await this.#live.delete('confirmations', id).catch(() => {});
  }

  async get(id: string): Promise<Confirmation | null> {
    const document = await this.#live.get('confirmations', id);
    return document === null ? null : confirmationOf(document);
  }

  /** All that are remembered; forgets the oldest settled ones beyond a thousand. */
  async list(): Promise<Confirmation[]> {
    const all = (await this.#live.list('confirmations')).map(confirmationOf);
    const settled = all.filter(isSettled).sort((a, b) => b.seq - a.seq);
    this.#open = all.length - settled.length;
    for (const old of settled.slice(MAX_SETTLED)) await this.forget(old);
    return all;
  }

  /** Throws `conflict` when it is too late. Confirming twice is no harm. */
  async confirm({ id, seq }: Revision, by: string): Promise<Confirmation> {
    for (;;) {
      const now = await this.get(id);
      if (now === null)
        throw new KontrolError('conflict', `Revision ${seq} does not wait for a confirmation`);
      if (now.state === 'confirmed') return now;
      if (now.state !== 'open') {
        throw new KontrolError(
          'conflict',
          `Revision ${seq} was not confirmed in time and is undone; make the change again`,
        );
      }
      if (await this.#settle(now, { state: 'confirmed', by })) return { ...now, state: 'confirmed', by };
    }
  }

  /** True when it is to be undone now: then nobody can confirm it any more. */
  async expire(confirmation: Confirmation): Promise<boolean> {
    if (confirmation.state === 'undoing') return true;
    const { id, seq, until, v } = confirmation;
    if (confirmation.state !== 'open' || until > this.#clock.now()) return false;
    return this.#live.replace('confirmations', id, v, { seq, until, state: 'undoing' });
  }

  async undone({ id }: Confirmation, undoneBy: number | null, kept: readonly string[]): Promise<void> {
    const now = await this.get(id);
    if (now?.state === 'undoing') await this.#settle(now, { state: 'undone', undoneBy, kept });
  }

  async forget({ id, v }: Confirmation): Promise<void> {
    await this.#live.delete('confirmations', id, v);
  }

  #settle({ id, seq, until, v }: Confirmation, outcome: Partial<Confirmation>): Promise<boolean> {
    return this.#live.replace('confirmations', id, v, { seq, until, ...outcome });
  }
}

export function isSettled({ state }: Confirmation): boolean {
  return state === 'confirmed' || state === 'undone';
}

/** How the history shows it. */
export function shownConfirmation(revision: Revision, known: Confirmation | null): object | undefined {
  const { at, confirmWithinMs } = revision;
  if (confirmWithinMs === undefined) return undefined;
  const until = new Date(at + confirmWithinMs).toISOString();
  if (known === null) return { state: 'unknown', until };
  const { state, by, undoneBy, kept } = known;
  if (state === 'confirmed') return { state, until, by };
  return state === 'undone' ? { state, until, undoneBy, kept } : { state, until };
}

const STATES: ReadonlySet<unknown> = new Set<ConfirmationState>(['open', 'confirmed', 'undoing', 'undone']);

function confirmationOf(document: LiveDocument): Confirmation {
  const { _id, v, seq, until, state, by, undoneBy, kept } = document;
  return {
    id: _id,
    v,
    seq: typeof seq === 'number' ? seq : 0,
    until: typeof until === 'number' ? until : 0,
    state: STATES.has(state) ? (state as ConfirmationState) : 'open',
    by: typeof by === 'string' ? by : null,
    undoneBy: typeof undoneBy === 'number' ? undoneBy : null,
    kept: Array.isArray(kept) ? kept.filter((entry) => typeof entry === 'string') : [],
  };
}

/**
 * What kontrolapi may ask a node about its traffic: how the backends of a service stand, the last requests, the
 * figures of the last minutes. Each answer fits into one message of the bus.
 */
import type { Clock } from '../../shared/clock.ts';
import type { MergedStats } from '../observe/merged-stats.ts';
import { Minutes } from '../observe/minutes.ts';
import type { BriefRequest } from '../observe/recent.ts';
import { statusesOf } from './bus-link.ts';
import type { Distributor } from './distribute.ts';
import type { Questions } from './questions.ts';

/** Characters of one answer; the bus takes 64 KB. */
const MAX_ANSWER = 50_000;
/** Requests that each process is asked for. */
const MAX_REQUESTS = 1_024;

export class Insight {
  readonly #distributor: Pick<Distributor, 'processes'>;
  readonly #questions: Questions;
  readonly #stats: Pick<MergedStats, 'connectionsActive'>;
  readonly #minutes: Minutes;

  constructor(
    clock: Clock,
    distributor: Pick<Distributor, 'processes'>,
    questions: Questions,
    stats: Pick<MergedStats, 'connectionsActive'>,
  ) {
    this.#distributor = distributor;
    this.#questions = questions;
    this.#stats = stats;
    this.#minutes = new Minutes(clock);
  }

  /** Takes the `stats` of a serving process. */
  report(stats: unknown): void {
    this.#minutes.report(stats);
  }

  /** Null for what is no question of this kind. */
  async answer(message: Readonly<Record<string, unknown>>): Promise<object | null> {
    const { ask, service, skip } = message;
    if (ask === 'backends' && typeof service === 'string') return this.#backends(service);
    if (ask === 'recent') return this.#recent(typeof skip === 'number' && skip >= 0 ? skip : 0);
    if (ask === 'stats') return this.#figures(typeof service === 'string' ? service : null);
    return null;
  }

  async #backends(service: string): Promise<object> {
    const { answers } = await this.#questions.ask({ type: 'backends' }, this.#processes());
    const backends = answers.flatMap(({ process, answer }) =>
      statusesOf(answer)
        .filter((status) => status.service === service)
        .map(({ key, address, state, weight, tier, alive, active }) => {
          return { process, key, address, state, weight, tier, alive, active };
        }),
    );
    return fitting(backends, (fits) => ({ backends: fits, complete: fits.length === backends.length }));
  }

  async #recent(skip: number): Promise<object> {
    const about = { type: 'recent', count: MAX_REQUESTS } as const;
    const { answers } = await this.#questions.ask(about, this.#processes());
    const requests = answers
      .flatMap(({ answer }) => (Array.isArray(answer) ? (answer as BriefRequest[]) : []))
      .sort((a, b) => b.at - a.at)
      .slice(skip);
    return fitting(requests, (fits) => ({ requests: fits, more: requests.length > fits.length }));
  }

  #figures(service: string | null): object {
    return { ...this.#minutes.answer(service), connections: this.#stats.connectionsActive };
  }

  #processes(): number[] {
    return this.#distributor.processes().map(({ id }) => id);
  }
}

/** As many of the first as fit into an answer. */
function fitting<T>(entries: readonly T[], answer: (fits: readonly T[]) => object): object {
  let size = 0;
  let count = 0;
  for (const entry of entries) {
    size += JSON.stringify(entry).length + 1;
    if (size > MAX_ANSWER) break;
    count++;
  }
  return answer(entries.slice(0, count));
}

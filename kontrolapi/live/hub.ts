/**
 * What happens, told once to everyone who listens in this process. Each kontrolapi hears of everything by itself
 * (the log, node records, members, the bus), so a listener may stand at any of them.
 */
import type { Log } from '../../shared/log.ts';

/**
 * `change`: a revision. `node`: one came, went or became (not) ready. `worker`: one registered, changed its state or
 * left. `health`: a backend was found dead or alive. `alarm`: something is wrong with nodes, or no longer.
 */
export const EVENT_KINDS = ['change', 'node', 'worker', 'health', 'alarm'] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export interface LiveEvent {
  readonly kind: EventKind;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Of a `change`: its number, from which a listener may resume. */
  readonly seq?: number;
  readonly [field: string]: unknown;
}

export class EventHub {
  readonly #listeners = new Set<(event: LiveEvent) => void>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  tell(event: LiveEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error('live_listener_failed', 'a listener of live events failed', { error });
      }
    }
  }

  listen(listener: (event: LiveEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

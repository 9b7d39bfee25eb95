/** Questions that only serving processes can answer: asked of all, answered by those that are there in time. */
import type { Clock } from '../../shared/clock.ts';
import type { Question, ToServing } from '../link/messages.ts';

const TIMEOUT_MS = 1_000;
/** Open questions beyond this are answered with nothing. */
const MAX_OPEN = 1_000;

export interface ProcessAnswer {
  readonly process: number;
  readonly answer: unknown;
}

interface Open {
  readonly missing: Set<number>;
  readonly answers: ProcessAnswer[];
  finish(): void;
}

export class Questions {
  readonly #clock: Clock;
  readonly #send: (process: number, message: ToServing) => void;
  readonly #open = new Map<number, Open>();
  #n = 0;

  constructor(clock: Clock, send: (process: number, message: ToServing) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  /** The answers of `processes`; `complete` when all of them answered. */
  ask(
    about: Question,
    processes: readonly number[],
  ): Promise<{ answers: ProcessAnswer[]; complete: boolean }> {
    if (processes.length === 0 || this.#open.size >= MAX_OPEN) {
      return Promise.resolve({ answers: [], complete: processes.length === 0 });
    }
    const n = ++this.#n;
    return new Promise((resolve) => {
      const cancel = this.#clock.after(TIMEOUT_MS, () => open.finish());
      const open: Open = {
        missing: new Set(processes),
        answers: [],
        finish: () => {
          cancel();
          this.#open.delete(n);
          resolve({ answers: open.answers, complete: open.missing.size === 0 });
        },
      };
      this.#open.set(n, open);
      for (const process of processes) this.#send(process, { type: 'ask', n, about });
    });
  }

  answered(process: number, n: number, answer: unknown): void {
    const open = this.#open.get(n);
    if (open?.missing.delete(process) !== true) return;
    open.answers.push({ process, answer });
    if (open.missing.size === 0) open.finish();
  }

  /** A process that is gone has nothing active and knows nothing. */
  gone(process: number): void {
    for (const open of [...this.#open.values()]) {
      if (open.missing.delete(process) && open.missing.size === 0) open.finish();
    }
  }

  close(): void {
    for (const open of [...this.#open.values()]) open.finish();
  }
}

/**
 * Runs any program as a registered worker: starts it when the API permits (at once when no API answers and the mode
 * is `many`), reports it ready when its port accepts, takes it out of balancing before it ends, and starts it again,
 * under a new registration and with back-off, when it crashes.
 */
import { Life, type LifeOptions } from './life.ts';

export type WrapperOptions = LifeOptions & {
  /** First wait before a program that ended is started again; doubles up to 30 s. Default 1 s. */
  readonly restartMs?: number;
};

const FIRST_RESTART_MS = 1_000;
const SLOWEST_RESTART_MS = 30_000;
/** A program that was ready this long restarts with the first delay again. */
const STEADY_MS = 60_000;
/** What shells answer for a program that is not there. */
const NOT_FOUND_CODE = 127;

export class Wrapper {
  readonly #options: WrapperOptions;
  readonly #stopRequested: Promise<void>;
  #requestStop: () => void = () => {};
  #life: Life | null = null;
  #stopped = false;

  constructor(options: WrapperOptions) {
    this.#options = options;
    this.#stopRequested = new Promise((resolve) => {
      this.#requestStop = resolve;
    });
  }

  /** Asks for an orderly end: drain, deregister, end the program. A second call ends the program at once. */
  stop(): void {
    if (this.#stopped) this.#life?.hurry();
    else this.#life?.stop();
    this.#stopped = true;
    this.#requestStop();
  }

  /** Runs until `stop`; the exit code for the command. */
  async run(): Promise<number> {
    const { note, restartMs = FIRST_RESTART_MS } = this.#options;
    let delay = restartMs;
    for (let first = true; !this.#stopped; first = false) {
      const life = new Life(this.#options);
      this.#life = life;
      const outcome = await life.run();
      if (this.#stopped || outcome.type === 'stopped') {
        await life.closed;
        return 0;
      }
      if (outcome.type === 'unstartable' && first) {
        note(outcome.reason);
        await life.closed;
        return NOT_FOUND_CODE;
      }
      if (outcome.type === 'ended' && outcome.readyMs > STEADY_MS) delay = restartMs;
      note(`${outcome.reason}; it starts again in ${Math.round(delay / 100) / 10} s`);
      await this.#pause(delay);
      await life.closed;
      delay = Math.min(SLOWEST_RESTART_MS, delay * 2);
    }
    return 0;
  }

  async #pause(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      this.#stopRequested,
      new Promise((resolve) => {
        timer = setTimeout(resolve, ms);
      }),
    ]);
    clearTimeout(timer);
  }
}

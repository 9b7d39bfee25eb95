/**
 * Randomness that can be repeated, and how long to go on. The short form inside `make test` is bounded by count and
 * always the same; `FUZZ_SECONDS` goes on for that time, from a new seed unless `FUZZ_SEED` names one.
 */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** At least 0, less than 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
const seed = Number(process.env['FUZZ_SEED'] ?? (seconds > 0 ? Date.now() % 2 ** 31 : 1));

/**
 * Calls `round` with a `Random` of its own, `count` times or for `FUZZ_SECONDS`. What goes wrong is thrown with the
 * seed that repeats it as the first round.
 */
export async function eachRound(
  count: number,
  round: (random: Random) => void | Promise<void>,
): Promise<void> {
  const end = Date.now() + seconds * 1_000;
  let rounds = 0;
  for (; seconds > 0 ? Date.now() < end : rounds < count; rounds++) {
    const random = new Random(seed + rounds);
    try {
      await round(random);
    } catch (error) {
      throw new Error(`round ${rounds}; repeat it with FUZZ_SEED=${random.seed}`, { cause: error });
    }
  }
  if (seconds > 0) process.stdout.write(`${rounds} rounds from FUZZ_SEED=${seed}\n`);
}

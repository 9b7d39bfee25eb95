/** How many requests each rate rule has refused, for the metrics. Rules that the table lost are forgotten. */

/** Rules counted apart; what is beyond them is counted as `(other)`, which no rule can be named. */
const MAX_RULES = 500;
const OTHER_RULES = '(other)';

export class LimitedCounts {
  readonly #knowsRule: (name: string) => boolean;
  readonly #counts = new Map<string, number>();

  constructor(knowsRule: (name: string) => boolean) {
    this.#knowsRule = knowsRule;
  }

  refused(rule: string): void {
    const name = this.#counts.has(rule) || this.#counts.size < MAX_RULES ? rule : OTHER_RULES;
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  /** By rule, since the process started. */
  totals(): Readonly<Record<string, number>> {
    for (const rule of this.#counts.keys())
      if (rule !== OTHER_RULES && !this.#knowsRule(rule)) this.#counts.delete(rule);
    return Object.fromEntries(this.#counts);
  }
}

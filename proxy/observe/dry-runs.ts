/**
 * Rules under dry run: how often each would have decided, counted for the metrics, and for whom, said in the log at
 * most once a second and rule. Rules that the table lost are forgotten.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';

/** Rules counted apart; what is beyond them is counted as `(other)`, which no rule can be named. */
const MAX_RULES = 500;
export const OTHER_RULES = '(other)';
const LOG_EVERY_MS = 1_000;

/** Totals since the process started, by `rule outcome`. */
export type DryRunTotals = Readonly<Record<string, number>>;

interface RuleRuns {
  readonly outcomes: Map<string, number>;
  /** When it was last in the log, on the monotonic clock, and how often it decided since. */
  saidAt: number;
  unsaid: number;
}

export interface DryRunsOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly knowsRule: (name: string) => boolean;
}

export class DryRuns {
  readonly #options: DryRunsOptions;
  readonly #rules = new Map<string, RuleRuns>();

  constructor(options: DryRunsOptions) {
    this.#options = options;
  }

  /** `rule` would have ended the request or connection of `address` with this outcome. */
  took(rule: string, outcome: string, address: string): void {
    const runs = this.#find(rule);
    runs.outcomes.set(outcome, (runs.outcomes.get(outcome) ?? 0) + 1);
    runs.unsaid++;
    const { log, clock } = this.#options;
    const now = clock.monotonic();
    if (now - runs.saidAt < LOG_EVERY_MS) return;
    log.info('rule_dry_run', `${rule} would have decided "${outcome}" for ${address}`, {
      rule,
      outcome,
      address,
      times: runs.unsaid,
    });
    runs.saidAt = now;
    runs.unsaid = 0;
  }

  totals(): DryRunTotals {
    const totals: Record<string, number> = {};
    for (const [rule, { outcomes }] of this.#rules) {
      if (rule !== OTHER_RULES && !this.#options.knowsRule(rule)) {
        this.#rules.delete(rule);
        continue;
      }
      for (const [outcome, count] of outcomes) totals[`${rule} ${outcome}`] = count;
    }
    return totals;
  }

  #find(rule: string): RuleRuns {
    const name = this.#rules.has(rule) || this.#rules.size < MAX_RULES ? rule : OTHER_RULES;
    let runs = this.#rules.get(name);
    if (runs === undefined) {
      runs = { outcomes: new Map(), saidAt: Number.NEGATIVE_INFINITY, unsaid: 0 };
      this.#rules.set(name, runs);
    }
    return runs;
  }
}

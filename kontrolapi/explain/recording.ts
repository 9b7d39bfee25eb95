/** Writes down what a decision goes through, stage by stage, as Explain answers it. */
import type { RuleOutcome } from '../../shared/routing/firewall.ts';
import type { Recorder, Stage } from '../../shared/routing/recorder.ts';

interface Candidate {
  readonly name: string;
  readonly won: boolean;
  readonly reason: string;
}

interface RuleTold {
  readonly rule: string;
  readonly outcome: RuleOutcome;
  readonly dryRun: boolean;
  readonly reason: string;
}

export interface StageTold {
  readonly stage: Stage;
  readonly candidates: Candidate[];
  readonly rules: RuleTold[];
  readonly notes: string[];
}

/** Candidates of one stage that are told; a domain may have thousands of paths. The winner always is. */
const MAX_CANDIDATES = 200;

export class Recording implements Recorder {
  readonly stages: StageTold[] = [];
  #leftOut = 0;

  stage(stage: Stage): void {
    this.#end();
    this.stages.push({ stage, candidates: [], rules: [], notes: [] });
  }

  candidate(name: string, won: boolean, reason: string): void {
    const candidates = this.stages.at(-1)?.candidates;
    if (candidates === undefined) return;
    if (won || candidates.length < MAX_CANDIDATES) candidates.push({ name, won, reason });
    else this.#leftOut++;
  }

  rule(rule: string, outcome: RuleOutcome, dryRun: boolean, reason: string): void {
    this.stages.at(-1)?.rules.push({ rule, outcome, dryRun, reason });
  }

  note(text: string): void {
    this.stages.at(-1)?.notes.push(text);
  }

  /** What was written down. */
  told(): readonly StageTold[] {
    this.#end();
    return this.stages;
  }

  #end(): void {
    if (this.#leftOut > 0) this.note(`${this.#leftOut} more candidates that did not win`);
    this.#leftOut = 0;
  }
}

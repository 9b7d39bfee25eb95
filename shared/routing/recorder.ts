/** What Explain hears of a decision while it is made. Nothing of it is worked out when nobody listens. */
import type { RuleObserver } from './firewall.ts';

/** The steps of a decision, in their order (design.md, A request). */
export const STAGES = [
  'host',
  'global-rules',
  'domain-rules',
  'https',
  'mode',
  'route',
  'route-rules',
  'target',
] as const;
export type Stage = (typeof STAGES)[number];

export interface Recorder extends RuleObserver {
  /** A step begins; the candidates and rules that follow belong to it. */
  stage(stage: Stage): void;
  /** Something that might have been chosen: a domain's host pattern, a route's path. `reason` says why it lost, or won. */
  candidate(name: string, won: boolean, reason: string): void;
  /** What the present step came to, for people. */
  note(text: string): void;
}

/** What every part of the API is given: one object, made once at the start. */
import type { Bus } from '../shared/bus/contract.ts';
import type { Clock } from '../shared/clock.ts';
import type { Log } from '../shared/log.ts';
import type { Kind } from '../shared/model/kinds.ts';
import type { SettingsOfProcess } from '../shared/settings.ts';
import type { Store } from '../shared/store/contract.ts';
import type { Auth } from './auth/auth.ts';
import type { NodeWatch } from './nodes/node-watch.ts';
import type { NodeQuestions } from './nodes/questions.ts';
import type { KindRules } from './resources/kind-rules.ts';
import type { Adoption } from './revisions/adoption.ts';
import type { Confirmations } from './revisions/confirmations.ts';
import type { History } from './revisions/history.ts';
import type { Present } from './revisions/present.ts';
import type { Writer } from './revisions/writer.ts';

export interface ApiContext {
  readonly settings: SettingsOfProcess;
  readonly log: Log;
  readonly clock: Clock;
  readonly store: Store;
  readonly bus: Bus;
  /** The objects as this process knows them. */
  readonly present: Present;
  /** The one way to change objects. */
  readonly writer: Writer;
  readonly history: History;
  /** What became of changes that asked to be confirmed. */
  readonly confirmations: Confirmations;
  readonly nodes: NodeWatch;
  /** What only nodes know, asked over the bus. */
  readonly questions: NodeQuestions;
  readonly adoption: Adoption;
  readonly auth: Auth;
  readonly rules: (kind: Kind) => KindRules;
}

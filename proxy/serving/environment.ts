/** Everything the protocol engines use of a serving process; made once in `start.ts`, faked in protocol tests. */

import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { ResolvedLimits } from '../../shared/model/settings.ts';
import type { Decision, RequestView } from '../../shared/routing/decision.ts';
import type { AnswersForSeveral } from '../http1/answer-source.ts';
import type { Observer } from '../observe/record.ts';
import type { Pages } from '../pages/contract.ts';
import type { RateGate } from '../rate/gate.ts';
import type { TimerWheel } from '../stream/timer-wheel.ts';
import type { Upstreams } from '../upstream/contract.ts';

export interface Environment {
  decide(request: RequestView): Decision;
  /** Counts what decisions name; left out where nothing is counted. */
  readonly rates?: RateGate;
  /** Read anew for each request: they change with the settings object. */
  limits(): ResolvedLimits;
  /** Add `Via`; setting `via`. */
  via(): boolean;
  /** Whether the peer with this canonical address is a trusted proxy (its forwarding fields are believed). */
  trusts(address: string): boolean;
  /** Port that HTTPS visitors see. */
  readonly publicHttpsPort: number;
  readonly upstreams: Upstreams;
  /** Answers for several visitors; absent: each request is sent for itself. */
  readonly answers?: AnswersForSeveral;
  readonly pages: Pages;
  readonly observer: Observer;
  readonly timers: TimerWheel;
  readonly clock: Clock;
  readonly log: Log;
  /** True while the process drains: answers carry `Connection: close`. */
  draining(): boolean;
}

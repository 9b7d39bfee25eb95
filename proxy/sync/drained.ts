/**
 * Whether a backend is out of balancing in every serving process of this node, with no request and no tunnel left on
 * it. Yes is only said by processes that have taken every change this node knows of: none of them can put it back.
 */
import type { Clock } from '../../shared/clock.ts';
import type { Table } from '../../shared/routing/table.ts';
import type { BackendUse } from '../upstream/upstreams.ts';
import type { Distributor } from './distribute.ts';
import type { Questions } from './questions.ts';

export interface DrainedContext {
  readonly clock: Clock;
  readonly table: Table;
  readonly distributor: Pick<Distributor, 'converged' | 'processes'>;
  readonly questions: Questions;
}

/** While changes keep coming there are moments without one under way: looked for this often and this many times. */
const LOOK_MS = 10;
const LOOKS = 50;

/** A node that never heard of the backend answers true. */
export async function isDrained(context: DrainedContext, service: string, address: string): Promise<boolean> {
  if (isBalanced(context.table, service, address)) return false;
  if (!(await converged(context))) return false;
  // Questions travel behind the changes, so the answers are of processes that have applied them.
  const processes = context.distributor.processes().map(({ id }) => id);
  const { answers, complete } = await context.questions.ask({ type: 'backend', service, address }, processes);
  if (!complete || isBalanced(context.table, service, address)) return false;
  return answers.every(({ answer }) => isIdle(answer));
}

function isBalanced(table: Table, service: string, address: string): boolean {
  for (const key of table.service(service)?.keys.values() ?? []) {
    for (const backend of key.backends) {
      if (backend.address === address && (backend.state === 'ready' || backend.state === 'lost')) return true;
    }
  }
  return false;
}

async function converged({ distributor, clock }: DrainedContext): Promise<boolean> {
  for (let look = 0; look < LOOKS && !distributor.converged; look++) {
    await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
  }
  return distributor.converged;
}

/** False for what is no answer: a process of another version may not know the question. */
function isIdle(answer: unknown): boolean {
  const { balanced, busy } = (answer ?? {}) as Partial<BackendUse>;
  return balanced === false && busy === false;
}

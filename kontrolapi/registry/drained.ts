/**
 * Finds out whether a backend is out of balancing everywhere with nothing active: asks every node over the bus, again
 * and again until all have said so or the time is over. Nodes answer for their serving processes.
 */
import { randomUUID } from 'node:crypto';
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';

export interface DrainQuestion {
  readonly service: string;
  readonly address: string;
  readonly timeoutMs: number;
  /** Names of the nodes that have to answer. */
  readonly nodes: () => readonly string[];
}

/** Most workers are idle at once, so the first questions come fast; a long request is not asked after so often. */
const FIRST_ASK_MS = 50;
const SLOWEST_ASK_MS = 1_000;

/** Nodes that have not said so in time; empty when all did. */
export function waitDrained(
  bus: Bus,
  clock: Clock,
  { service, address, timeoutMs, nodes }: DrainQuestion,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const id = randomUUID();
  const drained = new Set<string>();
  const pending = () => nodes().filter((node) => !drained.has(node));
  return new Promise((resolve) => {
    let cancelAsk = () => {};
    let pauseMs = FIRST_ASK_MS;
    const finish = () => {
      cancelAsk();
      cancelEnd();
      unsubscribe();
      signal.removeEventListener('abort', finish);
      resolve(pending());
    };
    const unsubscribe = bus.subscribe('kontrol:answer', (message) => {
      if (message?.['id'] !== id || typeof message['node'] !== 'string') return;
      if (message['drained'] === true) drained.add(message['node']);
      else drained.delete(message['node']);
      if (pending().length === 0) finish();
    });
    const cancelEnd = clock.after(timeoutMs, finish);
    signal.addEventListener('abort', finish);
    const ask = () => {
      if (pending().length === 0 || signal.aborted) {
        finish();
        return;
      }
      // The next is planned first: an answer may come at once and end all this.
      cancelAsk = clock.after(pauseMs, ask);
      pauseMs = Math.min(SLOWEST_ASK_MS, pauseMs * 1.5);
      bus.publish('kontrol:ask', { ask: 'drained', id, service, address });
    };
    ask();
  });
}

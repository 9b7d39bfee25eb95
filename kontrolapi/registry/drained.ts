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

const ASK_EVERY_MS = 150;

/** Nodes that have not said so in time; empty when all did. */
export function waitDrained(
  bus: Bus,
  clock: Clock,
  question: DrainQuestion,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const id = randomUUID();
  const drained = new Set<string>();
  const pending = () => question.nodes().filter((node) => !drained.has(node));
  return new Promise((resolve) => {
    let cancelAsk = () => {};
    const finish = () => {
      cancelAsk();
      cancelEnd();
      unsubscribe();
      resolve(pending());
    };
    const unsubscribe = bus.subscribe('kontrol:answer', (message) => {
      if (message?.['id'] !== id || typeof message['node'] !== 'string') return;
      if (message['drained'] === true) drained.add(message['node']);
      else drained.delete(message['node']);
      if (pending().length === 0) finish();
    });
    const cancelEnd = clock.after(question.timeoutMs, finish);
    signal.addEventListener('abort', finish, { once: true });
    const ask = () => {
      if (pending().length === 0) {
        finish();
        return;
      }
      bus.publish('kontrol:ask', {
        ask: 'drained',
        id,
        service: question.service,
        address: question.address,
      });
      cancelAsk = clock.after(ASK_EVERY_MS, ask);
    };
    ask();
  });
}

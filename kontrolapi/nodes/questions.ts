/**
 * Asks nodes what only they know, over the bus, and collects what they say until those that live have answered or the
 * time is over. A message may be lost: then that node's answer is missing, and the caller says so.
 */
import { randomUUID } from 'node:crypto';
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';

export type NodeAnswer = Readonly<Record<string, unknown>>;

/** Bounds what a flood of answers, from whoever, can make us keep. */
const MAX_ANSWERS = 1_000;

export class NodeQuestions {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #live: () => readonly string[];

  /** `live`: names of the nodes that should answer. */
  constructor(bus: Bus, clock: Clock, live: () => readonly string[]) {
    this.#bus = bus;
    this.#clock = clock;
    this.#live = live;
  }

  /** By node. Ends early when all that live have answered, or with the first answer that is `enough`. */
  ask(
    question: Readonly<Record<string, unknown>>,
    timeoutMs: number,
    enough: (answer: NodeAnswer) => boolean = () => false,
  ): Promise<Map<string, NodeAnswer>> {
    const id = randomUUID();
    const answers = new Map<string, NodeAnswer>();
    const expected = question['node'] === undefined ? this.#live() : [String(question['node'])];
    return new Promise((resolve) => {
      const finish = () => {
        cancel();
        unsubscribe();
        resolve(answers);
      };
      const unsubscribe = this.#bus.subscribe('kontrol:answer', (message) => {
        if (message?.['id'] !== id || typeof message['node'] !== 'string') return;
        if (answers.size < MAX_ANSWERS) answers.set(message['node'], message);
        if (enough(message) || expected.every((node) => answers.has(node))) finish();
      });
      const cancel = this.#clock.after(timeoutMs, finish);
      if (expected.length === 0) finish();
      else this.#bus.publish('kontrol:ask', { ...question, id });
    });
  }
}

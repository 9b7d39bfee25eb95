/**
 * Stored answers that unsafe requests made invalid (RFC 9111 §4.4), between nodes: what a serving process says goes
 * to the others of its node by way of the primary, and from here to the other nodes over the bus. Like everything on
 * the bus it may be lost; then an answer is kept elsewhere as long as it would have been without the request.
 */
import { MAX_MESSAGE_BYTES } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import type { InvalidAnswer, ToServing } from '../link/messages.ts';

/** What several processes, or several nodes, say within this time is one message. */
const TOGETHER_MS = 20;
const MAX_TOGETHER = 200;
/** Bytes of a message that its other fields take, at most. */
const ENVELOPE = 1_024;
/** The longest names and URIs that are believed. */
const MAX_SERVICE = 300;
const MAX_URI = 32_768;

export interface InvalidAnswersOptions {
  readonly node: string;
  readonly clock: Clock;
  publish(message: object): void;
  /** To every serving process of this node. */
  broadcast(message: ToServing): void;
}

/** By service and URI: several may say the same. */
type Answers = Map<string, InvalidAnswer>;

export class InvalidAnswers {
  readonly #options: InvalidAnswersOptions;
  /** For the bus. */
  readonly #told: Answers = new Map();
  /** For the serving processes. */
  readonly #heard: Answers = new Map();

  constructor(options: InvalidAnswersOptions) {
    this.#options = options;
  }

  /** A serving process of this node says so; the others of the node know. */
  told(answers: readonly InvalidAnswer[]): void {
    this.#gather(this.#told, answers, (all) => this.#publish(all));
  }

  /** A message `invalid` of the bus. */
  heard({ from, answers }: Readonly<Record<string, unknown>>): void {
    if (from === this.#options.node || !Array.isArray(answers)) return;
    this.#gather(this.#heard, answers.filter(isInvalidAnswer), (all) => this.#broadcast(all));
  }

  #gather(
    into: Answers,
    answers: readonly InvalidAnswer[],
    tell: (all: readonly InvalidAnswer[]) => void,
  ): void {
    const begins = into.size === 0;
    for (const answer of answers) into.set(`${answer[0]} ${answer[1]}`, answer);
    if (!begins || into.size === 0) return;
    this.#options.clock.after(TOGETHER_MS, () => {
      const all = [...into.values()];
      into.clear();
      tell(all);
    });
  }

  #publish(answers: readonly InvalidAnswer[]): void {
    const { node, publish } = this.#options;
    let part: InvalidAnswer[] = [];
    let bytes = ENVELOPE;
    for (const answer of answers) {
      const size = Buffer.byteLength(JSON.stringify(answer)) + 1;
      if (bytes + size > MAX_MESSAGE_BYTES && part.length > 0) {
        publish({ ask: 'invalid', from: node, answers: part });
        part = [];
        bytes = ENVELOPE;
      }
      part.push(answer);
      bytes += size;
    }
    publish({ ask: 'invalid', from: node, answers: part });
  }

  #broadcast(answers: readonly InvalidAnswer[]): void {
    for (let at = 0; at < answers.length; at += MAX_TOGETHER) {
      this.#options.broadcast({ type: 'invalid', answers: answers.slice(at, at + MAX_TOGETHER) });
    }
  }
}

function isInvalidAnswer(answer: unknown): answer is InvalidAnswer {
  if (!Array.isArray(answer) || answer.length !== 2) return false;
  const [service, uri] = answer as readonly unknown[];
  return (
    typeof service === 'string' &&
    typeof uri === 'string' &&
    service.length <= MAX_SERVICE &&
    uri.length <= MAX_URI
  );
}

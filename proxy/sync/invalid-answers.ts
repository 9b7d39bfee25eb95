/**
 * Stored answers that unsafe requests made invalid (RFC 9111 §4.4), between nodes: what a serving process says goes
 * to the others of its node by way of the primary, and from here to the other nodes over the bus. Like everything on
 * the bus it may be lost; then an answer is kept elsewhere as long as it would have been without the request.
 */
import { MAX_MESSAGE_BYTES } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import type { InvalidAnswer, ToServing } from '../link/messages.ts';

/** What several nodes say within this time reaches a serving process in one message. */
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

export class InvalidAnswers {
  readonly #options: InvalidAnswersOptions;
  /** By service and URI: several nodes may say the same. */
  #waiting = new Map<string, InvalidAnswer>();

  constructor(options: InvalidAnswersOptions) {
    this.#options = options;
  }

  /** A serving process of this node says so; the others of the node know. */
  told(answers: readonly InvalidAnswer[]): void {
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
    if (part.length > 0) publish({ ask: 'invalid', from: node, answers: part });
  }

  /** A message `invalid` of the bus. */
  heard({ from, answers }: Readonly<Record<string, unknown>>): void {
    if (from === this.#options.node || !Array.isArray(answers)) return;
    const rests = this.#waiting.size === 0;
    for (const answer of answers as readonly unknown[]) {
      if (isInvalidAnswer(answer)) this.#waiting.set(`${answer[0]} ${answer[1]}`, answer);
    }
    if (rests && this.#waiting.size > 0) this.#options.clock.after(TOGETHER_MS, () => this.#flush());
  }

  #flush(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting = new Map();
    for (let at = 0; at < waiting.length; at += MAX_TOGETHER) {
      this.#options.broadcast({ type: 'invalid', answers: waiting.slice(at, at + MAX_TOGETHER) });
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

/**
 * The head of an answer as it stands in what a backend sent, for what has to be known before it is kept. Says of each
 * field what the kept head (`kept-head.ts`) would.
 */
import { asciiBytes } from '../http1/bytes.ts';
import { httpDate } from '../http1/date.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import { isKept } from './kept-head.ts';
import type { AnswerHead } from './rules.ts';

/** Those that the rules ask for, a handful; they are constants of ours. */
const names = new Map<string, Uint8Array>();

export class HeadInPlace implements AnswerHead {
  readonly status: number;
  readonly #head: ResponseHead;
  readonly #now: number;

  /** Of use as long as the bytes of `head` are; `now`: wall clock, for an answer without Date. */
  constructor(head: ResponseHead, now: number) {
    this.status = head.status;
    this.#head = head;
    this.#now = now;
  }

  field(name: string): string | undefined {
    const { fields, hasDate } = this.#head;
    const bytes = bytesOf(name);
    let value: string | undefined;
    for (let i = 0; i < fields.count; i++) {
      if (!fields.nameIs(i, bytes) || !isKept(fields.kinds[i] as number)) continue;
      const next = fields.value(i);
      value = value === undefined ? next : `${value}, ${next}`;
    }
    return value === undefined && name === 'date' && !hasDate ? httpDate(this.#now) : value;
  }
}

function bytesOf(name: string): Uint8Array {
  let bytes = names.get(name);
  if (bytes === undefined) {
    bytes = asciiBytes(name);
    names.set(name, bytes);
  }
  return bytes;
}

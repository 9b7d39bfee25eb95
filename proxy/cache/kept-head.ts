/**
 * The head of an answer that is kept: the backend's fields without those of its hop and its framing, and the heads
 * made of it for visitors, with `Age` and `Cache-Status` (RFC 9111 §5.1, RFC 9211) and a length where it is known.
 */
import { STATUS_CODES } from 'node:http';
import { httpDate } from '../http1/date.ts';
import * as kind from '../http1/field-kinds.ts';
import { ResponseHead } from '../http1/response-head.ts';
import type { AnswerHead } from './rules.ts';

export interface KeptField {
  /** As the backend wrote it. */
  readonly name: string;
  /** Each byte one character. */
  readonly value: string;
}

/** Not kept: they belong to the connection, frame the message, or are written anew for each visitor. */
const LEFT_OUT: ReadonlySet<number> = new Set([kind.CONTENT_LENGTH, kind.TRAILER, kind.TRANSFER_ENCODING]);
/** Fields of a 304 that describe the message that was not sent, or its length, and not what is stored (RFC 9111 §3.2). */
const NOT_FROM_304: ReadonlySet<string> = new Set(['content-encoding', 'content-range', 'content-type']);
/** What a 304 of ours has (RFC 9110 §15.4.5), beside fields that are not about the representation. */
const NOT_IN_304 = /^content-(?!location$)/;

/** What the text of a kept head says, read when it is first asked for: most that is stored is never asked for. */
class Content {
  readonly reason: string;
  readonly fields: readonly KeptField[];
  readonly byName = new Map<string, string>();

  constructor(reason: string, fields: readonly KeptField[]) {
    this.reason = reason;
    this.fields = fields;
    for (const { name, value } of fields) {
      const lower = name.toLowerCase();
      const before = this.byName.get(lower);
      this.byName.set(lower, before === undefined ? value : `${before}, ${value}`);
    }
  }

  /** `now`: wall clock; an answer without Date gets one (RFC 9110 §6.6.1). */
  static of(head: ResponseHead, now: number): Content {
    const { fields } = head;
    const kept: KeptField[] = [];
    for (let i = 0; i < fields.count; i++) {
      if (isKept(fields.kinds[i] as number)) kept.push({ name: fields.name(i), value: fields.value(i) });
    }
    if (!head.hasDate) kept.push({ name: 'Date', value: httpDate(now) });
    return new Content(fields.text(head.statusStart, head.reasonEnd).trim().slice(4), kept);
  }
}

export class KeptHead implements AnswerHead {
  readonly status: number;
  /** Memory that it takes, about. */
  readonly size: number;
  #source: string | Content;
  readonly #receivedAt: number;
  /** The last head that was made, and what for: within a second most are the same. */
  #made: ResponseHead | null = null;
  #madeFor = '';

  private constructor(status: number, size: number, source: string | Content, receivedAt: number) {
    this.status = status;
    this.size = size;
    this.#source = source;
    this.#receivedAt = receivedAt;
  }

  /** `now`: wall clock; an answer without Date gets one (RFC 9110 §6.6.1). */
  static of(head: ResponseHead, now: number): KeptHead {
    const { fields, length } = head;
    return new KeptHead(head.status, sizeOf(fields.count, length), fields.text(0, length), now);
  }

  get #content(): Content {
    const source = this.#source;
    if (typeof source !== 'string') return source;
    const head = parsed(source);
    const content = Content.of(head, this.#receivedAt);
    head.fields.free();
    this.#source = content;
    return content;
  }

  field(name: string): string | undefined {
    return this.#content.byName.get(name);
  }

  /** With the fields of a 304 in place of those it has again (RFC 9111 §3.2). */
  updated(by: KeptHead): KeptHead {
    const { reason, fields } = this.#content;
    const { fields: newer, byName } = by.#content;
    const replaced = new Set([...byName.keys()].filter((name) => !NOT_FROM_304.has(name)));
    // Its age begins anew, whether the 304 says so or not.
    const kept = fields.filter(({ name }) => {
      const lower = name.toLowerCase();
      return !replaced.has(lower) && lower !== 'age';
    });
    const all = [...kept, ...newer.filter(({ name }) => replaced.has(name.toLowerCase()))];
    const bytes = all.reduce((sum, { name, value }) => sum + name.length + value.length, 0);
    return new KeptHead(this.status, sizeOf(all.length, bytes), new Content(reason, all), this.#receivedAt);
  }

  /** The head for a visitor; `length` is that of the body, -1 while it is not known. `ageSeconds` is null for none. */
  answer(length: number, ageSeconds: number | null, cacheStatus: string): ResponseHead {
    const key = `${length} ${ageSeconds} ${cacheStatus}`;
    if (this.#made !== null && this.#madeFor === key) return this.#made;
    const line = `HTTP/1.1 ${this.status} ${this.#content.reason}`;
    const bodiless = this.status === 204 || this.status === 304;
    const framing = length >= 0 && !bodiless ? [`Content-Length: ${length}`] : [];
    this.#made = this.#compose(line, ageSeconds, cacheStatus, framing, () => true);
    this.#madeFor = key;
    return this.#made;
  }

  /** A 304 for a visitor who has this answer already. */
  notModified(ageSeconds: number | null, cacheStatus: string): ResponseHead {
    return this.#compose(
      'HTTP/1.1 304 Not Modified',
      ageSeconds,
      cacheStatus,
      [],
      (name) => !NOT_IN_304.test(name),
    );
  }

  /** A 206 with bytes `first`…`last` of `length`. */
  part(
    first: number,
    last: number,
    length: number,
    ageSeconds: number | null,
    cacheStatus: string,
  ): ResponseHead {
    const framing = [
      `Content-Range: bytes ${first}-${last}/${length}`,
      `Content-Length: ${last - first + 1}`,
    ];
    return this.#compose('HTTP/1.1 206 Partial Content', ageSeconds, cacheStatus, framing, () => true);
  }

  /** A 416 for a range that lies outside (RFC 9110 §15.5.17). */
  static unsatisfiable(length: number, cacheStatus: string): ResponseHead {
    return parsed(
      `HTTP/1.1 416 ${STATUS_CODES[416]}\r\nDate: ${httpDate()}\r\nContent-Range: bytes */${length}\r\n` +
        `Cache-Status: ${cacheStatus}\r\nContent-Length: 0\r\n\r\n`,
    );
  }

  #compose(
    line: string,
    ageSeconds: number | null,
    cacheStatus: string,
    framing: readonly string[],
    wanted: (lowerName: string) => boolean,
  ): ResponseHead {
    let text = `${line}\r\n`;
    for (const { name, value } of this.#content.fields) {
      const lower = name.toLowerCase();
      if ((lower === 'age' && ageSeconds !== null) || !wanted(lower)) continue;
      text += `${name}: ${value}\r\n`;
    }
    if (ageSeconds !== null) text += `Age: ${ageSeconds}\r\n`;
    // Nearest to the visitor stands last (RFC 9211 §2).
    if (cacheStatus !== '') text += `Cache-Status: ${cacheStatus}\r\n`;
    for (const field of framing) text += `${field}\r\n`;
    return parsed(`${text}\r\n`);
  }
}

/** Whether a field of this kind is part of a kept head. */
export function isKept(known: number): boolean {
  return kind.DROP_FROM_RESPONSE[known] !== 1 && !LEFT_OUT.has(known);
}

/** Bytes of memory of so many fields with so much text. */
function sizeOf(fields: number, text: number): number {
  return 512 + 64 * fields + 3 * text;
}

function parsed(text: string): ResponseHead {
  const bytes = Buffer.from(text, 'latin1');
  const head = new ResponseHead();
  head.parse(bytes, 0, bytes.length);
  return head;
}

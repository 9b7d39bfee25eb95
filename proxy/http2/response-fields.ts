/**
 * The field blocks a client gets: the backend's head or the proxy's own, without what belongs to a connection
 * (RFC 9113 §8.2.2), with the changes of the route. They say the same as the heads of HTTP/1.1 (`response-writer.ts`).
 */
import type { FieldChanges } from '../../shared/routing/decision.ts';
import { httpDate } from '../http1/date.ts';
import * as kind from '../http1/field-kinds.ts';
import type { FieldLines } from '../http1/field-lines.ts';
import type { ResponseFraming, ResponseHead } from '../http1/response-head.ts';
import { changesField, isFramingName, setsDate, takingAway } from '../http1/response-writer.ts';
import type { PageAnswer } from '../pages/contract.ts';
import type { HpackEncoder } from './hpack-encoder.ts';
import type { Trailer } from './sender.ts';

/** The head of a final answer. */
export function encodeResponse(
  encoder: HpackEncoder,
  head: ResponseHead,
  framing: ResponseFraming,
  changes: FieldChanges | null,
): void {
  encoder.begin();
  encoder.status(head.status);
  encodeFields(encoder, head, framing === 'chunked', changes);
  if (!head.hasDate && !setsDate(changes)) encoder.text('date', httpDate());
  if (changes !== null) encodeChanges(encoder, changes);
}

/** A 1xx other than 101. */
export function encodeInformational(encoder: HpackEncoder, head: ResponseHead): void {
  encoder.begin();
  encoder.status(head.status);
  encodeFields(encoder, head, false, null);
}

/** The head of an answer of the proxy itself. */
export function encodeOwn(encoder: HpackEncoder, answer: PageAnswer, changes: FieldChanges | null): void {
  const { status, fields, body } = answer;
  encoder.begin();
  encoder.status(status);
  if (!setsDate(changes)) encoder.text('date', httpDate());
  for (const [name, value] of fields) {
    if (!changesField(changes, name.toLowerCase())) encoder.text(name, clean(value));
  }
  if (changes !== null) encodeChanges(encoder, changes);
  if (status !== 204 && status !== 304) encoder.text('content-length', String(body.length));
}

/** The fields of a trailer section that may go on; null when there are none. */
export function keptTrailers(fields: FieldLines): Trailer[] | null {
  let kept: Trailer[] | null = null;
  for (let i = 0; i < fields.count; i++) {
    if (kind.DROP_FROM_TRAILERS[fields.kinds[i] as number] === 1) continue;
    const name = fields.buffer.subarray(fields.base + fields.nameStart(i), fields.base + fields.nameEnd(i));
    const value = fields.buffer.subarray(
      fields.base + fields.valueStart(i),
      fields.base + fields.valueEnd(i),
    );
    kept ??= [];
    kept.push({ bytes: Buffer.concat([name, value]), nameLength: name.length });
  }
  return kept;
}

function encodeFields(
  encoder: HpackEncoder,
  head: ResponseHead,
  trailers: boolean,
  changes: FieldChanges | null,
): void {
  const { fields } = head;
  const { buffer, base } = fields;
  const taking = takingAway(changes);
  let dates = 0;
  for (let i = 0; i < fields.count; i++) {
    const known = fields.kinds[i] as number;
    if (kind.DROP_FROM_RESPONSE[known] === 1 && !(known === kind.TRAILER && trailers)) continue;
    if (known === kind.CONTENT_LENGTH && (head.status === 204 || head.informational)) continue;
    if (known === kind.DATE && dates++ > 0) continue;
    if (taking !== null && changesField(taking, fields.name(i).toLowerCase())) continue;
    encoder.field(
      buffer,
      base + fields.nameStart(i),
      base + fields.nameEnd(i),
      base + fields.valueStart(i),
      base + fields.valueEnd(i),
    );
  }
}

function encodeChanges(encoder: HpackEncoder, changes: FieldChanges): void {
  for (const [name, value] of changes.set) if (!isFramingName(name)) encoder.text(name, clean(value));
  for (const [name, value] of changes.add) if (!isFramingName(name)) encoder.text(name, clean(value));
}

/** A value from configuration or a template: no control characters, no white space at its ends (RFC 9113 §8.2.1). */
function clean(value: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return value.replace(/[\x00-\x08\x0a-\x1f\x7f]/g, ' ').trim();
}

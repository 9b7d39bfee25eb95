/**
 * The head a visitor gets: the backend's, copied as slices, without what stays on its hop, framed for the visitor's
 * version of HTTP, with the changes of the route.
 */
import type { FieldChanges } from '../../shared/routing/decision.ts';
import { httpDate } from './date.ts';
import * as kind from './field-kinds.ts';
import type { Outbox } from './outbox.ts';
import type { ResponseFraming, ResponseHead } from './response-head.ts';

export interface ResponseWriting {
  readonly head: ResponseHead;
  /** How the body that follows is framed towards the visitor; `none` also when there is none by nature (HEAD). */
  readonly framing: ResponseFraming;
  /** Version of the visitor. */
  readonly minor: number;
  /** The connection ends after this answer. */
  readonly close: boolean;
  readonly changes: FieldChanges | null;
}

const ADDED = 512;
const COLON = 58;
/** Fields that a route cannot change: they frame the message or belong to the connection. */
const FRAMING_NAMES: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The head of a final answer. */
export function writeResponseHead(out: Outbox, answer: ResponseWriting): void {
  const { head, changes } = answer;
  out.begin(head.length + ADDED);
  writeStatusLine(out, head);
  copyFields(out, answer);
  if (!head.hasDate && !setsDate(changes)) {
    out.text('Date: ');
    out.text(httpDate());
    out.text('\r\n');
  }
  writeFraming(out, answer);
  if (changes !== null) writeFieldChanges(out, changes);
  out.text('\r\n');
}

/** A 1xx other than 101: no framing, nothing of ours. */
export function writeInformational(out: Outbox, head: ResponseHead): void {
  out.begin(head.length + ADDED);
  writeStatusLine(out, head);
  copyFields(out, { head, framing: 'none', minor: 1, close: false, changes: null });
  out.text('\r\n');
}

/** The 101 that begins a tunnel. */
export function writeSwitch(out: Outbox, head: ResponseHead, changes: FieldChanges | null): void {
  out.begin(head.length + ADDED);
  writeStatusLine(out, head);
  copyFields(out, { head, framing: 'none', minor: 1, close: false, changes });
  out.text('Connection: Upgrade\r\nUpgrade: websocket\r\n');
  if (changes !== null) writeFieldChanges(out, changes);
  out.text('\r\n');
}

/** `set` and `add` of a route; whoever calls it has left out the fields that `set` replaces. */
export function writeFieldChanges(out: Outbox, changes: FieldChanges): void {
  for (const [name, value] of changes.set) if (!FRAMING_NAMES.has(name)) out.field(name, value);
  for (const [name, value] of changes.add) if (!FRAMING_NAMES.has(name)) out.field(name, value);
}

/** Whether a route cannot change this field; `name` is lower case. */
export function isFramingName(name: string): boolean {
  return FRAMING_NAMES.has(name);
}

/** Whether the route removes or replaces this field; `name` is lower case. */
export function changesField(changes: FieldChanges | null, name: string): boolean {
  if (changes === null || FRAMING_NAMES.has(name)) return false;
  return changes.remove.has(name) || changes.set.some(([set]) => set === name);
}

/** `changes` where it removes or replaces any field; null where an answer keeps all it has. */
export function takingAway(changes: FieldChanges | null): FieldChanges | null {
  return changes === null || (changes.set.length === 0 && changes.remove.size === 0) ? null : changes;
}

/** Whether the route has a date of its own: an answer has one. */
export function setsDate(changes: FieldChanges | null): boolean {
  return changes?.set.some(([name]) => name === 'date') ?? false;
}

function writeStatusLine(out: Outbox, head: ResponseHead): void {
  const { buffer, base } = head.fields;
  out.text('HTTP/1.1');
  out.bytes(buffer, base + head.statusStart, base + head.reasonEnd);
  // The space before an empty reason phrase is not optional (RFC 9112 §4).
  out.text(head.reasonEnd - head.statusStart === 4 ? ' \r\n' : '\r\n');
}

function copyFields(out: Outbox, answer: ResponseWriting): void {
  const { head } = answer;
  const changes = takingAway(answer.changes);
  const { fields } = head;
  const { buffer, base } = fields;
  let runStart = -1;
  let dates = 0;
  for (let i = 0; i < fields.count; i++) {
    const known = fields.kinds[i] as number;
    let stays = kind.DROP_FROM_RESPONSE[known] === 0 || staysAfterAll(answer, known);
    if (known === kind.CONTENT_LENGTH && (head.status === 204 || head.informational)) stays = false;
    if (known === kind.DATE && dates++ > 0) stays = false;
    if (stays && changes !== null && changesField(changes, fields.name(i).toLowerCase())) stays = false;
    const rewritten = stays && buffer[base + fields.nameEnd(i)] !== COLON;
    if (stays && !rewritten) {
      if (runStart < 0) runStart = fields.nameStart(i);
      continue;
    }
    if (runStart >= 0) out.bytes(buffer, base + runStart, base + fields.nameStart(i));
    runStart = -1;
    if (rewritten) {
      // White space before the colon goes (RFC 9112 §5.1).
      out.bytes(buffer, base + fields.nameStart(i), base + fields.nameEnd(i));
      out.text(': ');
      out.bytes(buffer, base + fields.valueStart(i), base + fields.lineEnd(i));
    }
  }
  if (runStart >= 0) out.bytes(buffer, base + runStart, base + fields.end);
}

function staysAfterAll({ head, framing, minor }: ResponseWriting, known: number): boolean {
  if (known === kind.TRAILER) return framing === 'chunked';
  // An answer to HEAD says what GET would have: that, too, is copied.
  if (known !== kind.TRANSFER_ENCODING || framing !== 'none' || minor === 0) return false;
  return head.chunked && head.status >= 200 && head.status !== 204;
}

function writeFraming(out: Outbox, { framing, minor, close }: ResponseWriting): void {
  if (framing === 'chunked') out.text('Transfer-Encoding: chunked\r\n');
  if (close) out.text('Connection: close\r\n');
  else if (minor === 0) out.text('Connection: keep-alive\r\n');
}

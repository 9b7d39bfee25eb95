/**
 * A request as it is sent for several: a copy that outlives the visitor whose request it was. Conditions of that
 * visitor are left out, and those of a stored answer that is asked for anew are put in (RFC 9111 §4.3.1).
 */
import type { FieldChanges, Forward } from '../../shared/routing/decision.ts';
import type { OutgoingRequest } from '../http1/answer-source.ts';
import { COMPLETE } from '../http1/field-lines.ts';
import { RequestHead } from '../http1/request-head.ts';
import { HttpRequestView } from '../http1/request-view.ts';
import type { RequestSource } from '../http1/request-writer.ts';
import type { AnswerHead } from './rules.ts';

const NO_CHANGES: FieldChanges = { set: [], add: [], remove: new Set() };
const CONDITIONS = ['if-none-match', 'if-modified-since'] as const;

export interface CopiedRequest extends OutgoingRequest {
  readonly view: HttpRequestView;
}

/** `kept`: the answer that is asked for anew, or null. Null when the head cannot be copied. */
export function copyRequest(
  from: OutgoingRequest & { readonly view: HttpRequestView },
  kept: AnswerHead | null,
): CopiedRequest | null {
  const { visitor, view, requestId, via, startedAt } = from;
  const { fields } = visitor.head;
  const bytes = Buffer.from(fields.buffer.subarray(fields.base, fields.base + visitor.head.length));
  const head = new RequestHead();
  if (
    head.parse(bytes, 0, bytes.length, { headSize: bytes.length + 1, fields: fields.count + 1 }) !== COMPLETE
  )
    return null;
  const copiedView = new HttpRequestView(head);
  copiedView.begin(view.identity, view.now);
  const { protocol, identity, trusted, peer, forwarding, clientFields = '' } = visitor;
  // Whatever a source has the copy must have: what tells the backend who asks above all.
  const source: Required<RequestSource> = {
    ...{ protocol, head, identity, trusted, peer, forwarding, clientFields },
  };
  return {
    visitor: source,
    view: copiedView,
    requestId,
    via,
    startedAt,
    decision: withConditions(from.decision, copiedView, kept),
  };
}

function withConditions(decision: Forward, view: HttpRequestView, kept: AnswerHead | null): Forward {
  const set: (readonly [string, string])[] = [];
  const etag = kept?.field('etag');
  const modified = kept?.field('last-modified');
  if (etag !== undefined) set.push(['if-none-match', etag]);
  if (modified !== undefined) set.push(['if-modified-since', modified]);
  const has = CONDITIONS.some((name) => view.header(name) !== undefined);
  if (set.length === 0 && !has) return decision;
  const changes = decision.request ?? NO_CHANGES;
  return {
    ...decision,
    request: {
      set: [...changes.set, ...set],
      add: changes.add,
      remove: new Set([...changes.remove, ...CONDITIONS]),
    },
  };
}

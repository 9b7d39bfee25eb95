/**
 * A request as it is sent for several. Conditions of the visitor whose request it is are left out, and those of a
 * stored answer that is asked for anew are put in (RFC 9111 §4.3.1). It is that visitor's own as long as the visitor
 * stays, and a copy from then on.
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

/** Whose request it is. */
type Original = OutgoingRequest & { readonly view: HttpRequestView };

export class SharedRequest implements OutgoingRequest {
  visitor: RequestSource;
  view: HttpRequestView;
  readonly requestId: string;
  readonly via: boolean;
  readonly startedAt: number;
  readonly decision: Forward;

  /** `kept`: the answer that is asked for anew, or null. */
  constructor(from: Original, kept: AnswerHead | null) {
    this.visitor = from.visitor;
    this.view = from.view;
    this.requestId = from.requestId;
    this.via = from.via;
    this.startedAt = from.startedAt;
    this.decision = withConditions(from.decision, from.view, kept);
  }

  /** The visitor leaves, or will before the request is over. False when the head cannot be copied. */
  copy(): boolean {
    const { visitor, view } = this;
    const { fields } = visitor.head;
    const bytes = Buffer.from(fields.buffer.subarray(fields.base, fields.base + visitor.head.length));
    const head = new RequestHead();
    const limits = { headSize: bytes.length + 1, fields: fields.count + 1 };
    if (head.parse(bytes, 0, bytes.length, limits) !== COMPLETE) return false;
    const { protocol, identity, trusted, peer, forwarding, clientFields = '' } = visitor;
    // Whatever a source has the copy must have: what tells the backend who asks above all.
    const source: Required<RequestSource> = {
      ...{ protocol, head, identity, trusted, peer, forwarding, clientFields },
    };
    this.visitor = source;
    this.view = new HttpRequestView(head);
    this.view.begin(view.identity, view.now);
    return true;
  }
}

function withConditions(decision: Forward, view: HttpRequestView, kept: AnswerHead | null): Forward {
  const has = view.header('if-none-match') !== undefined || view.header('if-modified-since') !== undefined;
  if (kept === null && !has) return decision;
  const set: (readonly [string, string])[] = [];
  const etag = kept?.field('etag');
  const modified = kept?.field('last-modified');
  if (etag !== undefined) set.push(['if-none-match', etag]);
  if (modified !== undefined) set.push(['if-modified-since', modified]);
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

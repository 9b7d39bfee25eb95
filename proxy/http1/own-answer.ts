/**
 * Answers that the proxy makes itself: pages, redirects and fixed answers, complete and framed (behaviour.md, Answers
 * of the proxy itself). A HEAD gets the head that GET would.
 */
import { STATUS_CODES } from 'node:http';
import type { CauseCode } from '../../shared/causes.ts';
import type { Decision, FieldChanges, Forward, RequestView } from '../../shared/routing/decision.ts';
import type { PageAnswer, Pages } from '../pages/contract.ts';
import { httpDate } from './date.ts';
import type { Outbox } from './outbox.ts';
import type { RequestHead } from './request-head.ts';
import { changesField, setsDate, writeFieldChanges } from './response-writer.ts';

export interface OwnAnswerWriting {
  readonly answer: PageAnswer;
  /** Without body: the request was a HEAD. */
  readonly headOnly: boolean;
  readonly close: boolean;
  /** Version of the visitor. */
  readonly minor: number;
  readonly changes: FieldChanges | null;
}

const ALLOWED = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';
/** Causes that say that nobody is there to ask. */
const NOWHERE: ReadonlySet<CauseCode> = new Set(['no_routes', 'host_unknown', 'route_unknown']);
const NO_BODY = Buffer.alloc(0);

export interface PageOptions {
  readonly status?: number;
  readonly retryAfter?: number | null;
}

/** What is known of the request when it is answered by a page. */
interface PageJournal {
  readonly requestId: string;
  readonly decision: Decision | null;
}

/** The page for a cause; `view` is null when there is no valid request. */
export function pageFor(
  pages: Pages,
  cause: CauseCode,
  view: RequestView | null,
  journal: PageJournal,
  options: PageOptions = {},
): PageAnswer {
  const page = pages.render({
    cause,
    host: view?.host ?? '',
    requestId: journal.requestId,
    accept: view?.header('accept'),
    brand: journal.decision?.labels.pages ?? null,
    retryAfter: options.retryAfter ?? null,
    ...(options.status === undefined ? {} : { status: options.status }),
  });
  // RFC 9110 §15.5.6: a 405 says what would be allowed.
  return page.status === 405 ? { ...page, fields: [...page.fields, ['Allow', ALLOWED]] } : page;
}

/** The answer that a decision itself holds; null where it takes a page. */
export function ownAnswer(
  decision: Exclude<Decision, Forward>,
  head: RequestHead,
  requestId: string,
): PageAnswer | null {
  switch (decision.type) {
    case 'redirect':
      return {
        status: decision.status,
        fields: [['Location', decision.location], ...ownFields(requestId)],
        body: NO_BODY,
      };
    case 'answer': {
      const body = Buffer.from(decision.body);
      const type: [string, string][] = body.length > 0 ? [['Content-Type', decision.contentType]] : [];
      return { status: decision.status, fields: [...type, ...ownFields(requestId)], body };
    }
    case 'page': {
      return head.asterisk && NOWHERE.has(decision.cause) ? optionsAnswer(requestId) : null;
    }
    default:
      return decision satisfies never;
  }
}

/** To an OPTIONS that ends here: `*` without a site, or Max-Forwards used up. */
export function optionsAnswer(requestId: string): PageAnswer {
  return { status: 204, fields: [['Allow', ALLOWED], ...ownFields(requestId)], body: NO_BODY };
}

function ownFields(requestId: string): [string, string][] {
  return [
    ['X-Request-Id', requestId],
    ['Proxy-Status', 'kontrol'],
  ];
}

/** Composes the whole answer in `out`; answers how many bytes of body it has. */
export function writeOwnAnswer(out: Outbox, writing: OwnAnswerWriting): number {
  const { answer, headOnly, close, minor, changes } = writing;
  const { status, fields, body } = answer;
  const bodiless = status === 204 || status === 304;
  out.begin(2_048 + body.length);
  out.text(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`);
  if (!setsDate(changes)) out.text(`Date: ${httpDate()}\r\n`);
  for (const [name, value] of fields) {
    if (!changesField(changes, name.toLowerCase())) out.field(name, value);
  }
  if (changes !== null) writeFieldChanges(out, changes);
  if (!bodiless) out.text(`Content-Length: ${body.length}\r\n`);
  if (close) out.text('Connection: close\r\n');
  else if (minor === 0) out.text('Connection: keep-alive\r\n');
  out.text('\r\n');
  if (headOnly || bodiless) return 0;
  out.bytes(body, 0, body.length);
  return body.length;
}

/**
 * What sharing means for one request: whether it may take an answer that others get, wait for one under way, leave one
 * behind, and by what it is told apart from other requests. A request that may do nothing of that has no plan.
 */
import type { DecisionLabels, FieldChanges, Forward } from '../../shared/routing/decision.ts';
import { normalisePath } from '../../shared/routing/path.ts';
import * as kind from '../http1/field-kinds.ts';
import type { RequestHead } from '../http1/request-head.ts';
import type { HttpRequestView } from '../http1/request-view.ts';
import type { RequestSource } from '../http1/request-writer.ts';
import { parseCacheControl } from './cache-control.ts';
import { type Conditions, conditionsOf } from './conditions.ts';
import type { AskedFor } from './rules.ts';

export interface Plan {
  /** What the visitor asked for, absolute. */
  readonly uri: string;
  /** Everything else that decides about the answer, apart from what `Vary` names. */
  readonly key: string;
  /** Requests that are the same under this name may wait for one answer; null: it waits for nobody. */
  readonly flight: string | null;
  readonly build: number;
  readonly paths: readonly string[];
  readonly asked: AskedFor;
  readonly headOnly: boolean;
  /** Its answer may be taken from the store, and go there. */
  readonly caches: boolean;
  readonly conditions: Conditions | null;
  /** Value of Range; only a stored answer serves it. */
  readonly range: string | undefined;
}

/** Conditions that only the backend can judge. */
const FOR_THE_BACKEND = ['if-match', 'if-unmodified-since', 'if-range'] as const;
/** What a trusted peer says of the visitor, and backends make links of. */
const TRUSTED = [
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'forwarded',
] as const;

/** Null: a backend is asked for this visitor alone. */
export function planOf(visitor: RequestSource, view: HttpRequestView, decision: Forward): Plan | null {
  const { head } = visitor;
  const { coalesce, cache } = decision.service.config;
  const { method } = head;
  if ((method !== 'GET' && method !== 'HEAD') || head.hasBody || head.websocket || head.expectContinue)
    return null;
  if (head.fields.find(kind.UPGRADE) >= 0 || head.asterisk) return null;
  // The backend does not see what Connection names: its answer is for a request without, the key has it.
  if (head.fields.find(kind.NAMED_BY_CONNECTION) >= 0) return null;
  for (const name of FOR_THE_BACKEND) if (view.header(name) !== undefined) return null;
  const asked = askedFor(view, decision);
  const conditions = conditionsOf(view);
  const range = view.header('range');
  const cookies = asked.cookie && coalesce?.withCookies !== true;
  const alone = asked.authorization || cookies || range !== undefined;
  if (asked.control.noStore || (cache === null && (alone || conditions !== null))) return null;
  const target = decision.path === null ? view.target : decision.path + view.query;
  const key = keyOf(visitor, view, decision, coalesce?.headers ?? [], target);
  const uri = uriOf(visitor, view);
  return {
    uri,
    key,
    flight: alone ? null : flightOf(head, view, uri, key),
    build: decision.key.key,
    paths: pathsOf(view.rawPath, decision.path),
    asked,
    headOnly: method === 'HEAD',
    caches: cache !== null,
    conditions,
    range: method === 'GET' ? range : undefined,
  };
}

function pathsOf(asked: string, forwarded: string | null): readonly string[] {
  const path = plain(asked);
  const other = forwarded === null ? path : plain(forwarded);
  return other === path ? [path] : [path, other];
}

/** The path as purges name it: each in one way. */
export function plain(path: string): string {
  return normalisePath(path)?.path ?? path;
}

function askedFor(view: HttpRequestView, decision: Forward): AskedFor {
  // A request from before Cache-Control says the same by Pragma (RFC 9111 §5.4).
  const said = view.header('cache-control') ?? pragmaOf(view);
  return {
    control: parseCacheControl(said),
    // A certificate says who asks as much as a password does: RFC 9440 §2.4.
    authorization:
      view.header('authorization') !== undefined ||
      view.header('client-cert') !== undefined ||
      decision.identified === true,
    cookie: view.header('cookie') !== undefined,
  };
}

function pragmaOf(view: HttpRequestView): string | undefined {
  const pragma = view.header('pragma');
  return pragma !== undefined && /no-cache/i.test(pragma) ? 'no-cache' : undefined;
}

/** What the visitor asked for; the host in lower case, with its port as it was given. */
export function uriOf({ head }: RequestSource, view: HttpRequestView): string {
  const authority = head.text(head.authorityStart, head.authorityEnd).toLowerCase();
  return `${view.secure ? 'https' : 'http'}://${authority}${view.target}`;
}

/** What the keys of one route's requests begin with, as long as these stay the same. */
interface Beginning {
  readonly changes: FieldChanges | null;
  readonly build: number;
  readonly port: number;
  readonly trusted: boolean;
  readonly text: string;
}

const beginnings = new WeakMap<DecisionLabels, Beginning>();

/**
 * A line for each part, and the target last. As many lines as the service has `headers` (with others its answers are
 * forgotten) and as a trusted peer may say; values of fields, and JSON, never hold the end of one.
 */
function keyOf(
  visitor: RequestSource,
  view: HttpRequestView,
  decision: Forward,
  headers: readonly string[],
  target: string,
): string {
  let text = beginningOf(decision, view.port, visitor.trusted);
  for (const name of headers) text += line(view.header(name));
  if (visitor.trusted) for (const name of TRUSTED) text += line(view.header(name));
  return text + target;
}

function beginningOf({ labels, request, key }: Forward, port: number, trusted: boolean): string {
  const known = beginnings.get(labels);
  if (
    known !== undefined &&
    known.changes === request &&
    known.build === key.key &&
    known.port === port &&
    known.trusted === trusted
  )
    return known.text;
  const changes = request === null ? null : [request.set, request.add, [...request.remove]];
  const text = `${JSON.stringify([labels.domain, key.key, port, trusted, changes])}\n`;
  beginnings.set(labels, { changes: request, build: key.key, port, trusted, text });
  return text;
}

/** Tells an absent field from an empty one. */
function line(value: string | undefined): string {
  return value === undefined ? '-\n' : `+${value}\n`;
}

/**
 * What `Vary` names most often is taken in from the start; and how often the request has been here: in the second round
 * of a circle it would wait for itself.
 */
function flightOf({ method, passes }: RequestHead, view: HttpRequestView, uri: string, key: string): string {
  const encoding = line(view.header('accept-encoding'));
  const others = line(view.header('cache-control')) + line(view.header('cookie'));
  return `${method} ${passes}\n${encoding}${others}${uri}\n${key}`;
}

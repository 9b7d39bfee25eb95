/** The answer to a write: what became of it, and with `wait=all` which nodes serve it. */
import type { Answer } from '../http/operation.ts';
import { DEFAULT_WAIT_MS, type WriteQuery } from '../http/query.ts';
import type { NodeWatch } from '../nodes/node-watch.ts';
import type { Outcome } from './writer.ts';

/**
 * `content` is what the call is about; it is joined by `seq`, `written` (false when all was so already: then `seq` is
 * the newest revision, which somebody else wrote) and `warnings`, by `confirm` when the change is undone unless
 * confirmed, by `changes`, `effect` and `dryRun` for a dry run, by `nodes`, `pending`, `stopped` and `problems` for `wait=all`. The
 * status is 202 while nodes are pending, not known yet, or could not load an object of the change: the write stands.
 */
export async function answerWrite(
  outcome: Outcome,
  query: WriteQuery,
  nodes: NodeWatch,
  signal: AbortSignal,
  content: Readonly<Record<string, unknown>>,
  more: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Answer> {
  const { seq, written, confirmUntil, warnings } = outcome;
  const headers = { ...more.headers, 'Kontrol-Seq': String(seq) };
  if (query.dryRun === true) {
    const effect = { ...outcome.effect, nodes: nodes.live().sort() };
    return { headers, body: { dryRun: true, seq, changes: outcome.differences(), warnings, effect } };
  }
  const confirm = confirmUntil === null ? {} : { confirm: { until: new Date(confirmUntil).toISOString() } };
  const body = { ...content, seq, written, ...confirm, warnings };
  if (query.wait === undefined) return { status: more.status, headers, body };
  const timeout = query.timeout ?? DEFAULT_WAIT_MS;
  const waited = await nodes.waitFor(seq, outcome.began, timeout, signal, outcome.subjects);
  const { problems, pending, stopped } = waited;
  return {
    status: waited.complete && problems.length === 0 ? (more.status ?? 200) : 202,
    headers,
    body: { ...body, nodes: waited.nodes, pending, stopped, problems },
  };
}

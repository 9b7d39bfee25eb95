/**
 * `/v1/explain`: why a request goes where it goes, decided here by the code that decides in the nodes, for a request
 * that is described or one that a node remembers. `/v1/rules/{name}/tryout`: a rule on traffic that was seen.
 */
import { z } from 'zod';
import { CAUSES } from '../../shared/causes.ts';
import { KontrolError } from '../../shared/errors.ts';
import { parseObject, SETTINGS_NAME } from '../../shared/model/kinds.ts';
import { decide } from '../../shared/routing/decide.ts';
import type { Decision, RequestView } from '../../shared/routing/decision.ts';
import type { Table } from '../../shared/routing/table.ts';
import { READERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { type Operation, operationWithBody, operationWithRawBody } from '../http/operation.ts';
import type { NodeAnswer } from '../nodes/questions.ts';
import { noSuch, presentName } from '../resources/kind-names.ts';
import type { View } from '../revisions/view.ts';
import { tellBackends } from './backends.ts';
import { Recording } from './recording.ts';
import { requestOf, requestOfRecord } from './request.ts';
import { ExplainTables } from './table.ts';
import { type SeenRequest, tryRule } from './tryout.ts';

/** Nodes ask their serving processes, which have a second. */
const ASK_MS = 1_500;
/** Messages with remembered requests that each node is asked for. */
const MAX_PAGES = 8;

const explainBody = z.strictObject({
  url: z
    .string()
    .max(16_384)
    .optional()
    .describe('what a visitor asks for, like https://shop.example.com/cart'),
  request: z
    .string()
    .max(256)
    .optional()
    .describe('instead of url: the X-Request-Id of a request of the last minutes'),
  method: z
    .string()
    .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/)
    .optional()
    .describe('default GET'),
  headers: z.record(z.string().max(256), z.string().max(8_192)).optional(),
  address: z.string().max(64).optional().describe('of the visitor; default that of the caller'),
  at: z.number().int().min(0).optional().describe('decide by the objects as they were at this revision'),
});
type ExplainBody = z.output<typeof explainBody>;

export function explainOperations(context: ApiContext): Operation[] {
  const tables = new ExplainTables(context);
  return [
    operationWithBody(explainBody, {
      method: 'POST',
      path: '/v1/explain',
      summary: 'Why a request goes where it goes: every stage, every candidate, the backend it would get',
      access: READERS,
      async handle({ body, address }) {
        if ((body.url === undefined) === (body.request === undefined)) {
          throw new KontrolError('invalid', undefined, [
            { path: 'url', message: 'give either url, or request with the id of one that was seen' },
          ]);
        }
        return { body: await explain(context, tables, body, address) };
      },
    }),
    operationWithRawBody(z.record(z.string(), z.unknown()), {
      method: 'POST',
      path: '/v1/rules/{name}/tryout',
      summary:
        'What a rule, as it is or as the body has it, would have done to the last requests of the nodes',
      access: READERS,
      bodyOptional: true,
      async handle({ params, body }) {
        const name = presentName('rule', params.name ?? '');
        const state = await context.present.fresh(context.clock);
        const input = Object.keys(body).length > 0 ? { name, ...body } : state.get('rule', name)?.doc;
        if (input === undefined) throw noSuch('rule', name);
        const parsed = parseObject('rule', input);
        if (!parsed.ok) throw new KontrolError('invalid', undefined, parsed.problems);
        const { seen, nodes } = await seenRequests(context);
        try {
          return { body: { ...tryRule(parsed.value, seen, concernedBy(state, name)), nodes } };
        } catch (error) {
          if (error instanceof KontrolError) throw error;
          throw new KontrolError('invalid', `The rule cannot be loaded: ${(error as Error).message}`);
        }
      },
    }),
  ];
}

async function explain(context: ApiContext, tables: ExplainTables, body: ExplainBody, address: string) {
  const record = body.request === undefined ? null : await findRecord(context, body.request);
  const request =
    record === null
      ? requestOf({ ...body, url: body.url ?? '' }, address, context.clock.now())
      : requestOfRecord(record);
  if (request === null)
    throw new KontrolError('not_found', 'The node that served this request does not say enough about it');
  const seq = body.at ?? (record === null ? null : await revisionAt(context, request.now));
  const newest = seq === null || seq >= context.present.seq;
  const recording = new Recording();
  const byTable = (table: Table) => decide(table, request, recording);
  const decision = await (newest && body.at === undefined
    ? tables.present(byTable)
    : tables.at(seq ?? 0, byTable));
  const { host, method, rawPath, query, websocket, secure } = request;
  return {
    seq: newest ? context.present.seq : seq,
    request: { secure, host, method, path: rawPath, query, address: request.address, websocket },
    stages: recording.told(),
    decision: tellDecision(decision),
    ...(decision.type === 'forward' ? { backends: await backends(context, decision, request) } : {}),
    ...(record === null ? {} : { record }),
  };
}

async function backends(
  context: ApiContext,
  decision: Extract<Decision, { type: 'forward' }>,
  request: RequestView,
) {
  const question = { ask: 'backends', service: decision.service.name };
  return tellBackends(decision, request.websocket, await context.questions.ask(question, ASK_MS));
}

/** Throws `not_found` when no node remembers it. */
async function findRecord(context: ApiContext, id: string): Promise<NodeAnswer & { readonly node: string }> {
  const isFound = ({ record }: NodeAnswer) => typeof record === 'object' && record !== null;
  const answers = await context.questions.ask({ ask: 'request', request: id }, ASK_MS, isFound);
  for (const [node, answer] of answers) if (isFound(answer)) return { ...(answer['record'] as object), node };
  throw new KontrolError(
    'not_found',
    `No node remembers a request ${id.slice(0, 64)}; each serving process keeps its last 1024`,
  );
}

/** The newest revision at that time; null for the present one. The clocks of nodes and kontrolapi may differ. */
async function revisionAt({ history, present, clock }: ApiContext, time: number): Promise<number | null> {
  await present.fresh(clock);
  const seq = await history.lastBefore(time, present.seq);
  return seq === null || seq === present.seq ? null : seq;
}

function tellDecision(decision: Decision) {
  const { type, labels } = decision;
  switch (decision.type) {
    case 'forward': {
      const { service, key, path } = decision;
      return { type, labels, service: service.name, key: key.key, path };
    }
    case 'page': {
      const { status, message } = CAUSES[decision.cause];
      return { type, labels, cause: decision.cause, status, message, retryAfter: decision.retryAfter };
    }
    case 'redirect':
      return { type, labels, status: decision.status, location: decision.location };
    case 'answer':
      return { type, labels, status: decision.status, contentType: decision.contentType };
  }
}

/** The last requests of all nodes, in several messages each, and the nodes that were heard. */
async function seenRequests({ questions }: ApiContext) {
  const seen = new Map<string, SeenRequest>();
  const nodes = new Set<string>();
  const skips = new Map<string, number>();
  const take = (answers: ReadonlyMap<string, NodeAnswer>) => {
    for (const [node, { requests, more }] of answers) {
      const list = Array.isArray(requests) ? requests.filter(isSeen) : [];
      nodes.add(node);
      for (const request of list) seen.set(`${node} ${request.id}`, request);
      const skip = (skips.get(node) ?? 0) + list.length;
      if (more === true && list.length > 0) skips.set(node, skip);
      else skips.delete(node);
    }
  };
  take(await questions.ask({ ask: 'recent', skip: 0 }, ASK_MS));
  for (let page = 1; page < MAX_PAGES && skips.size > 0; page++) {
    const asked = [...skips];
    skips.clear();
    const answers = await Promise.all(
      asked.map(([node, skip]) => {
        skips.set(node, skip);
        return questions.ask({ ask: 'recent', skip, node }, ASK_MS);
      }),
    );
    for (const answer of answers) take(answer);
    for (const [node] of asked) if (!answers.some((answer) => answer.has(node))) skips.delete(node);
  }
  return { seen: [...seen.values()], nodes: [...nodes].sort() };
}

function isSeen(value: unknown): value is SeenRequest {
  const { id, at, address, method } = (value ?? {}) as Partial<SeenRequest>;
  return (
    typeof id === 'string' &&
    typeof at === 'number' &&
    typeof address === 'string' &&
    typeof method === 'string'
  );
}

/** A rule that nothing names yet is tried on everything. */
function concernedBy(view: View, rule: string): (domain: string | null) => boolean {
  const users = view.referrers('rule', rule);
  const everywhere =
    users.length === 0 || users.some(({ kind, name }) => kind === 'settings' && name === SETTINGS_NAME);
  if (everywhere) return () => true;
  const domains = new Set(users.filter(({ kind }) => kind === 'domain').map(({ name }) => name));
  return (domain) => domain !== null && domains.has(domain);
}

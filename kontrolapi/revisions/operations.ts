/** `/v1/revisions`: what changed, when and by whom; one revision with its differences; going back to one. */
import { z } from 'zod';
import { KontrolError } from '../../shared/errors.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Change, Revision } from '../../shared/model/revision.ts';
import { CHANGERS, READERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { type Operation, operation, operationWithBody } from '../http/operation.ts';
import { limitOf, pageLimit, writeQuery } from '../http/query.ts';
import { parseInSlices } from '../resources/parse-in-slices.ts';
import { Turns } from '../turns.ts';
import { answerWrite } from './answer.ts';
import { type Confirmation, shownConfirmation } from './confirmations.ts';
import { difference } from './difference.ts';
import type { Past } from './history.ts';
import type { View } from './view.ts';

/** How a kind and a name are read, which belongs to the objects. */
export interface Names {
  kindOf(text: unknown): Kind | undefined;
  canonicalName(kind: Kind, text: string): string | Error;
}

/** A page ends, too, when its revisions name so many objects: one may name fifty thousand. */
const MAX_NAMED = 20_000;

const restoreBody = z.strictObject({
  kind: z.string().max(32).optional().describe('only objects of this kind'),
  name: z.string().max(512).optional().describe('only this object; needs kind'),
});

export function revisionOperations(context: ApiContext, names: Names): Operation[] {
  const read = (query: { kind?: string; name?: string }) => readSelection(query, names);
  return [
    operation({
      method: 'GET',
      path: '/v1/revisions',
      summary:
        'Revisions, newest first; lookedTo is the oldest that was looked at when the search stopped before its end, and next goes on there',
      access: READERS,
      query: z.strictObject({
        kind: z.string().max(32).optional(),
        name: z.string().max(512).optional(),
        limit: pageLimit,
        cursor: z
          .string()
          .regex(/^\d{1,15}$/, 'give the `next` of the answer before')
          .transform(Number)
          .optional(),
      }),
      async handle({ query }) {
        const selected = read(query);
        await context.present.fresh(context.clock);
        return { body: await list(context, selected, limitOf(query.limit), query.cursor ?? null) };
      },
    }),
    operation({
      method: 'GET',
      path: '/v1/revisions/{seq}',
      summary:
        'One revision with its documents and what they changed; with lookedTo not all was found, and GET /v1/revisions?kind=&name=&cursor={lookedTo} goes on',
      access: READERS,
      async handle({ params }) {
        await context.present.fresh(context.clock);
        const revision = await context.history.get(seqOf(params.seq));
        return { body: await show(context, revision) };
      },
    }),
    operationWithBody(restoreBody, {
      method: 'POST',
      path: '/v1/revisions/{seq}/restore',
      summary: 'Make all objects, those of a kind, or one as they were at a revision; written as a new one',
      access: CHANGERS,
      query: writeQuery,
      bodyOptional: true,
      async handle({ params, body, query, caller, address, signal }) {
        const selected = read(body);
        const seq = seqOf(params.seq);
        await context.present.catchUp();
        const past = await context.history.at(seq, (object) => selects(selected, object));
        if (selected.name !== undefined) requireKnown(context, past, selected);
        const outcome = await context.writer.submit(
          {
            author: caller.name,
            message: query.message ?? `restore ${describeSelection(selected)} from revision ${seq}`,
            confirmWithinMs: query.confirmWithin,
            address,
            objects: selected.name === undefined ? past.size : 1,
            decide: async (view) => retaining(context, view, await changesBackTo(view, past, selected)),
          },
          query.dryRun,
        );
        const changes = outcome.differences().map(({ kind, name, change }) => ({ kind, name, change }));
        return answerWrite(outcome, query, context.nodes, signal, { restored: seq, changes });
      },
    }),
    operationWithBody(z.strictObject({}), {
      method: 'POST',
      path: '/v1/revisions/{seq}/confirm',
      summary: 'Keep a change that was made with confirmWithin; 409 when it is undone already',
      access: CHANGERS,
      bodyOptional: true,
      async handle({ params, caller }) {
        await context.present.catchUp();
        const revision = await context.history.get(seqOf(params.seq));
        if (revision.confirmWithinMs === undefined) {
          throw new KontrolError('conflict', `Revision ${revision.seq} does not wait for a confirmation`);
        }
        const { state, by } = await context.confirmations.confirm(revision, caller.name);
        context.log.info('revision_confirmed', `${by} confirmed revision ${revision.seq}`, {
          seq: revision.seq,
        });
        return { body: { seq: revision.seq, state, by } };
      },
    }),
  ];
}

interface Selection {
  readonly kind?: Kind;
  readonly name?: string;
}

function readSelection(query: { kind?: string; name?: string }, names: Names): Selection {
  if (query.kind === undefined) {
    if (query.name === undefined) return {};
    throw invalid('kind', 'a name needs its kind');
  }
  const kind = names.kindOf(query.kind);
  if (kind === undefined) throw invalid('kind', 'there is no such kind');
  if (query.name === undefined) return { kind };
  const name = names.canonicalName(kind, query.name);
  if (name instanceof Error) throw invalid('name', name.message);
  return { kind, name };
}

function invalid(path: string, message: string): KontrolError {
  return new KontrolError('invalid', undefined, [{ path, message }]);
}

function seqOf(text: string | undefined): number {
  // Nothing is meant by 0: to go back to it would remove everything.
  if (/^0*[1-9]\d{0,14}$/.test(text ?? '')) return Number(text);
  throw new KontrolError('not_found', 'A revision is a positive integer');
}

/** What whole objects leave there although they do not name it, stays when they are brought back, too. */
function retaining({ rules }: ApiContext, view: View, changes: readonly Change[]): Change[] {
  return changes.map((change) => {
    const { kind, name, doc } = change;
    const retain = rules(kind).retain;
    if (doc === null || retain === undefined) return change;
    return { kind, name, doc: retain(doc, view.get(kind, name)) };
  });
}

function selects(selected: Selection, { kind, name }: { kind: Kind; name: string }): boolean {
  return (
    (selected.kind === undefined || selected.kind === kind) &&
    (selected.name === undefined || selected.name === name)
  );
}

function describeSelection({ kind, name }: Selection): string {
  if (kind === undefined) return 'everything';
  return name === undefined ? `every ${kind}` : `${kind} ${name}`;
}

async function list(context: ApiContext, selected: Selection, limit: number, before: number | null) {
  const items: object[] = [];
  const confirmations = new Map<string, Confirmation>();
  for (const each of await context.confirmations.list()) confirmations.set(each.id, each);
  let lookedAt = 0;
  let named = 0;
  for await (const revision of context.history.descending(before)) {
    const next = revision.seq + 1;
    if (items.length === limit || named >= MAX_NAMED) return { items, next: String(next), lookedTo: null };
    // An object with few entries in a long history: whoever wants more goes on from there.
    if (lookedAt++ >= context.history.maxLookedAt) return { items, next: String(next), lookedTo: next };
    if (!revision.changes.some((change) => selects(selected, change))) continue;
    const changes = revision.changes.map(({ kind, name, doc }) => ({ kind, name, deleted: doc === null }));
    items.push({ ...headOf(revision, confirmations.get(revision.id) ?? null), changes });
    named += changes.length;
  }
  return { items, next: null, lookedTo: null };
}

/** Who and when, what became of a wanted confirmation, and what it undid. */
function headOf(revision: Revision, confirmation: Confirmation | null) {
  const { seq, at, author, message, undoes } = revision;
  const confirm = shownConfirmation(revision, confirmation);
  return {
    seq,
    at: new Date(at).toISOString(),
    author,
    message,
    ...(confirm === undefined ? {} : { confirm }),
    ...(undoes === undefined ? {} : { undoes }),
  };
}

async function show(context: ApiContext, revision: Revision) {
  const { seq, id } = revision;
  const asks = revision.confirmWithinMs !== undefined;
  const confirmation = asks ? await context.confirmations.get(id) : null;
  const { documents, lookedTo } = await context.history.before(seq, revision.changes);
  const changes = revision.changes.map((change) => {
    const { kind, name, doc } = change;
    const earlier = documents.get(`${kind}/${name}`);
    // Undefined: older than the history that is kept or was looked at, so what changed cannot be told.
    if (earlier === undefined) return { kind, name, doc, change: null, fields: null };
    const { change: what, fields } = difference(change, earlier);
    return { kind, name, doc, change: what, fields };
  });
  return { ...headOf(revision, confirmation), id, changes, lookedTo };
}

function requireKnown(context: ApiContext, past: Past, { kind, name }: Selection): void {
  if (kind === undefined || name === undefined) return;
  if (past.has(`${kind}/${name}`) || context.present.state.get(kind, name) !== undefined) return;
  throw new KontrolError('not_found', `There was no ${kind} ${name} at that revision, and there is none now`);
}

async function changesBackTo(view: View, past: Past, selected: Selection): Promise<Change[]> {
  const changes: Change[] = [];
  const turns = new Turns();
  for (const object of past.values()) {
    const { kind, name, doc } = object;
    if (!selects(selected, object)) continue;
    await turns.give();
    const parsed = await parseInSlices(kind, doc);
    if (!parsed.ok) {
      const problems = parsed.problems.map(({ path, message }) => ({
        path: `${kind}/${name}: ${path}`,
        message,
      }));
      throw new KontrolError('invalid', 'What was valid at that revision is not any more', problems);
    }
    changes.push({ kind, name, doc });
  }
  for (const object of view.all()) {
    if (!selects(selected, object) || past.has(`${object.kind}/${object.name}`)) continue;
    changes.push({ kind: object.kind, name: object.name, doc: null });
  }
  return changes;
}

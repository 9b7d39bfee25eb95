/** The calls that are the same for every kind of object: list, read, put, patch, delete. */
import { z } from 'zod';
import { COLLECTIONS, type Kind, SCHEMAS, SETTINGS_NAME } from '../../shared/model/kinds.ts';
import { CHANGERS, READERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import {
  type Answer,
  type Call,
  type Operation,
  operation,
  operationWithRawBody,
} from '../http/operation.ts';
import { checkPreconditions, etagOf, isNotModified } from '../http/preconditions.ts';
import { pageLimit, type WriteQuery, writeQuery } from '../http/query.ts';
import { answerWrite } from '../revisions/answer.ts';
import type { Doc, Held, View } from '../revisions/view.ts';
import { toDocument, withName } from './documents.ts';
import { LISTED_KINDS, newName, noSuch, presentName } from './kind-names.ts';
import { listObjects } from './list.ts';
import { mergePatch } from './merge-patch.ts';

const listQuery = z.strictObject({
  q: z.string().max(256).optional().describe('text in names, aliases, labels or owner'),
  label: z
    .union([z.string().max(400), z.array(z.string().max(400)).max(10)])
    .optional()
    .describe('key or key=value; several must all hold'),
  limit: pageLimit,
  cursor: z.string().max(1_024).optional().describe('`next` of the answer before'),
});

export function objectOperations(context: ApiContext): Operation[] {
  return [...LISTED_KINDS.flatMap((kind) => kindOperations(context, kind)), ...settingsOperations(context)];
}

function kindOperations(context: ApiContext, kind: Kind): Operation[] {
  const collection = `/v1/${COLLECTIONS[kind]}`;
  const one = `${collection}/{name}`;
  return [
    operation({
      method: 'GET',
      path: collection,
      summary: `List ${COLLECTIONS[kind]}`,
      access: READERS,
      query: listQuery,
      async handle({ query }) {
        return { body: listObjects(await context.present.fresh(context.clock), kind, query) };
      },
    }),
    operation({
      method: 'GET',
      path: one,
      summary: `Read a ${kind}`,
      access: READERS,
      async handle({ params, headers }) {
        const name = presentName(kind, params.name ?? '');
        const held = (await context.present.fresh(context.clock)).get(kind, name);
        if (held === undefined) throw noSuch(kind, name);
        return answerRead(held, headers);
      },
    }),
    ...writeOperations(context, kind, one, (params) => params.name ?? ''),
    operation({
      method: 'DELETE',
      path: one,
      summary: `Delete a ${kind}`,
      access: CHANGERS,
      query: writeQuery,
      async handle({ params, query, headers, caller, address, signal }) {
        const name = presentName(kind, params.name ?? '');
        const outcome = await context.writer.submit(
          {
            author: caller.name,
            message: query.message ?? '',
            confirmWithinMs: query.confirmWithin,
            address,
            decide(view) {
              const held = view.get(kind, name);
              checkPreconditions(headers, held?.rev ?? null);
              if (held === undefined) throw noSuch(kind, name);
              return [{ kind, name, doc: null }];
            },
          },
          query.dryRun,
        );
        return answerWrite(outcome, query, context.nodes, signal, { kind, name });
      },
    }),
  ];
}

function settingsOperations(context: ApiContext): Operation[] {
  return [
    operation({
      method: 'GET',
      path: '/v1/settings',
      summary: 'Read the settings; what is not there has its default',
      access: READERS,
      async handle({ headers }) {
        const held = (await context.present.fresh(context.clock)).get('settings', SETTINGS_NAME);
        return answerRead(held ?? { rev: 0, doc: {} }, headers);
      },
    }),
    ...writeOperations(context, 'settings', '/v1/settings', () => SETTINGS_NAME),
  ];
}

function writeOperations(
  context: ApiContext,
  kind: Kind,
  path: string,
  nameIn: (params: Readonly<Record<string, string>>) => string,
): Operation[] {
  const rules = context.rules(kind);
  return [
    operationWithRawBody(rules.inputSchema ?? SCHEMAS[kind], {
      method: 'PUT',
      path,
      summary: kind === 'settings' ? 'Replace the settings' : `Create or replace a ${kind}`,
      access: CHANGERS,
      query: writeQuery,
      handle(call) {
        const name = newName(kind, nameIn(call.params));
        const input = withName(kind, call.body, name);
        return writeObject(context, kind, name, writeCallOf(call), () => input, asItIs, rules.retain);
      },
    }),
    operationWithRawBody(z.record(z.string(), z.unknown()), {
      method: 'PATCH',
      path,
      summary: `Change some fields by JSON merge patch (RFC 7396)`,
      access: CHANGERS,
      query: writeQuery,
      handle(call) {
        const name = presentName(kind, nameIn(call.params));
        return writeObject(context, kind, name, writeCallOf(call), (held) => {
          if (held === undefined && kind !== 'settings') throw noSuch(kind, name);
          return withName(kind, mergePatch(held?.doc ?? {}, call.body) as Doc, name);
        });
      },
    }),
  ];
}

/** What a write of one object needs of its call. */
export interface WriteCall {
  readonly query: WriteQuery;
  readonly headers: Parameters<typeof checkPreconditions>[0];
  readonly author: string;
  /** Of the caller. */
  readonly address: string;
  readonly signal: AbortSignal;
}

export function writeCallOf({
  query,
  headers,
  caller,
  address,
  signal,
}: Call<WriteQuery, unknown>): WriteCall {
  return { query, headers, author: caller.name, address, signal };
}

function asItIs(doc: Doc): Doc {
  return doc;
}

/** Writes the object that `make` gives for the present one, and answers it as it is stored then. */
export async function writeObject(
  context: ApiContext,
  kind: Kind,
  name: string,
  call: WriteCall,
  make: (held: Held | undefined) => Doc,
  show: (doc: Doc) => Readonly<Record<string, unknown>> = asItIs,
  retain: (doc: Doc, held: Held | undefined) => Doc = asItIs,
): Promise<Answer> {
  let written: Doc = {};
  let created = false;
  const outcome = await context.writer.submit(
    {
      author: call.author,
      message: call.query.message ?? '',
      confirmWithinMs: call.query.confirmWithin,
      address: call.address,
      async decide(view: View) {
        const held = view.get(kind, name);
        // The settings are there from the start, at revision 0.
        const absent = kind === 'settings' ? 0 : null;
        checkPreconditions(call.headers, held?.rev ?? absent);
        const { doc } = await toDocument(
          kind,
          make(held),
          held,
          context.rules(kind),
          call.query.dryRun !== true,
        );
        created = held === undefined && absent === null;
        written = retain(doc, held);
        return [{ kind, name, doc: written }];
      },
    },
    call.query.dryRun,
  );
  const rev = outcome.written ? outcome.seq : (context.present.state.get(kind, name)?.rev ?? outcome.seq);
  return answerWrite(outcome, call.query, context.nodes, call.signal, show(written), {
    status: created && outcome.written ? 201 : 200,
    headers: call.query.dryRun === true ? {} : { ETag: etagOf(rev) },
  });
}

function answerRead(held: Held, headers: Parameters<typeof isNotModified>[0]): Answer {
  const etag = { ETag: etagOf(held.rev) };
  return isNotModified(headers, held.rev)
    ? { status: 304, headers: etag }
    : { headers: etag, body: held.doc };
}

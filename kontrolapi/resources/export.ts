/**
 * `/v1/export`: every object, as apply takes it. It is written object by object, as fast as the client reads, so that
 * it may be larger than any text that this process can hold.
 */
import { z } from 'zod';
import { READERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { type Operation, operation } from '../http/operation.ts';
import type { Doc, Named } from '../revisions/view.ts';

/** Pieces have at least this many characters, but for the last one. */
const PIECE = 65_536;

type Exported = Pick<Named, 'kind' | 'doc'>;

export function exportOperations(context: ApiContext): Operation[] {
  return [
    operation({
      method: 'GET',
      path: '/v1/export',
      summary: 'All objects, in the shape that apply takes; with at= as they were at a revision',
      access: READERS,
      query: z.strictObject({
        at: z
          .string()
          .regex(/^\d{1,15}$/, 'a revision is a positive integer')
          .transform(Number)
          .optional()
          .describe('as they were at this revision'),
        owner: z.string().max(128).optional().describe('only objects of this owner'),
        format: z
          .enum(['json', 'lines'])
          .optional()
          .describe('json: one document {seq, objects}, the default; lines: one object per line'),
      }),
      async handle({ query }) {
        const state = await context.present.fresh(context.clock);
        const seq = query.at ?? context.present.seq;
        // The list is made at once, so that a change in between shows in all of it or in nothing.
        const held: readonly Exported[] =
          seq === context.present.seq ? [...state.all()] : await context.history.objectsAt(seq);
        const { owner } = query;
        const objects = owner === undefined ? held : held.filter(({ doc }) => doc.owner === owner);
        const lines = query.format === 'lines';
        return {
          headers: {
            'Content-Type': lines ? 'application/x-ndjson' : 'application/json',
            'Kontrol-Seq': String(seq),
          },
          pieces: lines
            ? joined('', objects, '\n', '\n')
            : joined(`{"seq":${seq},"objects":[`, objects, ',', ']}'),
        };
      },
    }),
  ];
}

/** The objects as JSON between `begin` and `end`; nothing but `begin` and `end` when there are none. */
function* joined(
  begin: string,
  objects: readonly Exported[],
  separator: string,
  end: string,
): Generator<string> {
  let piece = begin;
  let first = true;
  for (const { kind, doc } of objects) {
    piece += `${first ? '' : separator}${JSON.stringify({ kind, ...doc } satisfies Doc)}`;
    first = false;
    if (piece.length < PIECE) continue;
    yield piece;
    piece = '';
  }
  yield first && separator === end ? begin : piece + end;
}

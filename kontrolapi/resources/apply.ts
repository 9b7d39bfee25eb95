/** `/v1/apply`: many objects as one atomic revision. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { z } from 'zod';
import { type FieldProblem, KontrolError } from '../../shared/errors.ts';
import { type Kind, SETTINGS_NAME } from '../../shared/model/kinds.ts';
import { patternsWeight } from '../../shared/model/pattern-budget.ts';
import type { Change } from '../../shared/model/revision.ts';
import { MAX_PATTERNS_WEIGHT } from '../../shared/patterns.ts';
import { CHANGERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { APPLY_LIMIT, type Operation, operationWithBody } from '../http/operation.ts';
import { writeQuery } from '../http/query.ts';
import { answerWrite } from '../revisions/answer.ts';
import { effectiveChanges } from '../revisions/difference.ts';
import type { Doc, View } from '../revisions/view.ts';
import { below, toDocument } from './documents.ts';
import { canonicalName, KIND_HINT, kindOf } from './kind-names.ts';

const MAX_OBJECTS = 50_000;
/** Most that the patterns of a list may weigh together (`patternWeight`): every node compiles them with this one revision. */
const MAX_LIST_WEIGHT = 20 * MAX_PATTERNS_WEIGHT;
/** After so many problems the rest of a list is not looked at: an answer has no room for more. */
const MAX_PROBLEMS = 100;
/** How long the validation of a list goes on, in milliseconds, before other calls have their turn. */
const MAX_HOLD_MS = 20;

const applyBody = z.strictObject({
  owner: z
    .string()
    .regex(/^[a-zA-Z0-9._/-]{1,128}$/, 'an owner has 1 to 128 of a-z A-Z 0-9 . _ / -')
    .optional()
    .describe(
      'whose objects these are; without it each object keeps the owner that it names, as in an export',
    ),
  prune: z.boolean().optional().describe('delete what this owner has and the list has not; default false'),
  message: z.string().max(500).optional(),
  objects: z
    .array(z.record(z.string(), z.unknown()))
    .max(MAX_OBJECTS)
    .describe('objects, each with its kind beside its fields'),
});

/** An object of the list, its kind and name known, its fields not yet validated. */
interface Wanted {
  readonly kind: Kind;
  readonly name: string;
  readonly input: Doc;
  /** `objects.3.` */
  readonly prefix: string;
}

export function applyOperations(context: ApiContext): Operation[] {
  return [
    operationWithBody(applyBody, {
      method: 'POST',
      path: '/v1/apply',
      summary:
        'Create and replace many objects as one revision; with prune delete what the owner had besides',
      access: CHANGERS,
      query: writeQuery,
      bodyLimit: APPLY_LIMIT,
      async handle({ body, query, caller, address, signal }) {
        const owner = body.owner ?? null;
        if (owner === null && body.prune === true) {
          throw new KontrolError('invalid', undefined, [
            { path: 'prune', message: 'only what one owner has can be pruned; name the owner' },
          ]);
        }
        const wanted = readObjects(body.objects, owner);
        const prefixes = new Map(wanted.map(({ kind, name, prefix }) => [`${kind}/${name}`, prefix]));
        const outcome = await context.writer.submit(
          {
            author: caller.name,
            message: query.message ?? body.message ?? '',
            confirmWithinMs: query.confirmWithin,
            address,
            objects: wanted.length,
            locate: (kind, name) => prefixes.get(`${kind}/${name}`) ?? '',
            async decide(view) {
              refuseOthers(view, wanted);
              const changes = await documents(context, view, wanted, query.dryRun !== true);
              return body.prune !== true || owner === null
                ? changes
                : [...changes, ...pruned(view, wanted, owner)];
            },
          },
          query.dryRun,
        );
        const { changes } = outcome;
        const unchanged = wanted.length - changes.filter((change) => change.doc !== null).length;
        const told = outcome.differences().map(({ kind, name, change }) => ({ kind, name, change }));
        return answerWrite(outcome, query, context.nodes, signal, { changes: told, unchanged });
      },
    }),
  ];
}

/** Throws `invalid` with the path of every object whose kind or name cannot be told, or that stands twice. */
function readObjects(objects: readonly Doc[], owner: string | null): Wanted[] {
  refuseTooManyPatterns(objects);
  const problems: FieldProblem[] = [];
  const wanted = new Map<string, Wanted>();
  for (const [index, object] of objects.entries()) {
    const prefix = `objects.${index}.`;
    const read = readObject(object, owner, prefix);
    if ('message' in read) {
      problems.push({ path: prefix + read.path, message: read.message });
      continue;
    }
    const id = `${read.kind}/${read.name}`;
    if (wanted.has(id)) problems.push({ path: `${prefix}name`, message: `${id} stands twice in the list` });
    wanted.set(id, read);
  }
  if (problems.length > 0) throw new KontrolError('invalid', undefined, problems);
  return [...wanted.values()];
}

function refuseTooManyPatterns(objects: readonly Doc[]): void {
  let weight = 0;
  for (const object of objects) weight += patternsWeight(kindOf(object['kind']) ?? '', object);
  if (weight <= MAX_LIST_WEIGHT) return;
  const message =
    'the regular expressions of the list are too many or too complex together; apply it in parts';
  throw new KontrolError('invalid', undefined, [{ path: 'objects', message }]);
}

function readObject(
  { kind: given, ...fields }: Doc,
  owner: string | null,
  prefix: string,
): Wanted | FieldProblem {
  const kind = kindOf(given);
  if (kind === undefined) return { path: 'kind', message: `expected ${KIND_HINT}` };
  const name = kind === 'settings' ? SETTINGS_NAME : nameIn(kind, fields.name);
  if (name instanceof Error) return { path: 'name', message: name.message };
  if (owner === null) return { kind, name, input: fields, prefix };
  if (fields.owner !== undefined && fields.owner !== owner) {
    return {
      path: 'owner',
      message: `the list belongs to ${owner}; leave the owner out here, or that of the list to keep each one's own`,
    };
  }
  return { kind, name, input: { ...fields, owner }, prefix };
}

function nameIn(kind: Kind, name: unknown): string | Error {
  return typeof name === 'string' ? canonicalName(kind, name) : new Error('expected a name');
}

/** What another owner's file says must not be overwritten by this one; what nobody owns may be taken. */
function refuseOthers(view: View, wanted: readonly Wanted[]): void {
  const problems = wanted.flatMap(({ kind, name, input, prefix }) => {
    const present = view.get(kind, name)?.doc.owner;
    if (present === undefined || present === input.owner) return [];
    return [{ path: `${prefix}owner`, message: `${kind} ${name} belongs to ${String(present)}` }];
  });
  if (problems.length === 0) return;
  throw new KontrolError(
    'conflict',
    'Some objects belong to another owner; apply them there, or remove their owner first',
    problems,
  );
}

async function documents(
  context: ApiContext,
  view: View,
  wanted: readonly Wanted[],
  keep: boolean,
): Promise<Change[]> {
  const changes: Change[] = [];
  const problems: FieldProblem[] = [];
  let since = performance.now();
  for (const { kind, name, input, prefix } of wanted) {
    if (performance.now() - since > MAX_HOLD_MS) {
      await nextTurn();
      since = performance.now();
    }
    try {
      const held = view.get(kind, name);
      const rules = context.rules(kind);
      const { doc } = await toDocument(kind, input, held, rules, keep);
      changes.push({ kind, name, doc: rules.retain?.(doc, held) ?? doc });
    } catch (thrown) {
      const error = below(prefix, thrown);
      if (!(error instanceof KontrolError) || error.code !== 'invalid') throw error;
      // Not spread: an object can have more problems than a call has room for arguments.
      for (const problem of error.problems.slice(0, MAX_PROBLEMS)) problems.push(problem);
      if (problems.length >= MAX_PROBLEMS) break;
    }
  }
  if (problems.length > 0) throw new KontrolError('invalid', undefined, problems);
  return effectiveChanges(view, changes);
}

function pruned(view: View, wanted: readonly Wanted[], owner: string): Change[] {
  const kept = new Set(wanted.map(({ kind, name }) => `${kind}/${name}`));
  const changes: Change[] = [];
  for (const { kind, name, doc } of view.all()) {
    if (doc.owner === owner && !kept.has(`${kind}/${name}`)) changes.push({ kind, name, doc: null });
  }
  return changes;
}

/** How what a client sent becomes a document that can be stored: its name, its special parts, its long form. */
import { type FieldProblem, KontrolError } from '../../shared/errors.ts';
import { type Kind, nameOf, SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Doc, Held } from '../revisions/view.ts';
import { canonicalName } from './kind-names.ts';
import type { KindRules } from './kind-rules.ts';
import { parseInSlices } from './parse-in-slices.ts';

/** The input with the name that the path gives it. A name in the body must be the same. */
export function withName(kind: Kind, input: Doc, name: string): Doc {
  if (kind === 'settings') return input;
  if (input.name === undefined) return { name, ...input };
  const given = typeof input.name === 'string' ? canonicalName(kind, input.name) : null;
  if (typeof given === 'string' && given !== name) {
    throw new KontrolError('invalid', undefined, [
      { path: 'name', message: `the path names ${name}; leave the name out or make it the same` },
    ]);
  }
  return input;
}

/** Validates a complete object and answers its long form. Throws `invalid` with the path of every problem. */
export async function toDocument(
  kind: Kind,
  input: Doc,
  present: Held | undefined,
  rules: KindRules,
  keep: boolean,
): Promise<{ readonly name: string; readonly doc: Doc }> {
  const prepared = rules.prepare === undefined ? input : await rules.prepare(input, present, keep);
  const parsed = await parseInSlices(kind, prepared);
  if (!parsed.ok) throw new KontrolError('invalid', undefined, parsed.problems);
  const doc = parsed.value as unknown as Doc;
  return { name: nameOf(kind, doc as { name?: string }) || SETTINGS_NAME, doc };
}

/** The same failure with the paths of its problems moved below `prefix`. */
export function below(prefix: string, error: unknown): unknown {
  if (prefix === '' || !(error instanceof KontrolError) || error.code !== 'invalid') return error;
  const problems: FieldProblem[] = error.problems.map(({ path, message }) => ({
    path: path === '' ? prefix.replace(/\.$/, '') : prefix + path,
    message,
  }));
  return new KontrolError(error.code, error.message, problems);
}

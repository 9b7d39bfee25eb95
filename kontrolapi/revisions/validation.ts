/**
 * What holds across objects, checked against the state as it would be: references exist, hosts have one owner,
 * nothing that is named goes away, plus what is special to a kind. Answers warnings; throws what must not be written.
 */
import { type FieldProblem, KontrolError } from '../../shared/errors.ts';
import { claimedHosts, type Domain } from '../../shared/model/domain.ts';
import { COLLECTIONS, type Kind } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { KindRules } from '../resources/kind-rules.ts';
import { referencesOf } from './references.ts';
import type { Doc, View } from './view.ts';

/** Something that is allowed but probably not meant. */
export interface Warning {
  readonly kind: Kind;
  readonly name: string;
  readonly path: string;
  readonly message: string;
}

/** Where an object stands in the request: `''`, or `objects.3.` in a list of many. */
export type Locate = (kind: Kind, name: string) => string;

const MAX_REFERRERS = 100;

/** Checks `changes`, which `draft` has applied already. */
export function validateChanges(
  draft: View,
  changes: readonly Change[],
  rules: (kind: Kind) => KindRules,
  locate: Locate,
): Warning[] {
  const warnings: Warning[] = [];
  const problems: FieldProblem[] = [];
  for (const { kind, name, doc } of changes) {
    if (doc === null) {
      refuseWhileReferenced(draft, kind, name);
      continue;
    }
    const prefix = locate(kind, name);
    if (kind === 'domain') checkHosts(draft, name, doc, prefix, problems);
    checkReferences(draft, kind, name, doc, prefix, problems, warnings);
    const special = rules(kind).check?.(doc, draft, name);
    for (const { path, message } of special?.problems ?? []) problems.push({ path: prefix + path, message });
    for (const { path, message } of special?.warnings ?? []) warnings.push({ kind, name, path, message });
  }
  if (problems.length > 0) throw new KontrolError('invalid', undefined, problems);
  return warnings;
}

function refuseWhileReferenced(draft: View, kind: Kind, name: string): void {
  // Removing the settings falls back to the defaults: nothing can name them.
  const referrers = draft.referrers(kind, name);
  if (referrers.length === 0) return;
  const problems = referrers.slice(0, MAX_REFERRERS).map((referrer) => ({
    path: `${COLLECTIONS[referrer.kind]}/${referrer.name}`,
    message: `${referrer.path} names it`,
  }));
  const first = problems[0]?.path ?? '';
  const more = referrers.length > 1 ? ` and ${referrers.length - 1} more` : '';
  throw new KontrolError(
    'still_referenced',
    `The ${kind} ${name} is still named by ${first}${more}; change these first`,
    problems,
  );
}

function checkHosts(draft: View, name: string, doc: Doc, prefix: string, problems: FieldProblem[]): void {
  const taken: FieldProblem[] = [];
  const hosts = claimedHosts(doc as unknown as Domain);
  hosts.forEach((host, index) => {
    const path = `${prefix}${index === 0 ? 'name' : `aliases.${index - 1}`}`;
    if (hosts.indexOf(host) !== index) problems.push({ path, message: `${host} stands twice` });
    const other = draft.claimants(host).find((claimant) => claimant !== name);
    if (other !== undefined) taken.push({ path, message: `${host} belongs to domain ${other}` });
  });
  const first = taken[0];
  if (first !== undefined) {
    throw new KontrolError('host_taken', `${first.message}; remove it there first`, taken);
  }
}

function checkReferences(
  draft: View,
  kind: Kind,
  name: string,
  doc: Doc,
  prefix: string,
  problems: FieldProblem[],
  warnings: Warning[],
): void {
  for (const reference of referencesOf(kind, doc)) {
    if (draft.get(reference.kind, reference.name) !== undefined) continue;
    const message = `there is no ${reference.kind} ${reference.name}`;
    if (reference.mayBeMissing) {
      warnings.push({
        kind,
        name,
        path: reference.path,
        message: `${message} yet; until then it answers 503`,
      });
    } else {
      problems.push({ path: prefix + reference.path, message });
    }
  }
}

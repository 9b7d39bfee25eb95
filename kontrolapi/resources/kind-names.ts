/** Kinds and names as they stand in paths, queries and files. */
import { KontrolError } from '../../shared/errors.ts';
import { canonicalHost, objectName } from '../../shared/model/fields.ts';
import { COLLECTIONS, KINDS, type Kind, SETTINGS_NAME } from '../../shared/model/kinds.ts';

/** Kinds with many objects, in the order of the API. */
export const LISTED_KINDS = ['domain', 'service', 'rule', 'page', 'certificate', 'listener'] as const;

const BY_TEXT = new Map<string, Kind>(
  KINDS.flatMap((kind) => [
    [kind, kind],
    [COLLECTIONS[kind], kind],
  ]),
);

/** `domain` or `domains` → `domain`; undefined for anything else. */
export function kindOf(text: unknown): Kind | undefined {
  return typeof text === 'string' ? BY_TEXT.get(text) : undefined;
}

export const KIND_HINT = `one of ${KINDS.join(', ')}`;

const anyName = objectName();

/** The name as it is stored, or an Error that says what is wrong with it. */
export function canonicalName(kind: Kind, text: string): string | Error {
  if (kind === 'settings') return SETTINGS_NAME;
  if (kind === 'domain') return canonicalHost(text);
  const parsed = anyName.safeParse(text);
  return parsed.success ? parsed.data : new Error(parsed.error.issues[0]?.message ?? 'not a name');
}

/** For paths of objects that must exist already: what is no name is no object either. */
export function presentName(kind: Kind, text: string): string {
  const name = canonicalName(kind, text);
  if (name instanceof Error)
    throw new KontrolError('not_found', `There is no ${kind} ${text}: ${name.message}`);
  return name;
}

/** For paths of objects that may be created. */
export function newName(kind: Kind, text: string, path = 'name'): string {
  const name = canonicalName(kind, text);
  if (name instanceof Error) {
    throw new KontrolError('invalid', undefined, [{ path, message: name.message }]);
  }
  return name;
}

export function noSuch(kind: Kind, name: string): KontrolError {
  return new KontrolError('not_found', `There is no ${kind} ${name}`);
}

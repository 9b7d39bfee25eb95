/**
 * Fields that the model has and this version does not put into force. They are refused: an object that promises a
 * limit or a cache must never be accepted without effect. A row goes when its feature comes.
 */
import type { FieldProblem } from '../../shared/errors.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Doc } from '../revisions/view.ts';

/** By kind, the dotted paths of such fields, and whether a value there promises anything. */
const NOT_YET: Partial<Record<Kind, Readonly<Record<string, (value: unknown) => boolean>>>> = {
  service: {
    sticky: isSet,
    slowStart: (value) => value !== 0,
    eject: isSet,
  },
};

function isSet(value: unknown): boolean {
  return value !== null && value !== false;
}

export function notYetInForce(kind: Kind, doc: Doc): FieldProblem[] {
  return Object.entries(NOT_YET[kind] ?? {}).flatMap(([path, promises]) => {
    const value = valueAt(doc, path);
    return value !== undefined && promises(value)
      ? [{ path, message: 'is not available in this version; leave it out' }]
      : [];
  });
}

function valueAt(doc: Doc, path: string): unknown {
  let value: unknown = doc;
  for (const step of path.split('.')) value = (value as Doc | null | undefined)?.[step];
  return value;
}

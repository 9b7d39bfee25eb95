/** What is said of a field that no schema knows: that, and which field was probably meant. */
import type { z } from 'zod';
import { nearest } from '../nearest.ts';
import { VALUES_OF_MAPS } from './fields.ts';

/** What is read of a schema's definition, by its type. */
interface Definition {
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly out?: z.ZodType;
  readonly options?: readonly z.ZodType[];
  readonly element?: z.ZodType;
  readonly valueType?: z.ZodType;
}

/** `path` leads to the object that holds `key`. */
export function unknownField(schema: z.ZodType | null, path: readonly PropertyKey[], key: string): string {
  const meant = schema === null ? null : nearest(key, fieldsAt(schema, path));
  return meant === null ? 'unknown field' : `unknown field; did you mean "${meant}"?`;
}

/** Names of the fields that the object at `path` may have, in whatever form it is written. */
function fieldsAt(schema: z.ZodType, path: readonly PropertyKey[]): ReadonlySet<string> {
  let at = unwrapped([schema]);
  for (const step of path) at = unwrapped(at.flatMap((definition) => inside(definition, step)));
  return new Set(at.flatMap(({ shape }) => Object.keys(shape ?? {})));
}

function inside({ shape, element, valueType }: Definition, step: PropertyKey): z.ZodType[] {
  const field = typeof step === 'string' && Object.hasOwn(shape ?? {}, step) ? shape?.[step] : undefined;
  return [field, element, valueType].filter((schema) => schema !== undefined);
}

/** Without what only surrounds a schema: optional, default, pipes, unions. */
function unwrapped(schemas: readonly z.ZodType[]): Definition[] {
  return schemas.flatMap((schema) => {
    const definition = schema._zod.def as Definition;
    const { innerType, in: first, out: last, options } = definition;
    const values = VALUES_OF_MAPS.get(schema);
    if (values !== undefined) return [{ valueType: values }];
    const around = [innerType, first, last, ...(options ?? [])].filter((inner) => inner !== undefined);
    return around.length === 0 ? [definition] : unwrapped(around);
  });
}

/** JSON Schema of what people write: for the OpenAPI document, and for editors that complete and check files. */
import { z } from 'zod';
import { certificateInputSchema } from './certificate.ts';
import { VALUES_OF_MAPS } from './fields.ts';
import { KINDS, type Kind, SCHEMAS } from './kinds.ts';
import { settingsInputSchema } from './settings.ts';

type Json = Readonly<Record<string, unknown>>;

/** Where people write more than is stored: secrets. */
const INPUTS: Partial<Record<Kind, z.ZodType>> = {
  certificate: certificateInputSchema,
  settings: settingsInputSchema,
};

/** The schema of the input, without its `$schema`. */
export function jsonSchemaOf(schema: z.ZodType): Json {
  const { $schema, ...rest } = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema }) {
      const values = VALUES_OF_MAPS.get(zodSchema);
      if (values !== undefined) Object.assign(jsonSchema, { additionalProperties: jsonSchemaOf(values) });
    },
  }) as Json;
  return rest;
}

/** A document of a file for `kontrol apply`: one object, a list of them, or `{objects: […]}`. */
export function fileSchema(): Json {
  const kinds = KINDS.map((kind) => {
    const schema = jsonSchemaOf(INPUTS[kind] ?? SCHEMAS[kind]) as {
      properties?: Json;
      required?: readonly string[];
    };
    return [
      kind,
      {
        ...schema,
        properties: { kind: { const: kind }, ...schema.properties },
        required: ['kind', ...(schema.required ?? [])],
      },
    ] as const;
  });
  const object = {
    type: 'object',
    required: ['kind'],
    properties: { kind: { enum: KINDS } },
    // By kind, so that an editor tells of the fields of this one, and not that no kind fits.
    allOf: kinds.map(([kind]) => ({
      if: { properties: { kind: { const: kind } } },
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      then: { $ref: `#/$defs/${kind}` },
    })),
  };
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Kontrol objects',
    $ref: '#/$defs/file',
    $defs: {
      file: {
        anyOf: [
          {
            type: 'object',
            required: ['objects'],
            properties: { objects: { type: 'array', items: { $ref: '#/$defs/object' } } },
          },
          { type: 'array', items: { $ref: '#/$defs/object' } },
          { $ref: '#/$defs/object' },
        ],
      },
      object,
      ...Object.fromEntries(kinds),
    },
  };
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileSchema, jsonSchemaOf } from './json-schema.ts';
import { KINDS, SCHEMAS } from './kinds.ts';

type Json = Readonly<Record<string, unknown>>;
const at = (schema: unknown, ...path: readonly string[]) =>
  path.reduce<unknown>((value, step) => (value as Json | undefined)?.[step], schema);

test('every kind is described with its kind, its fields and nothing else', () => {
  const schema = fileSchema();
  for (const kind of KINDS) {
    const described = at(schema, '$defs', kind) as Json;
    assert.equal(described['additionalProperties'], false, kind);
    assert.equal(at(described, 'properties', 'kind', 'const'), kind);
    assert.ok((described['required'] as string[]).includes('kind'), kind);
    const own = Object.keys(jsonSchemaOf(SCHEMAS[kind])['properties'] as Json);
    // A file may hold the private key that is stored elsewhere.
    const more = kind === 'certificate' ? ['key'] : [];
    const names = Object.keys(described['properties'] as Json).sort();
    assert.deepEqual(names, ['kind', ...own, ...more].sort());
  }
  assert.doesNotThrow(() => JSON.stringify(schema));
});

test('what stands inside a map is described too', () => {
  const service = jsonSchemaOf(SCHEMAS.service);
  const key = at(service, 'properties', 'keys', 'additionalProperties');
  assert.equal(at(key, 'properties', 'backends', 'maxItems'), 1_000);
  assert.deepEqual(at(key, 'properties', 'backends', 'items', 'required'), ['address']);
});

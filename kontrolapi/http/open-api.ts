/** The OpenAPI document, made from the operations and their schemas: it says what the router enforces. */
import type { z } from 'zod';
import { ERRORS } from '../../shared/errors.ts';
import { jsonSchemaOf } from '../../shared/model/json-schema.ts';
import { type Operation, operation } from './operation.ts';

type Json = Readonly<Record<string, unknown>>;

export function openApiOperation(all: () => readonly Operation[], version: string): Operation {
  let made: string | null = null;
  return operation({
    method: 'GET',
    path: '/openapi.json',
    summary: 'This document',
    access: 'public',
    handle() {
      made ??= JSON.stringify(openApiDocument(all(), version));
      return { headers: { 'Content-Type': 'application/json' }, text: made };
    },
  });
}

export function openApiDocument(operations: readonly Operation[], version: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const each of operations) {
    const path = paths[each.path] ?? {};
    paths[each.path] = { ...path, [each.method.toLowerCase()]: describeOperation(each) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Kontrol', version, license: { name: 'MIT' } },
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: 'kontrol_session' },
      },
      schemas: { Problem: PROBLEM },
      responses: {
        Problem: {
          description: 'RFC 9457',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
    },
  };
}

const PROBLEM: Json = {
  type: 'object',
  required: ['type', 'title', 'status', 'code'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string', enum: Object.keys(ERRORS) },
    requestId: { type: 'string' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        properties: { path: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
};

function describeOperation(each: Operation): Json {
  const body = each.body === null ? {} : { requestBody: requestBody(each.body, !each.bodyOptional) };
  return {
    summary: each.summary,
    parameters: [...pathParameters(each.path), ...queryParameters(each.query)],
    ...body,
    ...(each.access === 'public'
      ? { security: [] }
      : { security: [{ token: [] }, { session: [] }], 'x-roles': each.access }),
    responses: {
      '2XX': { description: 'done' },
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function requestBody(schema: z.ZodType, required: boolean): Json {
  return { required, content: { 'application/json': { schema: jsonSchemaOf(schema) } } };
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map((match) => ({
    name: match[1],
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
}

function queryParameters(query: z.ZodObject): Json[] {
  const { properties } = jsonSchemaOf(query) as { properties?: Record<string, Json> };
  return Object.entries(properties ?? {}).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: false,
    ...(description === undefined ? {} : { description }),
    schema,
  }));
}

/**
 * One call of the API, declared once: the router enforces its roles, reads and checks its query and body, and the
 * OpenAPI document describes it, all from the same declaration.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { Access, Caller } from '../auth/caller.ts';

export type Method = 'GET' | 'PUT' | 'PATCH' | 'POST' | 'DELETE';

/** Largest body of a call unless its operation says otherwise, in bytes. */
export const BODY_LIMIT = 1_048_576;
/** Largest body of `apply`, in bytes. */
export const APPLY_LIMIT = 16 * 1_048_576;

export interface Call<Query, Body> {
  readonly requestId: string;
  readonly caller: Caller;
  /** Segments of the path by name, percent-decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  readonly headers: IncomingHttpHeaders;
  /** Canonical address of the peer; never a mapped form. */
  readonly address: string;
  /** Aborted when the client leaves before its answer. */
  readonly signal: AbortSignal;
}

export interface Answer {
  /** Default 200. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON; left out for 204 and 304. */
  readonly body?: unknown;
  /** Instead of `body`: an answer that is not JSON; its type must be in `headers`. */
  readonly text?: string;
  /**
   * Instead of `body`: an answer that is made while it is sent, each piece when the client has taken those before it.
   * Its type must be in `headers`. What it throws cuts the answer.
   */
  readonly pieces?: Iterable<string>;
}

/** An operation as the router and the OpenAPI document see it. */
export interface Operation {
  readonly method: Method;
  /** Path with its parameters in braces: `/v1/services/{service}`. A parameter may hold any percent-encoded text. */
  readonly path: string;
  readonly summary: string;
  readonly access: Access;
  readonly query: z.ZodObject;
  /** Schema of the body; null for calls without one. */
  readonly body: z.ZodType | null;
  /** False when the handler validates the body itself (against state, or after a merge). */
  readonly checkBody: boolean;
  readonly bodyLimit: number;
  /** The call may be made without a body; the handler then gets `{}`. */
  readonly bodyOptional: boolean;
  handle(call: Call<never, never>): Promise<Answer> | Answer;
}

const NO_QUERY = z.strictObject({});

interface Declaration<Q extends z.ZodObject, B> {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly access: Access;
  /** Strict object of optional strings (or transforms of strings); unknown parameters are refused. */
  readonly query?: Q;
  readonly bodyLimit?: number;
  readonly bodyOptional?: boolean;
  handle(call: Call<z.output<Q>, B>): Promise<Answer> | Answer;
}

type NoQuery = typeof NO_QUERY;

/** Declares a call without a body. */
export function operation<Q extends z.ZodObject = NoQuery>(declared: Declaration<Q, undefined>): Operation {
  return complete(declared, null, false);
}

/** Declares a call whose body must fit `schema`; the handler gets the parsed value. */
export function operationWithBody<B extends z.ZodType, Q extends z.ZodObject = NoQuery>(
  schema: B,
  declared: Declaration<Q, z.output<B>>,
): Operation {
  return complete(declared, schema, true);
}

/** Declares a call whose body is documented by `schema` but validated by its handler. */
export function operationWithRawBody<Q extends z.ZodObject = NoQuery>(
  schema: z.ZodType,
  declared: Declaration<Q, Record<string, unknown>>,
): Operation {
  return complete(declared, schema, false);
}

function complete<Q extends z.ZodObject, B>(
  declared: Declaration<Q, B>,
  body: z.ZodType | null,
  checkBody: boolean,
): Operation {
  return {
    method: declared.method,
    path: declared.path,
    summary: declared.summary,
    access: declared.access,
    query: declared.query ?? NO_QUERY,
    body,
    checkBody,
    bodyLimit: declared.bodyLimit ?? BODY_LIMIT,
    bodyOptional: declared.bodyOptional ?? false,
    handle: declared.handle as Operation['handle'],
  };
}

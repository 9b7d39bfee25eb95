/**
 * Turns operations into routes of express. For every call: request id, security headers, who is calling, whether
 * that role may, query and body by their schemas, the handler, one answer. A path that exists answers other methods
 * with 405; everything else under the API is 404.
 */
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import ipaddr from 'ipaddr.js';
import type { z } from 'zod';
import { KontrolError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { problemsOf } from '../../shared/model/kinds.ts';
import { type Access, ANONYMOUS, type Caller } from '../auth/caller.ts';
import { readJsonBody } from './json-body.ts';
import type { Answer, Call, Operation } from './operation.ts';
import { logProblem, newRequestId, sendProblem, toKontrolError } from './problem.ts';

/** Finds out who makes a request. Throws `unauthorized` or `csrf`; `store_unavailable` when it cannot be known. */
export type Identify = (request: Request) => Promise<Caller>;

export interface RouterOptions {
  readonly log: Log;
  readonly identify: Identify;
  readonly operations: readonly Operation[];
  /** Told once per answer. */
  readonly onAnswer: (method: string, status: number, seconds: number) => void;
}

/** Set on every answer. Nothing of the API is for other origins: there is no CORS. */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
};

const REQUEST_IDS = new WeakMap<object, string>();

export function createRouter(options: RouterOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  // The query is read by `readQuery`: nothing of it may become an object.
  app.set('query parser', false);
  app.use((request, response, next) => prepare(request, response, next, options));
  const byPath = new Map<string, Operation[]>();
  for (const operation of options.operations) {
    const path = operation.path.replace(/\{(\w+)\}/g, ':$1');
    byPath.set(path, [...(byPath.get(path) ?? []), operation]);
  }
  for (const [path, operations] of byPath) mountPath(app, path, operations, options);
  return app;
}

/** Ends the chain: unknown paths are 404, failures become problems. Mounted after everything else. */
export function finishRouter(app: Express, log: Log): void {
  app.use(() => {
    throw new KontrolError('not_found', 'There is no such path; GET /openapi.json lists all');
  });
  app.use((thrown: unknown, request: Request, response: Response, _next: NextFunction) => {
    const error = toKontrolError(thrown);
    const requestId = requestIdOf(request);
    logProblem(log, error, { requestId, method: request.method, path: request.path });
    sendProblem(response, error, requestId);
  });
}

export function requestIdOf(request: Request): string {
  return REQUEST_IDS.get(request) ?? '';
}

function prepare(request: Request, response: Response, next: NextFunction, options: RouterOptions): void {
  const requestId = newRequestId();
  const began = performance.now();
  REQUEST_IDS.set(request, requestId);
  response.setHeader('X-Request-Id', requestId);
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
  response.once('close', () => {
    const status = response.writableFinished ? response.statusCode : 499;
    options.onAnswer(request.method, status, (performance.now() - began) / 1_000);
  });
  next();
}

function mountPath(
  app: Express,
  path: string,
  operations: readonly Operation[],
  options: RouterOptions,
): void {
  const methods = new Map(operations.map((operation) => [operation.method as string, operation]));
  const get = methods.get('GET');
  if (get !== undefined) methods.set('HEAD', get);
  const allow = [...methods.keys()].sort().join(', ');
  app.all(path, async (request, response) => {
    const operation = methods.get(request.method);
    if (operation === undefined) {
      response.setHeader('Allow', allow);
      throw new KontrolError('method_not_allowed', `This resource takes ${allow}`);
    }
    const answer = await perform(operation, request, response, options);
    send(response, answer);
    if (answer.pieces !== undefined) await sendPieces(request, response, answer.pieces);
  });
}

async function perform(
  operation: Operation,
  request: Request,
  response: Response,
  options: RouterOptions,
): Promise<Answer> {
  const first = await admit(operation.access, request, options.identify);
  const query = check(operation.query, readQuery(request.url), 'The query is not valid');
  const given = await readJsonBody(request, operation.bodyLimit);
  // Once more: a body may take two minutes, and who lost the right meanwhile must not use it.
  const caller = given === undefined ? first : await admit(operation.access, request, options.identify);
  const body = checkBody(operation, given);
  const leaving = new AbortController();
  response.once('close', () => leaving.abort());
  const call: Call<unknown, unknown> = {
    requestId: requestIdOf(request),
    caller,
    params: Object.fromEntries(Object.entries(request.params).map(([name, value]) => [name, String(value)])),
    query,
    body,
    headers: request.headers,
    address: peerAddress(request),
    signal: leaving.signal,
  };
  return operation.handle(call as Call<never, never>);
}

/** Who makes a call, if that role may. Throws `forbidden`, and what `identify` throws. */
async function admit(access: Access, request: Request, identify: Identify): Promise<Caller> {
  if (access === 'public') return ANONYMOUS;
  const caller = await identify(request);
  if (access.includes(caller.role)) return caller;
  throw new KontrolError(
    'forbidden',
    `This call needs the role ${access.join(' or ')}; ${caller.name} has the role ${caller.role}`,
  );
}

function checkBody(operation: Operation, given: Record<string, unknown> | undefined): unknown {
  if (operation.body === null) {
    if (given === undefined || Object.keys(given).length === 0) return undefined;
    throw new KontrolError('invalid', 'This call takes no body');
  }
  if (given === undefined && !operation.bodyOptional) {
    throw new KontrolError('invalid', 'This call needs a JSON body', [
      { path: '', message: 'expected an object' },
    ]);
  }
  const body = given ?? {};
  return operation.checkBody ? check(operation.body, body, 'The body is not valid') : body;
}

function check(schema: z.ZodType, input: unknown, message: string): unknown {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw new KontrolError('invalid', message, problemsOf(result.error, schema));
}

/** The query as plain strings; a parameter that stands twice is a list. */
function readQuery(url: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = Object.create(null);
  const at = url.indexOf('?');
  if (at < 0) return query;
  for (const [name, value] of new URLSearchParams(url.slice(at + 1))) {
    const earlier = query[name];
    query[name] =
      earlier === undefined ? value : Array.isArray(earlier) ? [...earlier, value] : [earlier, value];
  }
  return { ...query };
}

function peerAddress(request: Request): string {
  const address = request.socket.remoteAddress ?? '';
  return ipaddr.isValid(address) ? ipaddr.process(address).toString() : address;
}

function send(response: Response, answer: Answer): void {
  if (response.headersSent || response.destroyed) return;
  response.status(answer.status ?? 200);
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  if (answer.pieces !== undefined) return;
  if (answer.text !== undefined) {
    response.end(answer.text);
  } else if (answer.body !== undefined) {
    if (!response.hasHeader('Content-Type')) response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(answer.body));
  } else {
    response.end();
  }
}

/** Never more than one piece waits for the client. */
async function sendPieces(request: Request, response: Response, pieces: Iterable<string>): Promise<void> {
  if (request.method !== 'HEAD') {
    for (const piece of pieces) {
      if (response.destroyed) return;
      if (!response.write(piece)) await drained(response);
    }
  }
  response.end();
}

/** Resolves when more can be written, or nobody is there to read it. */
function drained(response: Response): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.on('drain', go).on('close', go);
  });
}

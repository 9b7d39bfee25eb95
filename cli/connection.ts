/** How commands reach kontrolapi: KONTROL_URL and KONTROL_TOKEN, else the local one and its `admin-token` file. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { KontrolError } from '../shared/errors.ts';

export interface Connection {
  readonly url: string;
  readonly token: string;
}

export interface ConnectionOptions {
  readonly url?: string;
  readonly token?: string;
  readonly data?: string;
}

/** Those of `kontrol up` without any setting. */
export const DEFAULT_URL = 'http://127.0.0.1:7000';
export const DEFAULT_DATA = './data';
const CALL_TIMEOUT_MS = 30_000;

/** Option > environment > the file that kontrolapi wrote on this machine. */
export function connectionFrom(options: ConnectionOptions, env: NodeJS.ProcessEnv = process.env): Connection {
  const url = options.url ?? env['KONTROL_URL'] ?? DEFAULT_URL;
  if (!URL.canParse(url)) throw new KontrolError('setting_invalid', `KONTROL_URL is not an address: ${url}`);
  const token = options.token ?? env['KONTROL_TOKEN'] ?? env['KONTROL_API_TOKEN'];
  // As of a secret that was never set. The file is for who gave nothing: it is the token of an admin.
  if (token === '')
    throw new KontrolError(
      'setting_invalid',
      'the token is empty: what --token or KONTROL_TOKEN is made of is missing',
    );
  if (token !== undefined) return { url, token };
  const file = resolve(options.data ?? env['KONTROL_DATA'] ?? DEFAULT_DATA, 'admin-token');
  try {
    return { url, token: readFileSync(file, 'utf8').trim() };
  } catch {
    throw new KontrolError(
      'setting_invalid',
      `no token: ${file} cannot be read; set KONTROL_TOKEN, or KONTROL_DATA to the data folder of kontrolapi`,
    );
  }
}

/** An answer that is not 2xx, as the API explained it. */
export class ApiError extends Error {
  readonly status: number;
  readonly problem: Readonly<Record<string, unknown>>;

  constructor(status: number, problem: Readonly<Record<string, unknown>>) {
    super(describe(status, problem));
    this.status = status;
    this.problem = problem;
  }
}

export interface Reply<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

export async function call<T = unknown>(
  connection: Connection,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Reply<T>> {
  let response: Response | undefined;
  let text: string;
  try {
    response = await fetch(new URL(path, connection.url), {
      method,
      headers: {
        authorization: `Bearer ${connection.token}`,
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    text = await response.text();
  } catch (error) {
    const { cause, message } = error as Error & { cause?: { code?: string } };
    if (response !== undefined)
      throw new KontrolError(
        'store_unavailable',
        `the answer of kontrolapi at ${connection.url} broke off (${cause?.code ?? message}); ${method === 'GET' ? 'try again' : "it may have been done all the same: 'kontrol history' says so"}`,
      );
    throw new KontrolError(
      'store_unavailable',
      `kontrolapi at ${connection.url} does not answer (${cause?.code ?? message}); ${adviceOn(cause?.code, connection)}`,
    );
  }
  let parsed: unknown = {};
  try {
    parsed = text === '' ? {} : JSON.parse(text);
  } catch {
    throw new KontrolError(
      'internal',
      `what answers at ${connection.url} is not kontrolapi (${response.status}, not JSON)`,
    );
  }
  if (!response.ok) throw new ApiError(response.status, parsed as Record<string, unknown>);
  return { status: response.status, headers: response.headers, body: parsed as T };
}

export function adviceOn(code: string | undefined, { url }: Connection): string {
  if (code !== undefined && /CERT|SIGNATURE|ALTNAME/.test(code))
    return 'its certificate is not trusted: name its CA with NODE_EXTRA_CA_CERTS=FILE';
  if (code === 'UND_ERR_SOCKET' && url.startsWith('http:')) return 'does it listen on https?';
  return 'is it running?';
}

function describe(status: number, problem: Readonly<Record<string, unknown>>): string {
  const lines = [
    `${String(problem['detail'] ?? problem['title'] ?? 'refused')} (${status} ${String(problem['code'] ?? '')})`.trim(),
  ];
  const errors = Array.isArray(problem['errors'])
    ? (problem['errors'] as { path?: string; message?: string }[])
    : [];
  for (const { path, message } of errors) lines.push(`  ${path || '(object)'}: ${message ?? ''}`);
  return lines.join('\n');
}

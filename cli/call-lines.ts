/** Calls of which the answer may be larger than memory: read line by line, as fast as they are taken. */
import { KontrolError } from '../shared/errors.ts';
import { ApiError, adviceOn, type Connection } from './connection.ts';

/** Longest silence of the API, in milliseconds; the whole may take as long as it takes. */
const SILENCE_MS = 30_000;

/** Throws ApiError when the API refuses, `store_unavailable` when it is away or its answer breaks off. */
export async function* callLines(connection: Connection, path: string): AsyncGenerator<string> {
  const leaving = new AbortController();
  const heard = <T>(coming: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => leaving.abort(new Error('silent for 30 s')), SILENCE_MS);
    return coming.finally(() => clearTimeout(timer));
  };
  const response = await heard(ask(connection, path, leaving.signal)).catch((error: Error) => {
    throw unreachable(connection, error, 'does not answer');
  });
  if (!response.ok) throw await refusal(response);
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) return;
  try {
    let rest = '';
    for (;;) {
      const { done, value } = await heard(reader.read()).catch((error: Error) => {
        throw unreachable(connection, error, 'broke off in the middle of its answer');
      });
      if (done) break;
      const lines = value.split('\n');
      lines[0] = rest + lines[0];
      rest = lines.pop() ?? '';
      yield* lines;
    }
    if (rest !== '') yield rest;
  } finally {
    leaving.abort();
  }
}

function ask({ url, token }: Connection, path: string, signal: AbortSignal): Promise<Response> {
  return fetch(new URL(path, url), { headers: { authorization: `Bearer ${token}` }, signal });
}

async function refusal(response: Response): Promise<ApiError> {
  const problem: unknown = await response.json().catch(() => ({}));
  return new ApiError(response.status, problem as Record<string, unknown>);
}

function unreachable(connection: Connection, error: Error, how: string): KontrolError {
  const { code } = (error.cause ?? {}) as { code?: string };
  return new KontrolError(
    'store_unavailable',
    `kontrolapi at ${connection.url} ${how} (${code ?? error.message}); ${adviceOn(code, connection)}`,
  );
}

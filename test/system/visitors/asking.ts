/** Requests as visitors send them: from any loopback address, over IPv6 or TLS, with the target byte for byte. */
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';

export interface Asking {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Address of the visitor: one of 127.0.0.0/8, or ::1; default 127.0.0.1. */
  readonly from?: string;
  /** Over TLS, with this server name (empty for none); no certificate is refused. */
  readonly serverName?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

/** One request on a connection of its own. */
export function ask(port: number, host: string, path = '/', asking: Asking = {}): Promise<Answer> {
  const { method = 'GET', headers = {}, body, from = '127.0.0.1', serverName } = asking;
  const options = {
    host: from.includes(':') ? '::1' : '127.0.0.1',
    localAddress: from,
    port,
    path,
    method,
    agent: false as const,
    headers: { ...headers, host },
  };
  return new Promise((resolve, reject) => {
    const answered = (response: IncomingMessage) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          rawHeaders: response.rawHeaders,
          body: Buffer.concat(parts).toString(),
        }),
      );
    };
    const call =
      serverName === undefined
        ? httpRequest(options, answered)
        : httpsRequest({ ...options, servername: serverName, rejectUnauthorized: false }, answered);
    call.on('error', reject);
    call.end(body);
  });
}

/** The error type of `Proxy-Status` and the cause beside it; null for an answer that is no error of the proxy. */
export function causeOf(answer: Answer): string | null {
  return /; error=\w+; details="(\w+)"$/.exec(String(answer.headers['proxy-status'] ?? ''))?.[1] ?? null;
}

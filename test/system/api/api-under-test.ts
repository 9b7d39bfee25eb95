/** A kontrolapi on a free port with its own data folder, and a client that speaks to it over real HTTP. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningApi, startApi } from '../../../kontrolapi/main.ts';
import { type Log, silentLog } from '../../../shared/log.ts';
import type { SettingsOfProcess } from '../../../shared/settings.ts';

export const TOKEN = 'test-token-of-the-environment';

/** Any JSON that is an object or list; what is looked at is compared by value anyway. */
export interface Json {
  readonly [name: string]: Json;
}

/** A list inside an answer. */
export function listOf(value: Json | undefined): readonly Json[] {
  if (!Array.isArray(value)) throw new Error(`expected a list, got ${JSON.stringify(value)}`);
  return value;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Json;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export class ApiUnderTest {
  readonly api: RunningApi;
  readonly settings: SettingsOfProcess;
  readonly #folder: string | null;

  constructor(api: RunningApi, settings: SettingsOfProcess, folder: string | null) {
    this.api = api;
    this.settings = settings;
    this.#folder = folder;
  }

  get url(): string {
    return this.api.url;
  }

  async call(method: string, path: string, options: CallOptions = {}): Promise<Reply> {
    const token = options.token === undefined ? TOKEN : options.token;
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      body:
        options.body === undefined
          ? undefined
          : typeof options.body === 'string'
            ? options.body
            : JSON.stringify(options.body),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
  }

  get = (path: string, options?: CallOptions) => this.call('GET', path, options);
  put = (path: string, body: unknown, options?: CallOptions) => this.call('PUT', path, { ...options, body });
  patch = (path: string, body: unknown, options?: CallOptions) =>
    this.call('PATCH', path, { ...options, body });
  post = (path: string, body?: unknown, options?: CallOptions) =>
    this.call('POST', path, { ...options, body });
  delete = (path: string, options?: CallOptions) => this.call('DELETE', path, options);

  async close(): Promise<void> {
    await this.api.close();
    if (this.#folder !== null) await rm(this.#folder, { recursive: true, force: true });
  }
}

export function settingsFor(data: string, more: Partial<SettingsOfProcess> = {}): SettingsOfProcess {
  return {
    http: [],
    https: [],
    publicHttpsPort: null,
    api: { host: '127.0.0.1', port: 0 },
    apiCert: null,
    apiKey: null,
    internal: null,
    node: 'test',
    mongoUrl: null,
    redisUrl: null,
    data,
    processes: 1,
    certs: join(data, 'certs'),
    pages: null,
    apiToken: TOKEN,
    secret: null,
    trustedProxies: [],
    proxyProtocol: [],
    ttlMs: 20_000,
    drainMs: 1_000,
    drainWaitMs: 0,
    memoryLimitMb: 0,
    sockets: 'auto',
    logLevel: 'error',
    accessLog: 'off',
    ...more,
  };
}

/** Starts an API on the embedded store, unless `more` names services. `data` keeps an earlier one's folder. */
export async function startApiUnderTest(
  more: Partial<SettingsOfProcess> = {},
  log: Log = silentLog,
): Promise<ApiUnderTest> {
  const folder = more.data === undefined ? await mkdtemp(join(tmpdir(), 'kontrol-api-')) : null;
  const settings = settingsFor(more.data ?? folder ?? '', more);
  return new ApiUnderTest(await startApi(settings, log, { terminal: false }), settings, folder);
}

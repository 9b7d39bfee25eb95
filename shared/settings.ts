/**
 * Settings of a process: flag > environment > file > default. One table declares them all; `--help`, the docs and
 * the parser read it. (The object `settings`, which holds for all nodes, is in `shared/model/settings.ts`.)
 */
export interface SettingsOfProcess {
  readonly http: readonly ListenAddress[];
  readonly https: readonly ListenAddress[];
  /** Port that HTTPS visitors see; the first of `https` when null. */
  readonly publicHttpsPort: number | null;
  readonly api: ListenAddress;
  readonly apiCert: string | null;
  readonly apiKey: string | null;
  readonly internal: ListenAddress | null;
  readonly node: string;
  readonly mongoUrl: string | null;
  readonly redisUrl: string | null;
  readonly data: string;
  readonly processes: number;
  readonly certs: string;
  readonly pages: string | null;
  readonly apiToken: string | null;
  readonly secret: string | null;
  /** CIDRs and addresses. */
  readonly trustedProxies: readonly string[];
  /** Addresses of listeners (as in `http`, `https`) that require a PROXY header. */
  readonly proxyProtocol: readonly string[];
  readonly ttlMs: number;
  readonly drainMs: number;
  readonly drainWaitMs: number;
  /** Megabytes per serving process; 0 = off. */
  readonly memoryLimitMb: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** `off`, `json`, `combined` (both to stdout), or `json:FILE`, `combined:FILE`, FILE (JSON). */
  readonly accessLog: string;
}

export interface ListenAddress {
  /** Empty for all addresses. */
  readonly host: string;
  readonly port: number;
}

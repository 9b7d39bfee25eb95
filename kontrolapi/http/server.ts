/** The listening socket of the API: plain or TLS, with limits of its own, closed without cutting a call short. */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { KontrolError } from '../../shared/errors.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';

export interface ApiServer {
  readonly url: string;
  /** For upgrades (live views). */
  readonly server: http.Server | https.Server;
  /** Stops accepting, lets calls end for at most `graceMs`, then cuts them. Idempotent. */
  close(graceMs?: number): Promise<void>;
}

const CLOSE_GRACE_MS = 5_000;

/** Listens on `settings.api`. Throws KontrolError `cannot_start` with one line that says what to change. */
export async function listen(settings: SettingsOfProcess, handler: http.RequestListener): Promise<ApiServer> {
  const options: http.ServerOptions = {
    maxHeaderSize: 16_384,
    headersTimeout: 20_000,
    // A body of `apply` over a slow line; calls that wait are answered after their body, so this does not cut them.
    requestTimeout: 120_000,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: 5_000,
  };
  const tls = readTls(settings);
  const server =
    tls === null ? http.createServer(options, handler) : https.createServer({ ...options, ...tls }, handler);
  server.maxConnections = 10_000;
  await bind(server, settings.api.host, settings.api.port);
  const { port } = server.address() as AddressInfo;
  const host = reachableHost(settings.api.host);
  return {
    url: `${tls === null ? 'http' : 'https'}://${host}:${port}`,
    server,
    close: closer(server),
  };
}

function readTls(settings: SettingsOfProcess): { cert: Buffer; key: Buffer } | null {
  if (settings.apiCert === null && settings.apiKey === null) return null;
  if (settings.apiCert === null || settings.apiKey === null) {
    throw new KontrolError('cannot_start', '--api-cert and --api-key go together; give both or neither');
  }
  return { cert: readPem('--api-cert', settings.apiCert), key: readPem('--api-key', settings.apiKey) };
}

function readPem(flag: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new KontrolError('cannot_start', `${flag}: cannot read ${file} (${(error as Error).message})`);
  }
}

function bind(server: http.Server | https.Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => {
      const shown = `${host === '' ? '*' : host}:${port}`;
      const message =
        error.code === 'EADDRINUSE'
          ? `--api: ${shown} is in use; stop what listens there or choose another with --api`
          : `--api: cannot listen on ${shown} (${error.message})`;
      reject(new KontrolError('cannot_start', message, [], { cause: error }));
    };
    server.once('error', failed);
    server.listen({ port, ...(host === '' ? {} : { host: host.replace(/^\[|\]$/g, '') }) }, () => {
      server.off('error', failed);
      // An accept that fails (no descriptors left) must not end the process; the next one is tried.
      server.on('error', () => {});
      resolve();
    });
  });
}

/** An address that a client on this machine can use. */
function reachableHost(host: string): string {
  if (host === '' || host === '0.0.0.0' || host === '::' || host === '[::]') return '127.0.0.1';
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}

function closer(server: http.Server | https.Server): (graceMs?: number) => Promise<void> {
  let closed: Promise<void> | null = null;
  return (graceMs = CLOSE_GRACE_MS) => {
    closed ??= new Promise((resolve) => {
      const cut = setTimeout(() => server.closeAllConnections(), graceMs);
      server.close(() => {
        clearTimeout(cut);
        resolve();
      });
      server.closeIdleConnections();
    });
    return closed;
  };
}

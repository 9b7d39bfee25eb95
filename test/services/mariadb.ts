/** A MariaDB server for tests, with TLS, and its own client. It believes PROXY headers from this machine. */
import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, installPackages, onPath, startDaemon } from './process.ts';

const run = promisify(execFile);

export interface PemFiles {
  readonly certificate: string;
  readonly key: string;
}

export interface MariadbService {
  readonly port: number;
  /**
   * Runs SQL with MariaDB's client over TCP against `port`, as a user without password; answers its rows, tab
   * separated. With `ca` over TLS, its certificate verified for `host`. Rejects when the client fails.
   */
  query(sql: string, options: { port: number; host?: string; ca?: string }): Promise<string>;
  stop(): Promise<void>;
}

/** Makes sure that `mariadbd` and its client are there. */
export async function installMariadb(): Promise<void> {
  if (!onPath('mariadbd') || !onPath('mariadb')) await installPackages(['mariadb-server', 'mariadb-client']);
}

export async function startMariadb(tls: PemFiles): Promise<MariadbService> {
  await installMariadb();
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-mariadb-'));
  const data = join(folder, 'data');
  const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  writeFileSync(certificate, tls.certificate);
  writeFileSync(key, tls.key);
  chmodSync(key, 0o600);
  const user = `--user=${userInfo().username}`;
  await run('mariadb-install-db', [
    '--no-defaults',
    `--datadir=${data}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    user,
  ]);
  const port = await freePort();
  const socket = join(folder, 'socket');
  const daemon = await startDaemon(
    'mariadbd',
    [
      '--no-defaults',
      `--datadir=${data}`,
      `--socket=${socket}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--proxy-protocol-networks=127.0.0.1,localhost',
      '--skip-name-resolve',
      `--ssl-cert=${certificate}`,
      `--ssl-key=${key}`,
      user,
    ],
    'ready for connections',
  );
  const client = ['--no-defaults', '--batch', '--skip-column-names', '--connect-timeout=10'];
  await run('mariadb', [
    ...client,
    `--socket=${socket}`,
    '--user=root',
    '-e',
    "CREATE USER visitor@'%'; GRANT ALL ON *.* TO visitor@'%'; CREATE DATABASE shop",
  ]);
  return {
    port,
    async query(sql, { port: at, host = '127.0.0.1', ca }) {
      const file = join(folder, 'ca.pem');
      if (ca !== undefined) writeFileSync(file, ca);
      const secure = ca === undefined ? ['--skip-ssl'] : [`--ssl-ca=${file}`, '--ssl-verify-server-cert'];
      const where = ['--protocol=tcp', `--host=${host}`, `--port=${at}`, '--user=visitor', '--database=shop'];
      const { stdout } = await run('mariadb', [...client, ...where, ...secure, '-e', sql], {
        timeout: 30_000,
        maxBuffer: 1 << 26,
      });
      return stdout.trim();
    },
    async stop() {
      await daemon.end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What all peers of a benchmark share: a folder, the backends, and one certificate. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../shared/package-root.ts';
import { accepting, end, freePort, start } from './processes.ts';

export interface Stage {
  readonly folder: string;
  readonly backendPort: number;
  /** A WebSocket server that sends every message back; peers send `/ws` there. */
  readonly echoPort: number;
  /** Paths of the certificate, its key, and both in one file. */
  readonly certificate: string;
  readonly key: string;
  readonly pair: string;
  /** Folder with `cert.pem` and `key.pem`. */
  readonly certs: string;
  close(): Promise<void>;
}

export async function openStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-bench-'));
  // The backend's worker runs as another user when this runs as root.
  chmodSync(folder, 0o755);
  const backend = await startBackend(folder);
  const echoPort = await freePort();
  const echo = start(process.execPath, [packageRoot('bench', 'echo-backend.cjs'), String(echoPort)]);
  await accepting(echoPort);
  return {
    folder,
    backendPort: backend.port,
    echoPort,
    ...makeCertificate(folder),
    async close() {
      await end(backend.process);
      await end(echo);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** ECDSA on P-256, as most public certificates are by now. */
function makeCertificate(folder: string): Pick<Stage, 'certificate' | 'key' | 'pair' | 'certs'> {
  const certs = join(folder, 'certs');
  mkdirSync(certs);
  const [certificate, key, pair] = [
    join(certs, 'cert.pem'),
    join(certs, 'key.pem'),
    join(folder, 'pair.pem'),
  ];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  writeFileSync(pair, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'), { mode: 0o600 });
  return { certificate, key, pair, certs };
}

/** The backend of all: nginx with one process, answering 1 KB and 100 KB, and an empty 200 to a POST. */
export async function startBackend(folder: string): Promise<{ port: number; process: ChildProcess }> {
  const port = await freePort();
  const root = join(folder, 'www');
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, '1k'), 'x'.repeat(1_024));
  writeFileSync(join(root, '100k'), 'x'.repeat(102_400));
  const file = writeNginx(
    folder,
    'backend',
    `
    access_log off; open_file_cache max=100; sendfile on; client_max_body_size 10m;
    server { listen 127.0.0.1:${port} backlog=4096; root ${root}; keepalive_requests 100000000; keepalive_timeout 3600s;
      location = /post { return 200; } }`,
  );
  const child = start('nginx', ['-c', file, '-p', folder, '-e', join(folder, 'backend-error.log')]);
  await accepting(port);
  return { port, process: child };
}

export function writeNginx(folder: string, name: string, http: string): string {
  const file = join(folder, `${name}.conf`);
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(folder, `${name}-${kind}`)};`,
  );
  writeFileSync(
    file,
    `daemon off; worker_processes 1; pid ${join(folder, `${name}.pid`)}; error_log ${join(folder, `${name}-error.log`)} crit;
events { worker_connections 8192; }
http { ${temp.join(' ')} ${http} }
`,
  );
  return file;
}

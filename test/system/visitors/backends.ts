/** Backends of the tests: a Node server that says what it was asked, and nginx where it is installed. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Daemon, freePort, onPath, startDaemon } from '../../services/process.ts';

/** What the echo says: the request as it arrived. */
export interface Heard {
  readonly name: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly rawHeaders: readonly string[];
  readonly body: string;
  readonly serverName: string | null;
}

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

export class Backend {
  readonly name: string;
  readonly server: Server;
  /** Requests heard so far. */
  requests = 0;
  readonly #sockets = new Set<Socket>();

  private constructor(name: string, server: Server) {
    this.name = name;
    this.server = server;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** Answers with what it heard as JSON, or as `handler` says. `tls` makes it speak https. */
  static async start(
    name: string,
    options: { tls?: ServerOptions; port?: number; handler?: Handler } = {},
  ): Promise<Backend> {
    const server = options.tls === undefined ? createServer() : createSecureServer(options.tls);
    const backend = new Backend(name, server as Server);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      backend.requests++;
      const parts: Buffer[] = [];
      request.on('error', () => {});
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const body = Buffer.concat(parts).toString();
        if (options.handler !== undefined) options.handler(request, response, body);
        else
          response
            .setHeader('content-type', 'application/json')
            .end(JSON.stringify(backend.#heard(request, body)));
      });
    });
    server.listen(options.port ?? 0, '127.0.0.1');
    await once(server, 'listening');
    return backend;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #heard(request: IncomingMessage, body: string): Heard {
    const { servername } = request.socket as Socket & { servername?: string | false };
    return {
      name: this.name,
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers as Heard['headers'],
      rawHeaders: request.rawHeaders,
      body,
      serverName: typeof servername === 'string' ? servername : null,
    };
  }
}

/** nginx on a port of its own; null where it is not installed. */
export class Nginx {
  readonly address: string;
  readonly #daemon: Daemon;
  readonly #folder: string;

  private constructor(port: number, folder: string, daemon: Daemon) {
    this.address = `127.0.0.1:${port}`;
    this.#folder = folder;
    this.#daemon = daemon;
  }

  /** `locations` goes into its one server block. */
  static async start(locations: string): Promise<Nginx | null> {
    if (!onPath('nginx')) return null;
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'kontrol-nginx-'));
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${folder}/${name};`)
      .join(' ');
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; pid ${folder}/pid; error_log stderr notice; worker_processes 1; events {}
       http { access_log off; ${temporary} server { listen 127.0.0.1:${port}; ${locations} } }`,
    );
    const daemon = await startDaemon(
      'nginx',
      ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'],
      'start worker process ',
    );
    return new Nginx(port, folder, daemon);
  }

  async close(): Promise<void> {
    await this.#daemon.end('SIGTERM');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** What Node's own HTTP server makes of the bytes of a connection. */
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

export interface NodeRequest {
  readonly method: string;
  readonly target: string;
  /** `0.9` for a request line without one. */
  readonly version: string;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

export interface NodeReading {
  /** Complete ones. */
  readonly requests: readonly NodeRequest[];
  /** `HPE_…` of its parser, or what its server refused by itself; null when it found nothing wrong. */
  readonly error: string | null;
}

export class NodeServer {
  readonly #server: http.Server;
  readonly #readings = new Map<net.Socket, { requests: NodeRequest[]; error: string | null }>();

  private constructor(server: http.Server) {
    this.#server = server;
  }

  static async start(): Promise<NodeServer> {
    const server = http.createServer({
      insecureHTTPParser: false,
      maxHeaderSize: 16_384,
      // Its own check, made below where its answer cannot get lost.
      requireHostHeader: false,
    });
    // More than we allow: how many there are is not what is compared.
    server.maxHeadersCount = 2_000;
    const node = new NodeServer(server);
    const read = (request: http.IncomingMessage, response: http.ServerResponse) =>
      node.#read(request, response);
    server.on('connection', (socket) => node.#readings.set(socket, { requests: [], error: null }));
    server.on('request', read);
    server.on('checkExpectation', (request, response) => {
      const reading = node.#readings.get(request.socket);
      if (reading !== undefined) reading.error ??= 'expectation';
      response.writeHead(417, { Connection: 'close' }).end();
    });
    server.on('connect', (request, socket) => {
      const reading = node.#readings.get(request.socket);
      if (reading !== undefined) reading.error ??= 'connect';
      socket.destroy();
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      const reading = node.#readings.get(socket as net.Socket);
      if (reading !== undefined) reading.error ??= error.code ?? error.message;
      socket.destroy();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return node;
  }

  #read(request: http.IncomingMessage, response: http.ServerResponse): void {
    const reading = this.#readings.get(request.socket);
    if (request.httpVersion === '1.1' && request.headers.host === undefined) {
      if (reading !== undefined) reading.error ??= 'status 400';
      response.writeHead(400, { Connection: 'close' }).end();
      return;
    }
    let body = '';
    request.setEncoding('latin1');
    request.on('data', (data: string) => {
      body += data;
    });
    request.on('error', () => {});
    request.on('end', () => {
      const { method = '', url = '', httpVersion, rawHeaders } = request;
      const fields = Array.from({ length: rawHeaders.length / 2 }, (_, i) => [
        rawHeaders[2 * i],
        rawHeaders[2 * i + 1],
      ]);
      reading?.requests.push({
        method,
        target: url,
        version: httpVersion,
        fields: fields as [string, string][],
        body,
      });
      response.end();
    });
  }

  /** Sends the bytes on a connection of their own, ends it, and tells what came of it. */
  async requests(text: string): Promise<NodeReading> {
    const accepted = once(this.#server, 'connection') as Promise<[net.Socket]>;
    const socket = net.connect({ port: (this.#server.address() as net.AddressInfo).port, host: '127.0.0.1' });
    let answers = '';
    socket.on('data', (data) => {
      answers += data.toString('latin1');
    });
    socket.on('error', () => {});
    const [served] = await accepted;
    socket.end(Buffer.from(text, 'latin1'));
    if (!served.closed) await once(served, 'close');
    if (!socket.closed) await once(socket, 'close');
    const reading = this.#readings.get(served) ?? { requests: [], error: null };
    this.#readings.delete(served);
    // Its server refuses some requests without an event.
    const refused = /HTTP\/1\.1 (4\d\d)/.exec(answers)?.[1];
    return {
      requests: reading.requests,
      error: reading.error ?? (refused === undefined ? null : `status ${refused}`),
    };
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

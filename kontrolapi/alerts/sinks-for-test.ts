/** Receivers of alerts for tests: an HTTP server that keeps what it got, and a mail server of a few commands. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import net from 'node:net';

export interface Posted {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export class HttpSink {
  readonly posted: Posted[] = [];
  /** What it answers from now on. */
  status = 204;
  readonly #server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts).toString();
      this.posted.push({ path: request.url ?? '', headers: request.headers, body });
      response.writeHead(this.status, this.status === 302 ? { location: '/elsewhere' } : {}).end();
    });
  });

  static async start(): Promise<HttpSink> {
    const sink = new HttpSink();
    sink.#server.listen(0, '127.0.0.1');
    await once(sink.#server, 'listening');
    return sink;
  }

  url(path = '/hook'): string {
    return `http://127.0.0.1:${(this.#server.address() as net.AddressInfo).port}${path}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  /** `user password` of AUTH PLAIN; null without. */
  readonly login: string | null;
  readonly text: string;
}

/** Speaks just enough of RFC 5321, without TLS. */
export class MailSink {
  readonly mails: Mail[] = [];
  /** Refuses recipients from now on. */
  refusing = false;
  /** Goes on answering from now on, and never comes to an end; told after each line. */
  onTalk: (() => void) | null = null;
  readonly #sockets = new Set<net.Socket>();
  readonly #server = net.createServer((socket) => this.#serve(socket));

  static async start(): Promise<MailSink> {
    const sink = new MailSink();
    sink.#server.listen(0, '127.0.0.1');
    await once(sink.#server, 'listening');
    return sink;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #talk(socket: net.Socket): void {
    if (socket.destroyed) return;
    socket.write('250-and so on\r\n', () => {
      this.onTalk?.();
      setImmediate(() => this.#talk(socket));
    });
  }

  #serve(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {});
    socket.write('220 sink\r\n');
    let waiting = '';
    let text: string | null = null;
    let from = '';
    let to: string[] = [];
    let login: string | null = null;
    const command = (line: string) => {
      const say = (reply: string) => socket.write(`${reply}\r\n`);
      if (text !== null) {
        if (line !== '.') text += `${line}\n`;
        else {
          this.mails.push({ from, to, login, text });
          text = null;
          to = [];
          say('250 kept');
        }
      } else if (this.onTalk !== null) this.#talk(socket);
      else if (/^EHLO/i.test(line)) say('250-sink\r\n250 AUTH PLAIN');
      else if (/^AUTH PLAIN /i.test(line)) {
        login = Buffer.from(line.slice(11), 'base64').toString().split('\0').slice(1).join(' ');
        say('235 welcome');
      } else if (/^MAIL FROM:/i.test(line)) {
        from = line.slice(10);
        say('250 ok');
      } else if (/^RCPT TO:/i.test(line)) {
        if (this.refusing) say('550 nobody here');
        else {
          to.push(line.slice(8));
          say('250 ok');
        }
      } else if (/^DATA/i.test(line)) {
        text = '';
        say('354 go on');
      } else if (/^QUIT/i.test(line)) socket.end('221 bye\r\n');
      else say('250 ok');
    };
    socket.on('data', (data: Buffer) => {
      waiting += data.toString();
      for (let end = waiting.indexOf('\r\n'); end >= 0; end = waiting.indexOf('\r\n')) {
        const line = waiting.slice(0, end);
        waiting = waiting.slice(end + 2);
        command(line);
      }
    });
  }
}

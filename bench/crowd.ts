/** A crowd of workers that register and beat over the real API, from one process and on kept connections. */
import { Agent, request } from 'node:http';

/** As the API says when a worker registers; beats are spread by a tenth. */
const HEARTBEAT_MS = 5_000;

interface Member {
  readonly service: string;
  readonly port: number;
  id: string | null;
  alive: boolean;
  timer: NodeJS.Timeout | null;
}

export interface CrowdOptions {
  readonly apiPorts: readonly number[];
  readonly token: string;
  readonly workers: number;
  readonly services: number;
}

export class Crowd {
  readonly members: readonly Member[];
  /** Calls that no API answered, and answers that were no success. */
  failures = 0;
  beats = 0;
  readonly #options: CrowdOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.members = Array.from({ length: options.workers }, (_, index) => ({
      service: `crowd-${index % options.services}`,
      port: 10_000 + index,
      id: null,
      alive: true,
      timer: null,
    }));
  }

  /** Registers all at once; resolves when every one has its answer. */
  async register(): Promise<void> {
    await Promise.all(this.members.map((member) => this.#register(member)));
  }

  /** Everyone beats from now on. */
  beat(): void {
    for (const member of this.members) this.#schedule(member, Math.random() * HEARTBEAT_MS);
  }

  /** The first `count` of them die without a word. */
  die(count: number): void {
    for (const member of this.members.slice(0, count)) {
      member.alive = false;
      if (member.timer !== null) clearTimeout(member.timer);
    }
  }

  close(): void {
    this.die(this.members.length);
    this.#agent.destroy();
  }

  async #register(member: Member): Promise<void> {
    const { service, port } = member;
    const body = { service, port, host: '127.0.0.1', state: 'ready', name: `w${port}` };
    const reply = await this.#call('POST', '/v1/workers', body, port);
    const id = (reply?.body as { id?: string } | undefined)?.id;
    if (id === undefined) this.failures++;
    else member.id = id;
  }

  #schedule(member: Member, ms: number): void {
    member.timer = setTimeout(() => void this.#beat(member), ms);
  }

  async #beat(member: Member): Promise<void> {
    if (!member.alive) return;
    this.beats++;
    const reply = await this.#call(
      'PUT',
      `/v1/workers/${member.id}/heartbeat`,
      { state: 'ready' },
      member.port,
    );
    // Unknown after an outage longer than its lease: it registers again, as the wrapper does.
    if (reply?.status === 404) await this.#register(member);
    else if (reply === null || reply.status >= 400) this.failures++;
    if (member.alive) this.#schedule(member, HEARTBEAT_MS * (0.9 + 0.2 * Math.random()));
  }

  /** Asks the API of this worker, and the next one when that does not answer. */
  async #call(
    method: string,
    path: string,
    body: object,
    turn: number,
  ): Promise<{ status: number; body: unknown } | null> {
    const { apiPorts } = this.#options;
    for (let attempt = 0; attempt < apiPorts.length; attempt++) {
      const port = apiPorts[(turn + attempt) % apiPorts.length] as number;
      const reply = await this.#send(method, port, path, body);
      if (reply !== null && reply.status < 500) return reply;
    }
    return null;
  }

  #send(
    method: string,
    port: number,
    path: string,
    body: object,
  ): Promise<{ status: number; body: unknown } | null> {
    const text = JSON.stringify(body);
    return new Promise((resolve) => {
      const call = request(
        {
          host: '127.0.0.1',
          port,
          path,
          method,
          agent: this.#agent,
          timeout: 20_000,
          headers: {
            authorization: `Bearer ${this.#options.token}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(text),
          },
        },
        (response) => {
          let answer = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            answer += chunk;
          });
          response.on('error', () => resolve(null));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, body: answer === '' ? null : JSON.parse(answer) }),
          );
        },
      );
      call.on('timeout', () => call.destroy());
      call.on('error', () => resolve(null));
      call.end(text);
    });
  }
}

/**
 * `/v1/events`: live events over WebSocket, for people and programs that may read. By token, or by the cookie of a
 * session when the page that connects is our own. Owns every connection; closes them before the server closes.
 */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { z } from 'zod';
import { ERRORS, KontrolError } from '../../shared/errors.ts';
import { problemsOf } from '../../shared/model/kinds.ts';
import type { Revision } from '../../shared/model/revision.ts';
import { READERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { type Operation, operation } from '../http/operation.ts';
import { toKontrolError } from '../http/problem.ts';
import type { ApiServer } from '../http/server.ts';
import { EVENT_KINDS, EventHub, type EventKind } from './hub.ts';
import { CLOSE, Listener } from './listener.ts';
import { changeEvent, EventSources } from './sources.ts';

const PATH = '/v1/events';
const MAX_LISTENERS = 500;
const PING_MS = 20_000;
/** Whoever may not read any more is sent away after this time at most. */
const IDENTIFY_MS = 60_000;
/** Missed changes that are told again; who missed more reads afresh. */
const MAX_MISSED = 1_000;
/** Clients have nothing to say here. */
const MAX_PAYLOAD = 1_024;

const query = z.strictObject({
  kinds: z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(EVENT_KINDS)).min(1))
    .optional()
    .describe(`only these, comma separated: ${EVENT_KINDS.join(', ')}; default all`),
  since: z
    .string()
    .regex(/^\d{1,15}$/, 'since is the number of the last revision that you know')
    .transform(Number)
    .optional()
    .describe('tells the changes after this revision first'),
});

export class LiveService {
  readonly operations: readonly Operation[];
  readonly #context: ApiContext;
  readonly #hub: EventHub;
  readonly #sources: EventSources;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_PAYLOAD,
    perMessageDeflate: false,
    clientTracking: false,
  });
  /** By listener, the request that it came with. */
  readonly #listeners = new Map<Listener, IncomingMessage>();
  readonly #stop: () => void;
  #cancels: (() => void)[] = [];
  #closed = false;

  constructor(context: ApiContext) {
    this.#context = context;
    this.#hub = new EventHub(context.log);
    this.#sources = new EventSources(context, this.#hub);
    this.#stop = this.#hub.listen((event) => {
      for (const listener of [...this.#listeners.keys()]) listener.tell(event);
    });
    this.operations = [
      operation({
        method: 'GET',
        path: PATH,
        summary: 'Live events over WebSocket: changes, nodes, workers, health of backends, alarms',
        access: READERS,
        query,
        handle() {
          throw new KontrolError('upgrade_required', 'Connect here with a WebSocket client (RFC 6455)');
        },
      }),
    ];
  }

  start({ server }: ApiServer): void {
    server.on('upgrade', (request, socket, head) => {
      // Without a listener an error of the socket would end the process.
      socket.on('error', () => {});
      if (request.headers.upgrade?.toLowerCase() === 'websocket') void this.#upgrade(request, socket, head);
      else answerPlainly(server, request);
    });
    this.#sources.start();
    this.#every(PING_MS, () => {
      for (const listener of this.#listeners.keys()) listener.ping();
    });
    this.#every(IDENTIFY_MS, () => {
      for (const [listener, request] of this.#listeners) void this.#identifyAgain(listener, request);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stop();
    this.#sources.close();
    for (const cancel of this.#cancels.splice(0)) cancel();
    const leaving = [...this.#listeners.keys()];
    for (const listener of leaving) listener.leave(CLOSE.goingAway, 'kontrolapi stops');
    await Promise.all(leaving.map(({ gone }) => gone));
    this.#sockets.close();
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    try {
      const asked = await this.#check(request);
      if (socket.destroyed) return;
      this.#sockets.handleUpgrade(request, socket, head, (client) => {
        const kinds = asked.kinds === undefined ? null : new Set<EventKind>(asked.kinds);
        const listener = new Listener(client, kinds);
        this.#listeners.set(listener, request);
        void listener.gone.then(() => this.#listeners.delete(listener));
        void this.#tellMissed(listener, asked.since ?? null);
      });
    } catch (error) {
      refuse(socket, toKontrolError(error));
    }
  }

  async #check(request: IncomingMessage): Promise<z.output<typeof query>> {
    const [path, text = ''] = (request.url ?? '').split('?', 2);
    if (path !== PATH) throw new KontrolError('not_found', `Live events are at ${PATH}`);
    this.#refuseTooMany();
    refuseOtherPages(request);
    const caller = await this.#context.auth.identify(request);
    // Others came, or the end, while the store was asked.
    this.#refuseTooMany();
    if (!READERS.includes(caller.role))
      throw new KontrolError('forbidden', `${caller.name} has the role ${caller.role}, which does not read`);
    const asked = query.safeParse(Object.fromEntries(new URLSearchParams(text)));
    if (!asked.success)
      throw new KontrolError('invalid', 'The query is not valid', problemsOf(asked.error, query));
    return asked.data;
  }

  #refuseTooMany(): void {
    if (this.#closed || this.#listeners.size >= MAX_LISTENERS)
      throw new KontrolError('rate_limited', 'Too many listen here already; try another kontrolapi');
  }

  /** Begins with a greeting that says where the changes stand, then what came after `since`. */
  async #tellMissed(listener: Listener, since: number | null): Promise<void> {
    const { present, clock, history } = this.#context;
    try {
      await present.fresh(clock).catch(() => {});
      const { seq, hash } = present;
      const missed = since === null ? 0 : seq - since;
      const tellable = missed >= 0 && missed <= MAX_MISSED;
      if (since === null || missed === 0) await listener.tellFirst({ kind: 'hello', seq, hash });
      else if (!tellable) await listener.tellFirst({ kind: 'hello', seq, hash, missed: 'too-many' });
      else {
        await listener.tellFirst({ kind: 'hello', hash });
        if (listener.wants('change')) await tellChanges(listener, history.ascending(since));
      }
    } catch {
      // Removed from the history, or the store is away: the listener reads afresh what it needs.
      await listener.tellFirst({ kind: 'hello', seq: present.seq, missed: 'unknown' });
    }
    listener.begin();
  }

  async #identifyAgain(listener: Listener, request: IncomingMessage): Promise<void> {
    try {
      const { role } = await this.#context.auth.identify(request);
      if (!READERS.includes(role)) listener.leave(CLOSE.notAllowed, 'this role does not read any more');
    } catch (error) {
      // That the store is away is no reason to send anybody away.
      if (error instanceof KontrolError && error.status < 500)
        listener.leave(CLOSE.notAllowed, 'the token or session has ended');
    }
  }

  #every(ms: number, work: () => void): void {
    let cancel: () => void = () => {};
    const plan = () => {
      cancel = this.#context.clock.after(ms, () => {
        if (this.#closed) return;
        work();
        plan();
      });
    };
    plan();
    this.#cancels.push(() => cancel());
  }
}

/** One after the other: a listener must not be taken for slow because all that it missed came at once. */
async function tellChanges(listener: Listener, missed: AsyncIterable<Revision>): Promise<void> {
  for await (const revision of missed) {
    if (listener.left) return;
    await listener.tellFirst(changeEvent(revision));
  }
}

/**
 * Browsers send cookies with a WebSocket of any page, and the Origin of that page (RFC 6455 §10.2). Programs send
 * none.
 */
function refuseOtherPages({ headers }: IncomingMessage): void {
  const { origin, host } = headers;
  if (origin === undefined) return;
  if (URL.canParse(origin) && new URL(origin).host === host) return;
  throw new KontrolError('forbidden', 'Live events are not for pages of other origins');
}

/**
 * A client that offers another protocol (curl --http2 offers h2c) may be answered as if it had not (RFC 9110 §7.8),
 * but its body went unread with the parser; one that has a body is told to send it plainly.
 */
function answerPlainly(server: ApiServer['server'], request: IncomingMessage): void {
  const { socket, headers } = request;
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
    refuse(socket, new KontrolError('invalid', 'Leave out Upgrade: the API speaks HTTP/1.1'));
    return;
  }
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once('finish', () => {
    response.detachSocket(socket);
    socket.end();
  });
  server.emit('request', request, response);
}

/** An answer to an upgrade that is refused; there is no response object to write it with. */
function refuse(socket: Duplex, error: KontrolError): void {
  const { status } = ERRORS[error.code];
  const body = JSON.stringify({
    type: `urn:kontrol:error:${error.code}`,
    title: ERRORS[error.code].title,
    status,
    detail: error.message,
    code: error.code,
    errors: error.problems,
  });
  socket.end(
    `HTTP/1.1 ${status} ${error.code}\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
  );
  setTimeout(() => socket.destroy(), 1_000).unref();
}

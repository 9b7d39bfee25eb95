/** Every way in which an exchange can end, in every phase: how it is played, and what is recorded of it. */
import net from 'node:net';
import type { RequestRecord } from '../../proxy/observe/record.ts';
import { acceptForKey } from '../../proxy/tunnel/websocket-handshake.ts';
import {
  type ConnectOutcome,
  type Connector,
  type PendingConnect,
  socketConnector,
} from '../../proxy/upstream/connector.ts';
import { type ProxyOptions, type TestProxy, VARIANT } from './harness.ts';
import { Wire } from './wire.ts';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const HANDSHAKE = `GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`;
const SWITCH = `HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${acceptForKey(KEY)}\r\n\r\n`;
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc';
const UPLOAD = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc';
const CHUNKS = 'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const LAST = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok';
const BODIES = {
  'with length': 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc',
  chunked: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
  'until close': 'HTTP/1.1 200 OK\r\n\r\nabc',
};

/** Status, cause, phase, by whom. */
export type Outcome = readonly [
  status: number,
  cause: RequestRecord['cause'],
  phase: RequestRecord['phase'],
  endedBy: RequestRecord['endedBy'],
];

export interface Ending {
  /** One exchange, up to its end. */
  play(stage: Stage): Promise<void>;
  /** What is recorded of it, in order. */
  readonly outcomes: readonly Outcome[];
  readonly options?: ProxyOptions;
  /** No backend listens. */
  readonly refused?: boolean;
  /** Connects to backends stay under way. */
  readonly connecting?: boolean;
}

/** Connects that wait to be given up. */
export class HeldConnector implements Connector {
  readonly pending = new Set<PendingConnect>();
  connect(_target: unknown, _identity: unknown, _outcome: ConnectOutcome): PendingConnect {
    const connect: PendingConnect = { abort: () => this.pending.delete(connect) };
    this.pending.add(connect);
    return connect;
  }
}

export const realConnector: Connector = socketConnector(() => VARIANT);

/** The two ends of the proxy, which keep nothing of what is over. */
export class Stage {
  readonly proxy: TestProxy;
  readonly held: HeldConnector;
  #arrived: Wire[] = [];
  #waiting: ((wire: Wire) => void) | null = null;

  constructor(proxy: TestProxy, held: HeldConnector) {
    this.proxy = proxy;
    this.held = held;
    const { backend } = proxy;
    backend.server.on('wire', () => {
      const wire = backend.accepted.pop() as Wire;
      if (this.#waiting === null) this.#arrived.push(wire);
      else this.#waiting(wire);
      this.#waiting = null;
    });
  }

  async client(text: string): Promise<Wire> {
    const wire = new Wire(net.connect({ port: this.proxy.port, host: '127.0.0.1', allowHalfOpen: true }));
    wire.write(text);
    return wire;
  }

  /** The next connection to the backend, after a head came on it. */
  async backend(): Promise<Wire> {
    const wire = this.#arrived.shift() ?? (await new Promise<Wire>((resolve) => (this.#waiting = resolve)));
    await wire.readHead();
    return wire;
  }
}

type How = 'reset' | 'end';

function clientLeaves(how: How): Record<string, Ending> {
  const gone = (phase: Outcome[2], status = 499): Outcome[] => [[status, 'client_gone', phase, 'client']];
  const waiting = (text: string, answer = '', seen = ''): Ending['play'] => {
    return async (stage) => {
      const client = await stage.client(text);
      const backend = await stage.backend();
      if (answer !== '') backend.write(answer);
      if (seen !== '') await client.readUntil(seen);
      client[how]();
      await backend.until(() => backend.ended !== null, 'the backend to be told');
      backend.destroy();
    };
  };
  const all: Record<string, Ending> = {
    'before a request': {
      play: async (stage) => {
        const client = await stage.client('\r\n');
        await stage.proxy.settled(() => stage.proxy.connections.size === 1, 'the connection');
        client[how]();
      },
      outcomes: [],
    },
    'mid-head': {
      play: async (stage) => {
        const seen = stage.proxy.received;
        const client = await stage.client('GET / HTTP/1.1\r\nHo');
        await stage.proxy.settled(() => stage.proxy.received > seen, 'the first bytes');
        client[how]();
      },
      outcomes: gone('head'),
    },
    connecting: {
      play: async (stage) => {
        const client = await stage.client(GET);
        await stage.proxy.settled(() => stage.held.pending.size === 1, 'the connect');
        client[how]();
        await stage.proxy.settled(() => stage.held.pending.size === 0, 'the connect to be given up');
      },
      outcomes: gone('connect'),
      connecting: true,
    },
    queued: {
      play: async (stage) => {
        const first = await stage.client(GET);
        const backend = await stage.backend();
        const before = stage.proxy.decisions;
        const client = await stage.client(GET);
        await stage.proxy.settled(() => stage.proxy.decisions > before, 'the second request');
        client[how]();
        await stage.proxy.record();
        backend.write(LAST);
        await first.readUntil('ok');
        first.end();
        await backend.until(() => backend.ended !== null, 'the end');
        backend.destroy();
      },
      outcomes: [...gone('connect'), [200, null, 'done', 'complete']],
      options: { service: { pool: { max: 1 } } },
    },
    'before the head of the answer': { play: waiting(GET), outcomes: gone('wait') },
    'after an interim answer': {
      play: waiting(GET, 'HTTP/1.1 103 Early Hints\r\n\r\n', '\r\n\r\n'),
      outcomes: gone('wait'),
    },
    'mid-upload with length': { play: waiting(UPLOAD), outcomes: gone('send') },
    'mid-upload chunked': { play: waiting(CHUNKS), outcomes: gone('send') },
    'pipelined, behind its first request': { play: waiting(GET + GET + POST), outcomes: gone('wait') },
    'mid-upgrade': { play: waiting(HANDSHAKE), outcomes: gone('wait') },
  };
  for (const [framing, answer] of Object.entries(BODIES)) {
    all[`mid-body ${framing}`] = { play: waiting(GET, answer, 'abc'), outcomes: gone('response', 200) };
  }
  if (how === 'reset') {
    all['in a tunnel'] = {
      play: waiting(HANDSHAKE, SWITCH, '\r\n\r\n'),
      outcomes: [[101, null, 'tunnel', 'client']],
    };
  }
  return all;
}

function backendLeaves(how: How): Record<string, Ending> {
  const breaks = (text: string, answer = '', seen = '', before = ''): Ending['play'] => {
    return async (stage) => {
      const client = await stage.client(text);
      const backend = await stage.backend();
      if (before !== '') {
        backend.write(before);
        await backend.readHead();
      }
      if (answer !== '') backend.write(answer);
      if (seen !== '') await client.readUntil(seen);
      backend[how]();
      await client.until(
        () => client.ended !== null || /\r\n\r\n/.test(client.rest),
        'what the client is told',
      );
      client.end();
    };
  };
  const failed = (phase: Outcome[2]): Outcome => [502, 'backend_reset', phase, 'backend'];
  const all: Record<string, Ending> = {
    'before its answer': { play: breaks(POST), outcomes: [failed('wait')] },
    'mid-head': {
      play: async (stage) => {
        const client = await stage.client(POST);
        const backend = await stage.backend();
        backend.socket.write('HTTP/1.1 200 OK\r\nConte', () => backend[how]());
        await client.readHead();
        client.end();
      },
      outcomes: [failed('wait')],
    },
    'mid-upload': { play: breaks(UPLOAD), outcomes: [failed('send')] },
    'on the second of two pipelined requests': {
      play: breaks(GET + POST, '', 'ok', OK),
      outcomes: [[200, null, 'done', 'complete'], failed('wait')],
    },
    'mid-upgrade': { play: breaks(HANDSHAKE), outcomes: [failed('wait')] },
    'while its connection is idle': {
      play: async (stage) => {
        const client = await stage.client(GET);
        const backend = await stage.backend();
        backend.write(OK);
        await client.readUntil('ok');
        backend[how]();
        await backend.until(() => backend.closed || backend.ended !== null, 'the proxy to let it go');
        client.end();
      },
      outcomes: [[200, null, 'done', 'complete']],
    },
  };
  for (const [framing, answer] of Object.entries(BODIES)) {
    const whole = framing === 'until close' && how === 'end';
    all[`mid-body ${framing}`] = {
      play: breaks(GET, answer, 'abc'),
      outcomes: [whole ? [200, null, 'done', 'complete'] : [200, 'backend_cut', 'response', 'backend']],
    };
  }
  if (how === 'reset') {
    all['in a tunnel'] = {
      play: breaks(HANDSHAKE, SWITCH, '\r\n\r\n'),
      outcomes: [[101, null, 'tunnel', 'backend']],
    };
  }
  return all;
}

const answered = (text: string): Ending['play'] => {
  return async (stage) => {
    const client = await stage.client(text);
    await client.readHead();
    client.end();
  };
};

const OTHERS: Record<string, Ending> = {
  'no backend listens': {
    play: answered(POST),
    outcomes: [[503, 'all_dead', 'connect', 'proxy']],
    refused: true,
  },
  'the head is refused': {
    play: answered(GET.replace('Host', 'Host: a\r\nHost')),
    outcomes: [[400, 'bad_request', 'head', 'client']],
  },
  'the body is refused': {
    play: async (stage) => {
      const client = await stage.client(CHUNKS);
      const backend = await stage.backend();
      client.write('nonsense');
      await client.readHead();
      await backend.until(() => backend.ended !== null, 'the backend to be told');
      backend.destroy();
      client.end();
    },
    outcomes: [[400, 'bad_request', 'send', 'client']],
  },
  'both sides end a tunnel': {
    play: async (stage) => {
      const client = await stage.client(HANDSHAKE);
      const backend = await stage.backend();
      backend.write(SWITCH);
      await client.readHead();
      client.end();
      await backend.until(() => backend.ended !== null, 'the end');
      backend.end();
    },
    outcomes: [[101, null, 'tunnel', 'complete']],
  },
  'the connection is closed after the answer': {
    play: async (stage) => {
      const client = await stage.client('GET / HTTP/1.0\r\n\r\n');
      const backend = await stage.backend();
      backend.write(LAST);
      await client.readToEnd();
      client.end();
      await backend.until(() => backend.ended !== null, 'the end');
      backend.destroy();
    },
    outcomes: [[200, null, 'done', 'complete']],
  },
};

function titled(prefix: string, suffix: string, endings: Record<string, Ending>): [string, Ending][] {
  return Object.entries(endings).map(([name, ending]) => [`${prefix}${name}${suffix}`, ending]);
}

export const ENDINGS: readonly (readonly [name: string, ending: Ending])[] = [
  ...titled('the client leaves ', ' by reset', clientLeaves('reset')),
  ...titled('the client leaves ', ' by end', clientLeaves('end')),
  ...titled('the backend leaves ', ' by reset', backendLeaves('reset')),
  ...titled('the backend leaves ', ' by end', backendLeaves('end')),
  ...titled('', '', OTHERS),
];

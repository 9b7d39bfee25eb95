import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { ownedBlocks } from '../../proxy/stream/blocks.ts';
import { setFailureReport } from '../../proxy/stream/deadlines.ts';
import { acceptForKey } from '../../proxy/tunnel/websocket-handshake.ts';
import { type TestProxy, withProxy } from './harness.ts';
import type { Wire } from './wire.ts';

const ROUNDS = 1_200;
const AT_ONCE = 8;
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/** What a client asks for; the path tells the backend how to behave. */
const REQUESTS: Readonly<Record<string, string>> = {
  get: 'GET /PATH HTTP/1.1\r\nHost: a\r\n\r\n',
  last: 'GET /PATH HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  old: 'GET /PATH HTTP/1.0\r\n\r\n',
  post: 'POST /PATH HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  half: 'POST /PATH HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello',
  chunked: 'PUT /PATH HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  broken: 'PUT /PATH HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX',
  expect: 'PUT /PATH HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
  bad: 'GET /PATH HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n',
  unfinished: 'GET /PATH HTTP/1.1\r\nHo',
  socket: `GET /PATH HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`,
  two: 'GET /PATH HTTP/1.1\r\nHost: a\r\n\r\nGET /PATH HTTP/1.1\r\nHost: a\r\n\r\n',
};

/** What the backend does with a request. */
const ANSWERS: Readonly<Record<string, (wire: Wire) => void>> = {
  ok: (wire) => wire.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  chunks: (wire) => wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'),
  close: (wire) => {
    wire.write('HTTP/1.1 200 OK\r\n\r\nok');
    wire.end();
  },
  cut: (wire) => {
    wire.write('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok');
    wire.end();
  },
  reset: (wire) => wire.reset(),
  end: (wire) => wire.end(),
  nonsense: (wire) => wire.write('nonsense\r\n\r\n'),
  excess: (wire) => wire.write('HTTP/1.1 204 No Content\r\n\r\nexcess'),
  switch: (wire) =>
    wire.write(
      `HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${acceptForKey(KEY)}\r\n\r\nhi`,
    ),
  slow: () => {},
};

/** How the client goes: at once, or after it has seen something. */
const ENDINGS: readonly ((wire: Wire) => Promise<void>)[] = [
  async (wire) => wire.reset(),
  async (wire) => wire.end(),
  async (wire) => {
    await wire.until(() => wire.received.length > 0 || wire.ended !== null, 'anything').catch(() => {});
    wire.reset();
  },
  async (wire) => {
    await wire.until(() => wire.received.length > 0 || wire.ended !== null, 'anything').catch(() => {});
    wire.end();
  },
];

/** Plays the backend's part on every connection it gets. */
function play(proxy: TestProxy): void {
  for (const backend of proxy.backends) {
    backend.server.on('wire', () => {
      const wire = backend.accepted.at(-1)!;
      const next = (): void => {
        void wire.readHead().then(
          (head) => {
            const name = /^\S+ \/(\w+)/.exec(head)?.[1] ?? '';
            ANSWERS[name]?.(wire);
            if (wire.ended === null) next();
          },
          () => wire.destroy(),
        );
      };
      next();
    });
  }
}

const descriptors = () => readdirSync('/proc/self/fd').length;

/** Plays so many exchanges; afterwards nothing of them may be left. */
async function exchanges(proxy: TestProxy, rounds: number): Promise<void> {
  play(proxy);
  const requests = Object.entries(REQUESTS);
  const answers = Object.keys(ANSWERS);
  let round = 0;
  const one = async (): Promise<void> => {
    const number = round++;
    const [, request] = requests[number % requests.length]!;
    const path = answers[Math.floor(number / requests.length) % answers.length]!;
    const ending = ENDINGS[Math.floor(number / (requests.length * answers.length)) % ENDINGS.length]!;
    const client = await proxy.client().catch(() => null);
    // Ended before this side knew that it had begun.
    if (client === null) return;
    client.write(request.replaceAll('PATH', path));
    // Where nothing more will come, the client gives up.
    const giveUp = setTimeout(() => client.destroy(), 60);
    await ending(client);
    await client.until(() => client.ended !== null, 'the end').catch(() => {});
    clearTimeout(giveUp);
    client.destroy();
  };
  const before = { fds: descriptors(), blocks: ownedBlocks(), timers: proxy.timers.size };
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (round < rounds) await one();
    }),
  );
  await proxy.idle();
  assert.equal(proxy.opened, 0);
  assert.ok(proxy.records.length >= rounds / 2);
  const ids = new Set(proxy.records.map((record) => record.id));
  assert.equal(ids.size, proxy.records.length, 'a request was recorded twice');
  // Idle connections to backends may stay; nothing else may.
  proxy.upstreams.setService('shop', null);
  for (const backend of proxy.backends) for (const wire of backend.accepted) wire.destroy();
  await proxy.settled(() => descriptors() <= before.fds, 'the descriptors to be closed');
  assert.ok(ownedBlocks() <= before.blocks);
  assert.ok(proxy.timers.size <= before.timers + 1, `${proxy.timers.size} in the wheel`);
}

/** Whatever is asked of these fails now and then, in the same order in every run. */
function spoil(proxy: TestProxy): void {
  let state = 1;
  const chance = () => {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    return state / 0x80000000;
  };
  const fails = (owner: object, name: string, share: number): void => {
    const methods = owner as Record<string, (...values: unknown[]) => unknown>;
    const method = methods[name]!.bind(owner);
    methods[name] = (...values) => {
      if (chance() < share) throw new Error(`a defect of ours in ${name}`);
      return method(...values);
    };
  };
  const { environment } = proxy;
  for (const name of ['decide', 'via']) fails(environment, name, 0.05);
  for (const name of ['limits', 'draining']) fails(environment, name, 0.01);
  fails(environment.observer, 'record', 0.05);
  fails(environment.pages, 'render', 0.05);
  fails(environment.upstreams, 'acquire', 0.05);
}

const SCENE = { backends: 3, service: { retries: { max: 1 } } };

describe('exchanges that end in every way', () => {
  it('leave nothing behind, and each is recorded once', { timeout: 60_000 }, () =>
    withProxy(SCENE, (proxy) => exchanges(proxy, ROUNDS)),
  );

  it('leave nothing behind although we fail at every step now and then', { timeout: 60_000 }, () =>
    withProxy(SCENE, async (proxy) => {
      setFailureReport((error) => proxy.errors.push({ error }));
      spoil(proxy);
      await exchanges(proxy, ROUNDS);
      assert.ok(proxy.errors.splice(0).length > 100);
    }),
  );
});

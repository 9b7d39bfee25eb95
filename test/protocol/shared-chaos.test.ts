/**
 * Random visitors at a backend that answers in every way, also wrongly: whoever gets a complete answer gets one that was
 * made for a request like theirs, each request is recorded once, and nothing stays behind.
 */
import assert from 'node:assert/strict';
import type net from 'node:net';
import { describe, test } from 'node:test';
import { type TestProxy, withProxy } from './harness.ts';
import { dechunk, type Message } from './wire.ts';

/** Park and Miller's generator: a failure is repeated by its seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

const LANGUAGES = ['en', 'fr', 'de'];
const ANSWERS = [
  'plain',
  'chunked',
  'private',
  'cookie',
  'vary',
  'etag',
  'long',
  'error',
  'cut',
  'reset',
  'endless',
];

/** What an answer says of the request that it was made for. */
function bodyFor(kind: string, head: string): string {
  const field = (name: string) => new RegExp(`^${name}: (.*)\r$`, 'mi').exec(head)?.[1] ?? '-';
  const own = kind === 'private' || kind === 'cookie' ? field('x-id') : '-';
  const language = kind === 'vary' ? field('accept-language') : '-';
  const target = head.split(' ')[1] ?? '';
  return `${target} ${own} ${language} ${kind === 'long' ? 'x'.repeat(300_000) : ''}.`;
}

class RandomBackend {
  readonly #random: (below: number) => number;

  /** Answers on the connections of `server`. */
  constructor(server: net.Server, random: (below: number) => number) {
    this.#random = random;
    server.on('connection', (socket: net.Socket) => {
      let text = '';
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          const head = text.slice(0, end + 2);
          text = text.slice(end + 4);
          this.#answer(socket, head);
        }
      });
    });
  }

  #answer(socket: net.Socket, head: string): void {
    // The path says how; now and then it is otherwise, so that stored answers meet failures.
    const named = /^GET \/(\w+)/.exec(head)?.[1] ?? 'plain';
    const kind = this.#random(8) === 0 ? (['error', 'reset', 'private'][this.#random(3)] as string) : named;
    const body = bodyFor(kind, head);
    if (kind === 'cut') {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n${body}`);
      setImmediate(() => socket.destroy());
    } else if (kind === 'reset') socket.resetAndDestroy();
    else if (kind === 'endless') socket.end(`HTTP/1.1 200 OK\r\n\r\n${body}`);
    else this.#send(socket, messageFor(kind, head, body));
  }

  /** In two pieces, with other events between them. */
  #send(socket: net.Socket, bytes: string): void {
    const half = this.#random(bytes.length);
    socket.write(bytes.slice(0, half), 'latin1');
    setImmediate(() => socket.writable && socket.write(bytes.slice(half), 'latin1'));
  }
}

function messageFor(kind: string, head: string, body: string): string {
  const answer = (fields: string, line = '200 OK') =>
    `HTTP/1.1 ${line}\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;
  switch (kind) {
    case 'chunked':
      return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    case 'private':
      return answer('Cache-Control: private\r\n');
    case 'cookie':
      return answer('Set-Cookie: a=1\r\n');
    case 'vary':
      return answer('Vary: Accept-Language\r\nCache-Control: max-age=1\r\n');
    case 'etag':
      if (/^if-none-match: "e"/im.test(head)) return 'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n\r\n';
      return answer('ETag: "e"\r\nCache-Control: max-age=1\r\n');
    case 'error':
      return answer('', '503 Service Unavailable');
    default:
      return answer('');
  }
}

function check({ status, body, fields }: Message, target: string, id: string, language: string): void {
  if (status !== 200) return;
  const text = fields.get('transfer-encoding') === 'chunked' ? dechunk(body) : body;
  if (fields.get('content-length') === undefined && text === '') return;
  const [made, own, spoken, rest] = text.split(' ');
  assert.equal(made, target);
  assert.ok(own === '-' || own === id, `${id} got what was made for ${own}`);
  assert.ok(spoken === '-' || spoken === language, `${language} got ${spoken}`);
  assert.ok(rest?.endsWith('.'), 'it is whole');
}

async function visitor(proxy: TestProxy, random: (below: number) => number, id: string): Promise<number> {
  const client = await proxy.client();
  let asked = 0;
  for (let round = 1 + random(4); round > 0 && client.ended === null; round--) {
    const target = `/${ANSWERS[random(ANSWERS.length)]}?${random(2)}`;
    const language = LANGUAGES[random(3)] as string;
    const extra = [
      '',
      '',
      '',
      'If-None-Match: "e"\r\n',
      'Range: bytes=0-9999999\r\n',
      'Cookie: a=1\r\n',
      'Cache-Control: no-cache\r\n',
    ];
    const fields = `X-Id: ${id}\r\nAccept-Language: ${language}\r\n${extra[random(extra.length)]}`;
    client.write(`GET ${target} HTTP/1.1\r\nHost: example.com\r\n${fields}\r\n`);
    asked++;
    if (random(6) === 0) {
      for (let turns = random(6); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      client.reset();
      return asked;
    }
    if (random(5) === 0) {
      client.socket.pause();
      setImmediate(() => setImmediate(() => client.socket.resume()));
    }
    try {
      check(await client.readMessage(), target, id, language);
    } catch (error) {
      if (error instanceof assert.AssertionError || /in vain/.test(String(error))) throw error;
    }
  }
  return asked;
}

async function chaos(
  seed: number,
  service: Record<string, unknown>,
  wanted: readonly string[],
): Promise<void> {
  const random = randomFrom(seed);
  const patient = { passive: { attempts: 1_000 }, queue: { size: 1_000, wait: '10s' } };
  await withProxy({ service: { ...patient, ...service } }, async (proxy) => {
    new RandomBackend(proxy.backend.server, random);
    for (let crowd = 0; crowd < 6; crowd++) {
      const visitors = Array.from({ length: 40 }, (_, i) => visitor(proxy, random, `${crowd}-${i}`));
      await Promise.all(visitors);
      proxy.passTime(700);
      if (crowd === 3) proxy.answers.purge('shop', null);
    }
    await proxy.idle();
    assert.equal(proxy.records.length, proxy.decisions, 'each request is recorded once');
    for (const outcome of wanted) {
      assert.ok(
        proxy.records.some(({ cache }) => cache === outcome),
        `some are ${outcome}`,
      );
    }
    assert.equal(proxy.answers.open, 0, 'nothing is under way');
    await proxy.settled(() => proxy.answers.underWay === 0, 'memory of answers under way to be given back');
  });
}

describe('random visitors and answers', () => {
  for (const seed of [1, 2, 3]) {
    test(`with coalescing, seed ${seed}`, () =>
      chaos(seed, { coalesce: { withCookies: true } }, ['collapsed']));
    test(`with a cache, seed ${seed}`, () => {
      const cache = {
        ttl: '1s',
        size: '1MB',
        staleIfError: '1s',
        staleWhileRevalidate: seed === 1 ? '1s' : '0s',
      };
      return chaos(seed, { cache }, ['hit', 'miss', 'collapsed', 'bypass']);
    });
  }
});

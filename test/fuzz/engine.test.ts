import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type TestProxy, withProxy } from '../protocol/harness.ts';
import type { Wire } from '../protocol/wire.ts';
import { ANSWERS, cut, mutate, REQUESTS } from './mutations.ts';
import { type NaiveRequest, naiveRequests } from './naive.ts';
import { naiveAnswers } from './naive-answers.ts';
import { eachRound, type Random } from './random.ts';

const ROUNDS = 1_000;
/** Every client gets the answers to what it asked before its end, and no request is sent twice. */
const OPTIONS = { limits: { halfClose: true }, service: { retries: { max: 0 } } };

const NAMELESS = /(HTTP\/1\.1\r\nHost: )(\r\n(?:[^\r]+\r\n)*Via: 1\.0)/;

const pause = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Backends that take nothing but strict requests, and answer what the round says. */
class Backends {
  readonly #proxy: TestProxy;
  /** What came on each connection, from the first request of this round on. */
  readonly #received = new Map<Wire, string>();
  #answer: () => { text: string; last: boolean } = () => ({ text: '', last: true });

  constructor(proxy: TestProxy) {
    this.#proxy = proxy;
    for (const backend of proxy.backends) {
      backend.server.on('wire', () => this.#serve(backend.accepted.at(-1) as Wire));
    }
  }

  begin(answer: () => { text: string; last: boolean }): void {
    this.#answer = answer;
    this.#received.clear();
  }

  #serve(wire: Wire): void {
    wire.socket.on('data', (data) => {
      // A client of HTTP/1.0 need not name a host: then the field is empty (RFC 9112 §3.2).
      const came = data.toString('latin1').replace(NAMELESS, '$1none$2');
      const text = (this.#received.get(wire) ?? '') + came;
      const before = naiveRequests(this.#received.get(wire) ?? '').requests.length;
      this.#received.set(wire, text);
      const { requests } = naiveRequests(text);
      for (let i = before; i < requests.length; i++) {
        const { text: answer, last } = this.#answer();
        wire.write(answer);
        if (last) wire.end();
      }
    });
    wire.socket.on('end', () => wire.end());
  }

  /** The complete requests of this round; throws when anything but requests came. */
  requests(): NaiveRequest[] {
    return [...this.#received.values()].flatMap((text) => {
      const reading = naiveRequests(text);
      assert.ok(
        reading.end === 'idle' || reading.end === 'unfinished',
        `${reading.end}: ${JSON.stringify(text)}`,
      );
      return reading.requests;
    });
  }

  async idle(): Promise<void> {
    await this.#proxy.settled(() => this.#proxy.connections.size === 0, 'the client connection to end');
    await this.#proxy.settled(() => this.#proxy.activeRequests() === 0, 'the backends to be free');
  }
}

/** What the backend has to see of a connection's requests. */
function expected(text: string): NaiveRequest[] {
  return naiveRequests(text)
    .requests.filter(
      (request) => !(request.method === 'OPTIONS' && /\r\nMax-Forwards:[\t ]*0+[\t ]*\r/i.test(text)),
    )
    .map((request) => ({ ...request, target: originForm(request) }));
}

function originForm({ method, target }: NaiveRequest): string {
  const path = target.replace(/^https?:\/\/[^/?]*/i, '');
  if (path === '' && method === 'OPTIONS') return '*';
  return path.startsWith('/') || path === '*' ? path : `/${path}`;
}

async function send(proxy: TestProxy, random: Random, text: string): Promise<Wire> {
  const client = await proxy.client();
  for (const piece of cut(random, text)) {
    client.write(piece);
    if (random.below(2) === 0) await pause();
  }
  client.end();
  await client.until(() => client.ended !== null, `the end after ${JSON.stringify(text)}`);
  return client;
}

describe('the engine under mutated messages', () => {
  it('a strict backend sees exactly the requests that the rules read, once each, and the client gets their answers', () =>
    withProxy(OPTIONS, async (proxy) => {
      const backends = new Backends(proxy);
      await eachRound(ROUNDS, async (random) => {
        const text = mutate(random, random.pick(REQUESTS));
        const note = JSON.stringify(text);
        proxy.records.length = 0;
        backends.begin(() => ({ text: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', last: false }));
        const { received } = await send(proxy, random, text);
        await backends.idle();
        const wanted = expected(text);
        assert.deepEqual(backends.requests(), wanted, note);
        const { requests } = naiveRequests(text);
        const read = naiveAnswers(
          received,
          requests.map(({ method }) => method),
        );
        assert.equal(read.wrong, null, `${note} ${JSON.stringify(received)}`);
        assert.ok(read.answers.length >= wanted.length, note);
        assert.ok(read.answers.length <= requests.length + 1, note);
        assert.equal(new Set(proxy.records.map(({ id }) => id)).size, proxy.records.length, note);
        assert.ok(proxy.records.length >= requests.length, note);
      });
    }));

  it('whatever a backend answers, the client gets whole answers, or one that is visibly cut', () =>
    withProxy(OPTIONS, async (proxy) => {
      const backends = new Backends(proxy);
      await eachRound(ROUNDS, async (random) => {
        const request = random.pick(REQUESTS);
        const answer = mutate(random, random.pick(ANSWERS));
        const note = JSON.stringify({ request, answer });
        proxy.records.length = 0;
        backends.begin(() => ({ text: answer, last: true }));
        const { received, ended } = await send(proxy, random, request);
        await backends.idle();
        const { requests } = naiveRequests(request);
        const read = naiveAnswers(
          received,
          requests.map(({ method }) => method),
        );
        assert.equal(read.wrong, null, `${note} ${JSON.stringify(received)}`);
        assert.ok(read.answers.length <= requests.length, `${note} ${JSON.stringify(received)}`);
        assert.ok(
          read.cut || read.answers.length > 0 || ended === 'reset',
          `${note} ${JSON.stringify(received)}`,
        );
        assert.equal(new Set(proxy.records.map(({ id }) => id)).size, proxy.records.length, note);
      });
    }));
});

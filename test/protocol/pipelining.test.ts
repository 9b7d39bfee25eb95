import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ProxyOptions, type TestProxy, withProxy } from './harness.ts';
import type { Wire } from './wire.ts';

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** A client with 40 000 requests under way that takes no answer, once it is held back. */
async function askingOn(proxy: TestProxy): Promise<Wire> {
  const client = await proxy.client();
  client.socket.pause();
  client.write(get('/x').repeat(40_000));
  const [connection] = proxy.connections;
  await proxy.settled(() => (connection?.pendingBytes ?? 0) > 65_536, 'answers that wait');
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  return client;
}

describe('pipelining', () => {
  it('requests are answered in order, one at a time on the backend', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(
        `${get('/1')}POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc${get('/3')}${get('/4').slice(0, 9)}`,
      );
      const backend = await proxy.backend.connection();
      assert.match(await backend.readHead(), /^GET \/1 /);
      assert.equal(backend.rest, '');
      backend.write(ok('one'));
      assert.equal((await client.readMessage()).body, 'one');
      const second = await backend.readMessage();
      assert.equal(second.body, 'abc');
      backend.write(ok('two'));
      assert.equal((await client.readMessage()).body, 'two');
      assert.match(await backend.readHead(), /^GET \/3 /);
      client.write(get('/4').slice(9));
      backend.write(ok('three'));
      assert.equal((await client.readMessage()).body, 'three');
      assert.match(await backend.readHead(), /^GET \/4 /);
      assert.equal(proxy.backend.accepted.length, 1);
    }));

  it('an error answer ends the connection after the answers before it', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`${get('/1')}GET /bad HTTP/1.1\nHost: a\r\n\r\n${get('/3')}`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      assert.equal(client.rest, '');
      backend.write(ok('one'));
      assert.equal((await client.readMessage()).body, 'one');
      assert.equal((await client.readMessage()).status, 400);
      assert.equal(await client.readToEnd(), '');
      assert.equal(proxy.records.length, 2);
    }));

  it('nothing behind a request with Connection: close is read', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n${get('/2')}`);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(ok('one'));
      assert.equal((await client.readMessage()).fields.get('connection'), 'close');
      assert.equal(await client.readToEnd(), '');
      assert.equal(proxy.records.length, 1);
    }));

  it('a client that sends without end is held back, with bounded memory', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(get('/first'));
      const backend = await proxy.backend.connection();
      await backend.readHead();
      const many = Buffer.from(get('/more').repeat(2_000));
      let taken = true;
      for (let i = 0; i < 200 && taken; i++) {
        taken = client.socket.write(many);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(taken, false, 'the kernel took everything: nobody held the client back');
      // A reset is noticed all the same.
      client.reset();
      await backend.readToEnd();
      assert.equal((await proxy.record()).status, 499);
      await proxy.idle();
    }));

  const page: ProxyOptions = {
    decide: (_view, { labels }) => ({
      type: 'page',
      cause: 'route_unknown',
      retryAfter: null,
      labels,
      response: null,
    }),
  };
  it('thousands of requests in one go that the proxy answers itself are all answered', () =>
    withProxy(page, async (proxy) => {
      const client = await proxy.client();
      client.write(get('/x').repeat(3_000));
      for (let i = 0; i < 3_000; i++) assert.equal((await client.readMessage()).status, 404);
      assert.equal(proxy.records.length, 3_000);
    }));

  const body = 'x'.repeat(30_000);
  for (const [from, options, count] of [
    ['the proxy itself', page, 40_000],
    ['a backend', {}, 1_000],
  ] as const) {
    it(`a client that takes no answer from ${from} is held back, with bounded memory, and loses none`, () =>
      withProxy(options, async (proxy) => {
        const client = await proxy.client();
        client.socket.pause();
        client.write(get('/x').repeat(count));
        if (from === 'a backend') {
          const backend = await proxy.backend.connection();
          await backend.readHead();
          let answered = 0;
          const answer = () => backend.write(ok(`<${answered++}>${body}`));
          answer();
          backend.socket.on('data', answer);
        }
        const pending = () => Math.max(...[...proxy.connections].map((one) => one.pendingBytes));
        await proxy.settled(() => pending() > 65_536, 'answers that wait');
        for (let i = 0; i < 500; i++) await new Promise((resolve) => setImmediate(resolve));
        assert.ok(pending() <= 262_144, `${pending()} bytes wait`);
        assert.ok(proxy.decisions < count);
        client.socket.resume();
        await proxy.settled(() => proxy.records.length === count, 'every request to be answered');
        client.end();
        const answers = (await client.readToEnd()).split('HTTP/1.1 ').slice(1);
        assert.equal(answers.length, count);
        for (const [index, answer] of answers.entries())
          assert.ok(from !== 'a backend' || answer.endsWith(`\r\n\r\n<${index}>${body}`));
        await proxy.idle();
      }));
  }

  it('a client that takes no answer and asks on is given up after the keep-alive time', () =>
    withProxy(page, async (proxy) => {
      const client = await askingOn(proxy);
      proxy.passTime(66_000);
      const { decisions } = proxy;
      assert.ok(decisions < 40_000);
      client.socket.resume();
      await client.readToEnd();
      assert.equal(proxy.decisions, decisions);
      assert.equal(client.received.match(/HTTP\/1\.1 404 /g)?.length, decisions);
    }));

  it('a failure of ours when such a client takes more again loses none of the answers before it', () =>
    withProxy(page, async (proxy) => {
      const client = await askingOn(proxy);
      const { decisions } = proxy;
      const limits = () => {
        throw new Error('a defect of ours');
      };
      Object.assign(proxy.environment, { limits });
      client.socket.resume();
      await client.readToEnd();
      assert.equal(client.received.match(/HTTP\/1\.1 404 /g)?.length, decisions);
      assert.equal(proxy.errors.splice(0).length, 1);
    }));

  it('up to eight empty lines before a request are skipped', () =>
    withProxy(page, async (proxy) => {
      const client = await proxy.client();
      client.write(`${'\r\n'.repeat(8)}${get('/1')}\r\n${get('/2')}`);
      assert.equal((await client.readMessage()).status, 404);
      assert.equal((await client.readMessage()).status, 404);
    }));

  it('a request that comes byte by byte is understood', () =>
    withProxy(page, async (proxy) => {
      const client = await proxy.client();
      for (const char of `POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc${get('/2')}`) {
        client.write(char);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal((await client.readMessage()).status, 404);
      assert.equal((await client.readMessage()).status, 404);
    }));
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type TestProxy, withProxy } from './harness.ts';
import { stuckUpload } from './stuck-upload.ts';
import type { Wire } from './wire.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const UPLOAD = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc';

/** How far a request has come when its client leaves. */
const PHASES: Readonly<
  Record<
    string,
    {
      readonly arrive: (proxy: TestProxy, client: Wire) => Promise<Wire | null>;
      readonly status: number;
      readonly phase: string;
      readonly max?: number;
    }
  >
> = {
  'in the middle of its head': {
    arrive: async (proxy, client) => {
      client.write('GET / HTTP/1.1\r\nHo');
      await proxy.settled(() => proxy.received > 0, 'the first bytes');
      return null;
    },
    status: 499,
    phase: 'head',
  },
  'before the head of the answer': {
    arrive: async (proxy, client) => {
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      return backend;
    },
    status: 499,
    phase: 'wait',
  },
  'after an interim answer': {
    arrive: async (proxy, client) => {
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 103 Early Hints\r\n\r\n');
      await client.readHead();
      return backend;
    },
    status: 499,
    phase: 'wait',
  },
  'in the middle of the answer': {
    arrive: async (proxy, client) => {
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc');
      await client.readUntil('abc');
      return backend;
    },
    status: 200,
    phase: 'response',
  },
  'in the middle of its upload': {
    arrive: async (proxy, client) => {
      client.write(UPLOAD);
      const backend = await proxy.backend.connection();
      await backend.readUntil('abc');
      return backend;
    },
    status: 499,
    phase: 'send',
  },
  'while it waits in the queue': {
    arrive: async (proxy, client) => {
      const first = await proxy.client();
      first.write(GET);
      await (await proxy.backend.connection()).readHead();
      client.write(GET);
      await proxy.settled(() => proxy.decisions === 2, 'both');
      return null;
    },
    status: 499,
    phase: 'connect',
    max: 1,
  },
};

describe('a client that leaves', () => {
  for (const [when, { arrive, status, phase, max }] of Object.entries(PHASES)) {
    for (const how of ['reset', 'end'] as const) {
      it(`${when} by ${how} frees everything at once`, () =>
        withProxy({ service: { pool: { max: max ?? 10 } } }, async (proxy) => {
          const client = await proxy.client();
          const backend = await arrive(proxy, client);
          client[how]();
          const record = await proxy.record();
          assert.equal(record.status, status);
          assert.equal(record.cause, 'client_gone');
          assert.equal(record.endedBy, 'client');
          assert.equal(record.phase, phase);
          if (backend !== null) await backend.readToEnd();
          assert.equal(proxy.records.length, 1);
          if (max === undefined) await proxy.idle();
          else {
            // The place it waited for goes to nobody.
            const first = proxy.backend.accepted[0]!;
            first.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
            await proxy.record(2);
            await proxy.settled(() => proxy.activeRequests() === 0, 'the backend to be free');
            assert.equal(first.rest, '');
          }
        }));
    }
  }

  it('by ending its side only, still gets the answer where limits.halfClose says so', () =>
    withProxy({ limits: { halfClose: true } }, async (proxy) => {
      const client = await proxy.client();
      client.write(GET);
      client.end();
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.match(await client.readToEnd(), /^HTTP\/1\.1 200 .*ok$/s);
      assert.equal(client.ended, 'end');
      assert.equal((await proxy.record()).endedBy, 'complete');
      await proxy.idle();
    }));

  it('by ending its side behind several requests, gets all their answers with limits.halfClose', () =>
    withProxy({ limits: { halfClose: true } }, async (proxy) => {
      const client = await proxy.client();
      client.write(`${GET}${GET}${GET}GET /unfinished HTTP/1.1\r\nHo`);
      client.end();
      const backend = await proxy.backend.connection();
      for (let i = 0; i < 3; i++) {
        await backend.readHead();
        backend.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      }
      assert.equal((await client.readToEnd()).match(/HTTP\/1\.1 200 /g)?.length, 3);
      assert.equal(client.ended, 'end');
      await proxy.idle();
    }));

  it('while it is held back by a slow backend is noticed', () =>
    withProxy({}, async (proxy) => {
      const { client } = await stuckUpload(proxy);
      client.reset();
      const record = await proxy.record();
      assert.equal(record.status, 499);
      assert.equal(record.phase, 'send');
      await proxy.idle();
    }));

  it('the other way round: an idle connection is closed without a record', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.end();
      assert.equal(await client.readToEnd(), '');
      await proxy.idle();
      assert.equal(proxy.records.length, 0);
      assert.equal(proxy.opened, 0);
    }));

  it('and everything before it: the wheel and the blocks hold on to nothing', () =>
    withProxy({}, async (proxy) => {
      const before = proxy.timers.size;
      for (let i = 0; i < 20; i++) {
        const client = await proxy.client();
        client.write(i % 2 === 0 ? GET : UPLOAD);
        await (await proxy.backend.connection()).readHead();
        client.reset();
        await proxy.record(i + 1);
      }
      await proxy.idle();
      await proxy.settled(() => proxy.timers.size <= before + 1, 'the wheel to forget the closed ones');
    }));

  it('a slow reader holds the backend back, and gets everything in the end', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.socket.pause();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      const size = 64 * 1_048_576;
      backend.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      const block = Buffer.alloc(1_048_576, 'x');
      let sent = 0;
      const pump = (): void => {
        while (sent < size) {
          sent += block.length;
          if (!backend.socket.write(block)) return;
        }
      };
      backend.socket.on('drain', pump);
      pump();
      await proxy.settled(() => backend.socket.writableLength > 0, 'the backend to be held back');
      // Let everything that wants to flow do so.
      for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(sent < size, `the proxy took all ${size} bytes`);
      for (const connection of proxy.connections) assert.ok(connection.pendingBytes <= 262_144);
      client.socket.resume();
      await client.until(() => client.received.length >= size, 'all bytes');
      assert.equal((await proxy.record()).endedBy, 'complete');
    }));

  it('a reader that has stopped is given up', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.socket.pause();
      client.write(GET);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n');
      const block = Buffer.alloc(1_048_576);
      while (backend.socket.write(block)) await new Promise((resolve) => setImmediate(resolve));
      for (let i = 0; i < 50; i++) {
        backend.socket.write(block);
        await new Promise((resolve) => setImmediate(resolve));
      }
      proxy.passTime(61_000);
      const record = await proxy.record();
      assert.equal(record.endedBy, 'client');
      await backend.readToEnd();
    }));
});

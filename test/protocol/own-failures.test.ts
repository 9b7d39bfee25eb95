import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { CompiledService } from '../../shared/routing/decision.ts';
import { TestProxy } from './harness.ts';

/** A decision whose last part cannot be written: the head of the request stands half composed by then. */
const BROKEN = {
  set: [],
  remove: new Set<string>(),
  get add(): [] {
    throw new Error('a defect of ours');
  },
};

/** Fails first when the head for a backend is composed. */
function withBrokenHost(service: CompiledService): CompiledService {
  const config = Object.defineProperty({ ...service.config }, 'host', {
    get() {
      throw new Error('a defect of ours');
    },
  });
  return { ...service, config };
}

async function withBrokenPath(
  body: (proxy: TestProxy) => Promise<void>,
  service: Record<string, unknown> = {},
): Promise<void> {
  const proxy = await TestProxy.start({
    service,
    decide: (view, forward) => {
      if (view.rawPath === '/broken') return { ...forward, request: BROKEN };
      return view.rawPath === '/broken-host'
        ? { ...forward, service: withBrokenHost(forward.service) }
        : forward;
    },
  });
  try {
    await body(proxy);
  } finally {
    proxy.close();
  }
}

it('a failure of ours while a head is composed ends its own connection, with a page and a log line', () =>
  withBrokenPath(async (proxy) => {
    const client = await proxy.client();
    client.write('GET /broken HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(await client.readHead(), /^HTTP\/1\.1 500 /);
    assert.equal((await proxy.record()).cause, 'internal');
    assert.ok(proxy.errors.length > 0);
    await proxy.idle();
  }));

it('what was composed when it failed never reaches a backend with the body of another client', () =>
  withBrokenPath(async (proxy) => {
    const other = await proxy.client();
    other.write('POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc');
    const backend = await proxy.backend.connection();
    await backend.readHead();
    await backend.readUntil('abc');
    const client = await proxy.client();
    client.write('GET /broken HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.readHead();
    other.write('def');
    assert.equal(await backend.readUntil('def'), 'def');
  }));

for (const service of [{ coalesce: {} }, { cache: {} }]) {
  it(`a failure of ours in a request for several is a page for all of them, with ${Object.keys(service)[0]}`, () =>
    withBrokenPath(async (proxy) => {
      const clients = [await proxy.client(), await proxy.client(), await proxy.client()];
      for (const client of clients) client.write('GET /broken-host HTTP/1.1\r\nHost: a\r\n\r\n');
      for (const client of clients) assert.match(await client.readHead(), /^HTTP\/1\.1 500 /);
      await proxy.record(3);
      for (const { cause } of proxy.records) assert.equal(cause, 'internal');
      const other = await proxy.client();
      other.write('GET /fine HTTP/1.1\r\nHost: a\r\n\r\n');
      let head = '';
      while (head === '') {
        // Connections of the broken ones end without a byte.
        const backend = await proxy.backend.connection();
        head = await backend.readHead().catch(() => '');
        if (head !== '') backend.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      }
      assert.match(head, /^GET \/fine HTTP\/1\.1\r\nHost: a\r\n/);
      assert.match(await other.readHead(), /^HTTP\/1\.1 200 /);
      await proxy.idle();
      assert.equal(proxy.answers.underWay, 0);
    }, service));
}

it('a pipelined request at which we fail is answered once, and nothing behind it is read', async () => {
  let failures = 0;
  const proxy = await TestProxy.start({
    decide: (view, forward) => {
      if (view.rawPath === '/2' && failures++ === 0) throw new Error('a defect of ours');
      return forward;
    },
  });
  try {
    const client = await proxy.client();
    for (const path of ['/1', '/2', '/3']) client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    const backend = await proxy.backend.connection();
    await backend.readHead();
    await proxy.settled(() => proxy.received === 3 * 'GET /1 HTTP/1.1\r\nHost: a\r\n\r\n'.length, 'all');
    backend.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    assert.equal((await client.readMessage()).body, 'ok');
    const answer = await client.readMessage();
    assert.deepEqual([answer.status, answer.fields.get('connection')], [500, 'close']);
    assert.equal(await client.readToEnd(), '');
    assert.equal(failures, 1);
    assert.deepEqual(
      proxy.records.map(({ target }) => target),
      ['/1', '/2'],
    );
    assert.equal(backend.rest, '');
  } finally {
    proxy.close();
  }
});

it('a page that cannot be made leaves nobody waiting', () =>
  withBrokenPath(async (proxy) => {
    const pages = {
      render() {
        throw new Error('a defect of ours');
      },
    };
    Object.assign(proxy.environment, { pages });
    proxy.backend.close();
    for (const path of ['/unreachable', '/broken']) {
      const client = await proxy.client();
      client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
      assert.equal(await client.readToEnd(), '');
    }
    assert.deepEqual(
      (await Promise.all([proxy.record(1), proxy.record(2)])).map(({ cause }) => cause),
      ['internal', 'internal'],
    );
    await proxy.idle();
  }));

/** The observer fails at the record of every request: whatever ends a connection must still count it as gone. */
async function withBrokenRecords(body: (proxy: TestProxy) => Promise<void>): Promise<void> {
  const proxy = await TestProxy.start();
  proxy.environment.observer.record = () => {
    throw new Error('a defect of ours');
  };
  try {
    await body(proxy);
    await proxy.settled(() => proxy.connections.size === 0, 'the connection to end');
    assert.equal(proxy.opened, 0);
    assert.equal(proxy.activeRequests(), 0);
    assert.ok(proxy.errors.length > 0);
  } finally {
    proxy.close();
  }
}

it('a connection that is lost during a request is counted as gone when its record fails', () =>
  withBrokenRecords(async (proxy) => {
    const client = await proxy.client();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const backend = await proxy.backend.connection();
    await backend.readHead();
    client.socket.resetAndDestroy();
  }));

it('a connection that is lost in the middle of a head is counted as gone when its record fails', () =>
  withBrokenRecords(async (proxy) => {
    const client = await proxy.client();
    client.write('GET / HT');
    await proxy.settled(() => proxy.received > 0, 'the beginning of a head');
    client.socket.resetAndDestroy();
  }));

it('a connection whose answer is complete serves the next request when its record fails', () =>
  withBrokenRecords(async (proxy) => {
    const client = await proxy.client();
    client.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n');
    const backend = await proxy.backend.connection();
    for (let i = 0; i < 2; i++) {
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.equal((await client.readMessage()).body, 'ok');
    }
    client.end();
  }));

const HANDSHAKE =
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

it('a WebSocket connection is counted as gone when its record fails', () =>
  withBrokenRecords(async (proxy) => {
    const client = await proxy.client();
    client.write(HANDSHAKE);
    const backend = await proxy.backend.connection();
    await backend.readHead();
    backend.write(SWITCH);
    await client.readHead();
    client.socket.resetAndDestroy();
  }));

it('a failure of ours while a tunnel begins ends both of its connections', async () => {
  const proxy = await TestProxy.start({ decide: (_, forward) => ({ ...forward, response: BROKEN }) });
  try {
    const client = await proxy.client();
    client.write(HANDSHAKE);
    const backend = await proxy.backend.connection();
    await backend.readHead();
    backend.write(SWITCH);
    await client.readToEnd();
    await backend.readToEnd();
    await proxy.record();
    assert.ok(proxy.errors.length > 0);
    await proxy.idle();
  } finally {
    proxy.close();
  }
});

/** A request travels from a visitor's socket through a real serving process to a backend, whatever changes meanwhile. */
import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import test from 'node:test';
import { generate } from 'selfsigned';
import { specOfListener, specsOfSettings } from '../../../proxy/link/listener-specs.ts';
import type { TableEntry } from '../../../shared/routing/entry.ts';
import { eventually, isAlive, kill, NodeUnderTest, request, untilRefused } from './harness.ts';

interface BackendUnderTest extends AsyncDisposable {
  readonly port: number;
  /** Answers to `/slow` that wait for `finish`. */
  readonly waiting: http.ServerResponse[];
}

/** Answers with its name; `/slow` sends a first part and waits. */
async function backend(name: string): Promise<BackendUnderTest> {
  const waiting: http.ServerResponse[] = [];
  const server = http.createServer((incoming, response) => {
    if (incoming.url === '/slow') {
      response.write('first');
      waiting.push(response);
    } else {
      response.end(name);
    }
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    waiting,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const service = (port: number): TableEntry => ({
  kind: 'service',
  name: 'shop',
  doc: { name: 'shop', keys: { 1: { backends: [{ address: `127.0.0.1:${port}` }] } } },
});
const domain: TableEntry = {
  kind: 'domain',
  name: 'a.test',
  doc: { name: 'a.test', routes: [{ path: ['/'], service: 'shop', key: 'latest' }] },
};

function slowRequest(port: number) {
  const chunks: string[] = [];
  const state = { text: () => chunks.join(''), begun: Promise.resolve(), ended: Promise.resolve('') };
  const outgoing = http.get({
    port,
    host: '127.0.0.1',
    path: '/slow',
    headers: { host: 'a.test' },
    agent: false,
  });
  const response = new Promise<http.IncomingMessage>((resolve, reject) =>
    outgoing.once('response', resolve).once('error', reject),
  );
  state.begun = response.then(
    (incoming) =>
      new Promise((resolve) => {
        incoming.on('data', (chunk) => {
          chunks.push(String(chunk));
          resolve();
        });
      }),
  );
  state.ended = response.then(
    (incoming) =>
      new Promise((resolve, reject) => {
        incoming.once('end', () => resolve(chunks.join('')));
        incoming.once('error', reject);
      }),
  );
  state.ended.catch(() => {});
  return state;
}

test('a request reaches the backend of its route; other hosts get 404', async () => {
  await using one = await backend('one');
  await using node = new NodeUnderTest({ script: { entries: [service(one.port), domain] } });
  const port = await node.port();
  await node.untilReady(2);
  assert.match(await request(port), /^HTTP\/1\.1 200 .*one/s);
  assert.match(
    await request(port, 'GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 404 /,
  );
});

test('a change is acknowledged by every process and serves the next request; an open stream goes on', async () => {
  await using one = await backend('one');
  await using two = await backend('two');
  const entries = [service(one.port), domain];
  await using node = new NodeUnderTest({ script: { entries } });
  const port = await node.port();
  await node.untilReady(2);
  const slow = slowRequest(port);
  await slow.begun;
  node.script = { entries, changes: [[service(two.port)]] };
  await node.until('both acknowledge', () => {
    const acks = node.events.filter(({ heard }) => heard?.type === 'applied' && heard.change === 1);
    return acks.length === 2 && acks.every(({ heard }) => heard.rejected.length === 0) ? true : undefined;
  });
  for (let count = 0; count < 8; count++) assert.match(await request(port), /two/);
  one.waiting[0]?.end(' last');
  assert.equal(await slow.ended, 'first last');
});

test('a new sync process loads everyone afresh; what serves meanwhile is the old table', async () => {
  await using one = await backend('one');
  await using node = new NodeUnderTest({ script: { entries: [service(one.port), domain] } });
  const port = await node.port();
  await node.untilReady(2);
  const before = node.events.length;
  const old = node.syncPid();
  kill(old, 'SIGKILL');
  assert.match(await request(port), /one/);
  await node.until('both are loaded again', () =>
    node.events.slice(before).filter((event) => event.pid !== old && event.heard?.type === 'loaded')
      .length === 2
      ? true
      : undefined,
  );
  assert.match(await request(port), /one/);
});

test('a rolling restart loses no request of clients that keep their connections; a long answer ends in the old process', async () => {
  await using one = await backend('one');
  await using node = new NodeUnderTest({ script: { entries: [service(one.port), domain] } });
  const port = await node.port();
  const old = await node.untilReady(2);
  const slow = slowRequest(port);
  await slow.begun;
  let done = false;
  const failures: unknown[] = [];
  let answered = 0;
  const agent = new http.Agent({ keepAlive: true });
  const visit = () =>
    new Promise<void>((resolve) => {
      const options = { port, host: '127.0.0.1', headers: { host: 'a.test' }, agent };
      http
        .get(options, (incoming) => {
          if (incoming.statusCode !== 200) failures.push(incoming.statusCode);
          answered++;
          incoming.resume().once('close', resolve);
        })
        .once('error', (error) => {
          failures.push(error);
          resolve();
        });
    });
  const visitors = Array.from({ length: 4 }, async () => {
    while (!done) await visit();
  });
  node.signal('SIGHUP');
  await node.untilReady(2, old);
  await eventually('one of the old processes has left, and one keeps the long answer', () => {
    return old.filter(isAlive).length === 1;
  });
  one.waiting[0]?.end(' last');
  assert.equal(await slow.ended, 'first last');
  await eventually('all old ones have left', () => !old.some(isAlive));
  done = true;
  await Promise.all(visitors);
  agent.destroy();
  assert.deepEqual(failures, []);
  assert.ok(answered > 0);
});

test('SIGTERM: an answer under way is completed before the node ends', async () => {
  await using one = await backend('one');
  await using node = new NodeUnderTest({ script: { entries: [service(one.port), domain] } });
  const port = await node.port();
  await node.untilReady(2);
  const slow = slowRequest(port);
  await slow.begun;
  node.signal('SIGTERM');
  await untilRefused(port);
  one.waiting[0]?.end(' last');
  assert.equal(await slow.ended, 'first last');
  assert.equal((await node.exited()).code, 0);
});

test('what is still open when the drain time is over is cut, and the node ends all the same', async () => {
  await using one = await backend('one');
  await using node = new NodeUnderTest({
    settings: { drainMs: 100 },
    script: { entries: [service(one.port), domain] },
  });
  const port = await node.port();
  await node.untilReady(2);
  const slow = slowRequest(port);
  await slow.begun;
  node.signal('SIGTERM');
  await assert.rejects(slow.ended);
  assert.equal((await node.exited()).code, 0);
});

test('HTTPS opens when there is a certificate, and serves the same routes', async () => {
  await using one = await backend('one');
  const pair = await generate([{ name: 'commonName', value: 'a.test' }]);
  const certificate: TableEntry = {
    kind: 'defaultCertificate',
    name: '',
    doc: { certificate: pair.cert, key: pair.private },
  };
  const at = { https: [{ host: '127.0.0.1', port: 0 }], proxyProtocol: [] };
  await using node = new NodeUnderTest({
    settings: at,
    script: {
      entries: [service(one.port), domain, certificate],
      listeners: specsOfSettings({ ...at, http: [] }, 'https'),
    },
  });
  const port = await node.port('https');
  await node.untilReady(2);
  await node.event(
    'https is open',
    (event) => event.heard?.type === 'listening' && event.heard.port === port,
  );
  const text = await new Promise<string>((resolve, reject) => {
    const options = {
      port,
      host: '127.0.0.1',
      headers: { host: 'a.test' },
      rejectUnauthorized: false,
      agent: false,
    };
    https
      .get(options as https.RequestOptions, (incoming) => {
        let body = '';
        incoming.on('data', (chunk) => {
          body += chunk;
        });
        incoming.on('end', () => resolve(body));
      })
      .once('error', reject);
  });
  assert.equal(text, 'one');
});

test('a TCP listener opens and closes while the node runs; its open connections go on', async () => {
  const echo = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await new Promise((resolve) => echo.once('listening', resolve));
  const free = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => free.once('listening', resolve));
  const { port } = free.address() as AddressInfo;
  await new Promise((resolve) => free.close(resolve));
  const listener = { name: 'echo', address: '127.0.0.1', port, service: 'echo' };
  const entries: TableEntry[] = [
    {
      kind: 'service',
      name: 'echo',
      doc: {
        name: 'echo',
        protocol: 'tcp',
        keys: { 1: { backends: [{ address: `127.0.0.1:${(echo.address() as AddressInfo).port}` }] } },
      },
    },
    { kind: 'listener', name: 'echo', doc: listener },
  ];
  try {
    await using node = new NodeUnderTest({ script: { entries } });
    await node.untilReady(2);
    node.script = { entries, listeners: [specOfListener(listener)] };
    await node.event('it is open', (event) => event.heard?.type === 'listening' && event.heard.port === port);
    const socket = net.connect(port, '127.0.0.1');
    const said = () => new Promise<string>((resolve) => socket.once('data', (data) => resolve(String(data))));
    socket.write('one');
    assert.equal(await said(), 'one');
    node.script = { entries, listeners: [] };
    await untilRefused(port);
    socket.write('two');
    assert.equal(await said(), 'two');
    socket.destroy();
  } finally {
    echo.close();
  }
});

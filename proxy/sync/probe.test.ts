/** Checks against real servers: what counts as alive for each type, and that none outlives its time. */
import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { generate } from 'selfsigned';
import { WebSocketServer } from 'ws';
import { resolveService, type Service } from '../../shared/model/service.ts';
import { probe, type Target } from './probe.ts';

async function listen(t: TestContext, server: net.Server, path?: string): Promise<Target> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) =>
    path === undefined ? server.listen(0, '127.0.0.1', resolve) : server.listen(path, resolve),
  );
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  if (path !== undefined) return { type: 'unix', path };
  return { type: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port, name: '127.0.0.1' };
}

function check(target: Target, health: Service['health'], more: Partial<Service> = {}) {
  const running = new Set<AbortController>();
  return probe(target, resolveService({ name: 's', health, ...more } as Service), running).finally(() =>
    assert.equal(running.size, 0),
  );
}

test('tcp: a port that accepts is alive, one that refuses is not, a unix socket works too', async (t) => {
  const target = await listen(t, net.createServer());
  assert.equal(await check(target, { type: 'tcp' }), null);
  const unix = await listen(t, net.createServer(), join(tmpdir(), `probe-${process.pid}.sock`));
  assert.equal(await check(unix, { type: 'tcp' }), null);
  const server = net.createServer();
  const gone = await listen(t, server);
  await new Promise((resolve) => server.close(resolve));
  assert.match(String(await check(gone, { type: 'tcp' })), /ECONNREFUSED/);
});

test('a check is an ordinary connection: a backend without error handlers lives on', async (t) => {
  const ends: string[] = [];
  const server = net.createServer();
  server.on('connection', (socket) => {
    socket.on('error', (error) => ends.push(error.message));
    socket.on('end', () => ends.push('end'));
    socket.resume();
  });
  const target = await listen(t, server);
  await check(target, { type: 'tcp' });
  while (ends.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(ends, ['end']);
});

test('http: status and body decide', async (t) => {
  const seen: http.IncomingHttpHeaders[] = [];
  const server = http.createServer((request, response) => {
    seen.push(request.headers);
    response.statusCode = Number(request.url?.slice(1)) || 200;
    response.end('all is well');
  });
  const target = await listen(t, server);
  const http_ = (path: string, more = {}) => check(target, { type: 'http', path, ...more });
  assert.equal(await http_('/204'), null);
  assert.equal(await http_('/302'), null);
  assert.equal(await http_('/500'), 'status 500');
  assert.equal(await http_('/404', { status: [404, 410] }), null);
  assert.equal(await http_('/200', { status: 204 }), 'status 200');
  assert.equal(await http_('/200', { body: 'is well' }), null);
  assert.match(String(await http_('/200', { body: 'broken' })), /does not contain/);
  assert.match(String(seen[0]?.host), /^127\.0\.0\.1:\d+$/);
  assert.equal(seen[0]?.['user-agent'], 'kontrol-health-check');
  await check(target, { type: 'http' }, { host: 'shop.example.com' });
  assert.equal(seen.at(-1)?.host, 'shop.example.com');
});

test('http: a body without end, a bare close and nonsense are failures or bounded, never a hang', async (t) => {
  const endless = http.createServer((_, response) => {
    const write = () => {
      while (response.write('x'.repeat(10_000)));
    };
    response.on('drain', write);
    write();
  });
  const target = await listen(t, endless);
  assert.match(String(await check(target, { type: 'http', body: 'never' })), /does not contain/);
  const closing = await listen(
    t,
    net.createServer((socket) => socket.destroy()),
  );
  assert.equal(typeof (await check(closing, { type: 'http' })), 'string');
  const nonsense = await listen(
    t,
    net.createServer((socket) => socket.end('SSH-2.0-x\r\n')),
  );
  assert.equal(typeof (await check(nonsense, { type: 'http' })), 'string');
});

test('a server that says nothing fails at the time-out, and one that is cancelled says nothing', async (t) => {
  const target = await listen(t, net.createServer());
  assert.equal(await check(target, { type: 'http', timeout: 50 }), 'no answer within 50 ms');
  const running = new Set<AbortController>();
  const service = resolveService({ name: 's', health: { type: 'http' } });
  const cancelled = probe(target, service, running);
  for (const controller of running) controller.abort();
  assert.equal(await cancelled, undefined);
});

test('json: {"status":200} is alive', async (t) => {
  let answer = '{"status":200}';
  const server = http.createServer((request, response) => {
    assert.equal(request.url, '/healthCheck');
    response.end(answer);
  });
  const target = await listen(t, server);
  assert.equal(await check(target, { type: 'json' }), null);
  for (const [text, problem] of [
    ['{"status":500}', /status 500/],
    ['null', /undefined/],
    ['<html>', /not JSON/],
  ] as const) {
    answer = text;
    assert.match(String(await check(target, { type: 'json' })), problem);
  }
});

test('websocket: a complete handshake is alive, an ordinary answer is not', async (t) => {
  const server = http.createServer((_, response) => response.end('no'));
  const target = await listen(t, server);
  assert.equal(await check(target, { type: 'websocket' }), 'status 200 instead of 101');
  const sockets = new WebSocketServer({ server });
  t.after(() => sockets.close());
  assert.equal(await check(target, { type: 'websocket' }), null);
});

test('https: verified as the service says', async (t) => {
  const pems = await generate([{ name: 'commonName', value: 'localhost' }], {
    keySize: 2048,
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
  });
  const server = https.createServer({ key: pems.private, cert: pems.cert }, (_, response) =>
    response.end('ok'),
  );
  const target = { ...(await listen(t, server)), name: 'localhost' } as Target;
  const over = (tls: Service['tls']) => check(target, { type: 'http' }, { protocol: 'https', tls });
  assert.match(String(await over({})), /self.signed/i);
  assert.equal(await over({ verify: false }), null);
  assert.equal(await over({ ca: pems.cert }), null);
  assert.match(String(await over({ ca: pems.cert, serverName: 'other' })), /altnames|does not match/i);
  assert.equal(await check(target, { type: 'tcp', tls: true }, { tls: { verify: false } }), null);
});

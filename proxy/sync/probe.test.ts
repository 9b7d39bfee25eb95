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
import { until } from './scripted-primary.ts';

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

test('a check resets no backend that greets, by tcp, http or websocket', async (t) => {
  const errors: string[] = [];
  const ended: string[] = [];
  const greeting = net.createServer((socket) => {
    socket.on('error', (error) => errors.push(error.message));
    socket.on('end', () => ended.push('tcp'));
    socket.write('220 mail.example.com ESMTP\r\n'.repeat(100));
    socket.resume();
  });
  const target = await listen(t, greeting);
  for (let count = 0; count < 20; count++) assert.equal(await check(target, { type: 'tcp' }), null);
  const web = http.createServer((_, response) => {
    response.on('error', (error) => errors.push(error.message));
    response.on('close', () => ended.push(response.writableFinished ? 'http' : 'http cut'));
    response.write('x'.repeat(10_000));
    setImmediate(() => response.end('y'.repeat(10_000)));
  });
  assert.equal(await check(await listen(t, web), { type: 'http' }), null);
  const sockets = new WebSocketServer({ server: http.createServer(), path: '/live' });
  t.after(() => sockets.close());
  sockets.on('connection', (socket) => {
    socket.on('error', (error) => errors.push(error.message));
    socket.on('close', (code) => ended.push(`websocket ${code}`));
    socket.send('hello '.repeat(1_000));
  });
  const live = await listen(t, sockets.options.server as http.Server);
  assert.equal(await check(live, { type: 'websocket', path: '/live' }), null);
  await until('all have ended', () => ended.length === 22);
  assert.deepEqual(errors, []);
  assert.deepEqual([...new Set(ended)].sort(), ['http', 'tcp', 'websocket 1000']);
});

test('a backend that never ends the connection is left within a moment', async (t) => {
  let open = 0;
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    open++;
    socket.on('error', () => {});
    socket.on('close', () => open--);
    socket.resume();
    const timer = setInterval(() => socket.write('still here'), 5);
    socket.on('close', () => clearInterval(timer));
  });
  const target = await listen(t, server);
  assert.equal(await check(target, { type: 'tcp' }), null);
  await until('it is closed', () => open === 0);
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
  answer = ' { "uptime": 7, "status": "200" } ';
  assert.equal(await check(target, { type: 'json' }), null);
  for (const [text, problem] of [
    ['{"status":500}', /status 500/],
    ['null', /undefined/],
    ['<html>', /not JSON/],
    ['', /not JSON/],
    ['[200]', /undefined/],
    ['{"status":"2e2"}', /2e2/],
    ['{"status":" 200"}', /status " 200"/],
    ['{"status":{"toString":1}}', /toString/],
    [`{"status":"${'9'.repeat(60_000)}"}`, /^the answer says status .{0,40}$/],
    [`{"status":200,"pad":"${'x'.repeat(70_000)}"}`, /not JSON/],
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

test('hostile answers are failures with a reason, and none takes longer than its time', async (t) => {
  const said = async (answer: string | Buffer, type: 'http' | 'json' | 'websocket') => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.write(answer));
    });
    return check(await listen(t, server), { type, timeout: 300 });
  };
  const upgraded = (accept: string) =>
    `HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
  for (const [answer, type] of [
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello', 'http'],
    [`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, 'http'],
    ['HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n', 'http'],
    ['HTTP/1.1 100 Continue\r\n\r\n'.repeat(50), 'http'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 'json'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status":200', 'json'],
    [Buffer.alloc(100_000, 0), 'http'],
    [upgraded('AAAAAAAAAAAAAAAAAAAAAAAAAAA='), 'websocket'],
    [upgraded(''), 'websocket'],
    ['HTTP/1.1 101 x\r\n\r\n', 'websocket'],
  ] as const) {
    const problem = await said(answer, type);
    assert.ok(typeof problem === 'string' && problem.length > 3, `${type}: ${problem}`);
    assert.ok(problem.length < 200, problem);
  }
});

test('tls: a server that speaks plain text, or nothing, is not alive', async (t) => {
  const plain = await listen(
    t,
    net.createServer((socket) => socket.on('error', () => {}).write('220 hello\r\n')),
  );
  assert.equal(typeof (await check(plain, { type: 'tcp', tls: true })), 'string');
  const mute = await listen(t, net.createServer());
  assert.equal(await check(mute, { type: 'tcp', tls: true, timeout: 100 }), 'no answer within 100 ms');
});

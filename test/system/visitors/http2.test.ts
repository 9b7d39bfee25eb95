import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import http2, { type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { certificateFor } from '../../../proxy/tls/testing.ts';
import { Cluster } from '../../cluster.ts';
import { Backend, type Heard } from './backends.ts';

const run = promisify(execFile);
let cluster: Cluster;
let web: Backend;
const sessions: ClientHttp2Session[] = [];

before(async () => {
  cluster = await Cluster.start(1, { processes: 1 });
  web = await Backend.start('web');
  const pair = await certificateFor(['127.0.0.1']);
  mkdirSync(cluster.certs, { recursive: true });
  writeFileSync(join(cluster.certs, 'cert.pem'), pair.certificate);
  writeFileSync(join(cluster.certs, 'key.pem'), pair.key);
  await cluster.apply(
    { kind: 'service', name: 'web', backends: [web.address] },
    { kind: 'domain', name: '*', service: 'web' },
    { kind: 'settings', name: 'settings', limits: { h2Streams: 20 } },
  );
  await cluster.until('https is open', async () => (await alpn(['h2'])) === 'h2');
});
after(async () => {
  for (const session of sessions) session.destroy();
  await cluster.close();
  await web.close();
});

const port = () => cluster.nodes[0]!.https;

async function alpn(protocols: string[]): Promise<string | null> {
  const socket = connect({
    host: '127.0.0.1',
    port: port(),
    rejectUnauthorized: false,
    ALPNProtocols: protocols,
  });
  try {
    await once(socket, 'secureConnect');
    return socket.alpnProtocol || null;
  } catch {
    return null;
  } finally {
    socket.destroy();
  }
}

async function session(): Promise<ClientHttp2Session> {
  const opened = http2.connect(`https://127.0.0.1:${port()}`, { rejectUnauthorized: false });
  sessions.push(opened);
  await once(opened, 'remoteSettings');
  return opened;
}

interface Said {
  readonly fields: IncomingHttpHeaders & { ':status'?: number };
  readonly heard: Heard;
}

async function ask(on: ClientHttp2Session, fields: Record<string, string>, body?: Buffer): Promise<Said> {
  const stream = on.request(fields, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  const answered = once(stream, 'response');
  const parts: Buffer[] = [];
  stream.on('data', (part: Buffer) => parts.push(part));
  const [head] = await answered;
  if (!stream.readableEnded) await once(stream, 'end');
  return { fields: head, heard: JSON.parse(Buffer.concat(parts).toString()) };
}

test('ALPN offers h2 before http/1.1, and both are served', async () => {
  assert.equal(await alpn(['http/1.1', 'h2']), 'h2');
  assert.equal(await alpn(['http/1.1']), 'http/1.1');
  for (const [flag, version] of [
    ['--http2', '2'],
    ['--http1.1', '1.1'],
  ] as const) {
    const args = ['-sk', '--max-time', '10', flag, '-w', '\n%{http_version}', '-d', 'a=b', '-b', 'c=d'];
    const { stdout } = await run('curl', [...args, `https://127.0.0.1:${port()}/from-curl?q`]);
    const [body = '', spoken] = stdout.split(/\n(?=[\d.]+$)/);
    assert.equal(spoken, version);
    const heard = JSON.parse(body) as Heard;
    assert.equal(heard.url, '/from-curl?q');
    assert.equal(heard.body, 'a=b');
    assert.equal(heard.headers['cookie'], 'c=d');
    assert.equal(heard.headers['via'], `${version === '2' ? '2.0' : '1.1'} kontrol`);
  }
});

test("node's own client: many requests on one connection, with bodies of every size", async () => {
  const one = await session();
  assert.equal(one.remoteSettings.maxConcurrentStreams, 20);
  const sizes = [0, 1, 16_383, 16_384, 16_385, 300_000, 2_000_000];
  const answers = await Promise.all(
    sizes.map((size) => ask(one, { ':path': `/${size}`, ':method': 'PUT' }, Buffer.alloc(size, 'x'))),
  );
  for (const [index, { fields, heard }] of answers.entries()) {
    assert.equal(fields[':status'], 200);
    assert.equal(heard.url, `/${sizes[index]}`);
    assert.equal(heard.body.length, sizes[index]);
    assert.equal(heard.headers['x-forwarded-proto'], 'https');
  }
  const gets = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(one, { ':path': `/get/${i}` })));
  assert.deepEqual(
    gets.map(({ heard }) => heard.url),
    gets.map((_, i) => `/get/${i}`),
  );
});

test('a smaller limit of streams holds for new connections', async () => {
  await cluster.apply({ kind: 'settings', name: 'settings', limits: { h2Streams: 3 } });
  await cluster.until(
    'the new limit',
    async () => (await session()).remoteSettings.maxConcurrentStreams === 3,
  );
});

test('a connection made for one domain does not open another that asks for certificates: 421', async () => {
  const { certificate } = await certificateFor(['staff']);
  await cluster.apply({
    kind: 'domain',
    name: 'locked.example.com',
    service: 'web',
    clientCertificates: { ca: certificate },
  });
  const one = await session();
  await cluster.until('the domain is locked', async () => {
    const stream = one.request({ ':path': '/', ':authority': 'locked.example.com' });
    const [fields] = await once(stream, 'response');
    stream.resume();
    return fields[':status'] === 421;
  });
  assert.equal((await ask(one, { ':path': '/open' })).fields[':status'], 200);
});

test('HTTP/2 without TLS is not offered', async () => {
  const socket = connectPlain(cluster.nodes[0]!.http, '127.0.0.1');
  let said = '';
  socket.on('data', (chunk) => {
    said += chunk.toString('latin1');
  });
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  await once(socket, 'close');
  assert.match(said, /^HTTP\/1\.1 (505|400) /);
});

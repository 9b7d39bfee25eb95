import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import type { PemPair } from '../../../proxy/tls/key-pair.ts';
import { certificateFor } from '../../../proxy/tls/testing.ts';
import { Cluster } from '../../cluster.ts';
import { type Answer, ask, causeOf } from './asking.ts';
import { Backend } from './backends.ts';

const run = promisify(execFile);
const HOST = 'site.tls.example.com';
let cluster: Cluster;
const backends: Backend[] = [];

before(async () => {
  cluster = await Cluster.start(2, { processes: 2 });
  const web = await Backend.start('web');
  backends.push(web);
  await cluster.apply(
    { kind: 'service', name: 'web', backends: [web.address] },
    { kind: 'domain', name: '*', service: 'web' },
  );
});
after(async () => {
  await cluster.close();
  await Promise.all(backends.map((backend) => backend.close()));
});

const port = (node = 0) => cluster.nodes[node]!.https;

/** A handshake as `serverName`; rejects when it fails. */
async function handshake(options: ConnectionOptions = {}, node = 0): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: port(node), rejectUnauthorized: false, ...options });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  return socket;
}

/** Common name of the certificate that is shown; null when there is no handshake. */
async function shown(serverName?: string, node = 0): Promise<string | null> {
  try {
    const socket = await handshake(serverName === undefined ? {} : { servername: serverName }, node);
    const name = socket.getPeerCertificate().subject?.CN;
    socket.destroy();
    return String(name);
  } catch {
    return null;
  }
}

/** As people do: the new files beside, then over the old ones, one after the other. */
function install(pair: Partial<PemPair>): void {
  mkdirSync(cluster.certs, { recursive: true });
  for (const [file, text] of [
    ['cert.pem', pair.certificate],
    ['key.pem', pair.key],
  ] as const) {
    if (text === undefined) continue;
    writeFileSync(join(cluster.certs, `${file}.new`), text);
    renameSync(join(cluster.certs, `${file}.new`), join(cluster.certs, file));
  }
}

const everywhere = (what: string, serverName: string | undefined, expected: string | null) =>
  cluster.until(what, async () => {
    const all = await Promise.all(
      cluster.nodes.flatMap((_, node) => [1, 2, 3].map(() => shown(serverName, node))),
    );
    return all.every((name) => name === expected);
  });

test('HTTPS opens when cert.pem and key.pem appear, without a restart', async () => {
  await assert.rejects(handshake(), /ECONNREFUSED/);
  install(await certificateFor(['first.default.test', '127.0.0.1']));
  await everywhere('the first certificate is shown', undefined, 'first.default.test');
  const answer = await ask(port(), HOST, '/x', { serverName: HOST });
  assert.equal(JSON.parse(answer.body).headers['x-forwarded-proto'], 'https');
});

test('curl and openssl agree', async () => {
  const { stdout } = await run('curl', ['-sk', '--max-time', '10', `https://127.0.0.1:${port()}/from-curl`]);
  assert.equal(JSON.parse(stdout).url, '/from-curl');
  const strict = run('curl', ['-s', '--max-time', '10', `https://127.0.0.1:${port()}/`]);
  await assert.rejects(strict, { code: 60 }, 'a certificate of our own making is nobody to trust');
  const trusting = await run('curl', [
    '-s',
    '--max-time',
    '10',
    '--cacert',
    join(cluster.certs, 'cert.pem'),
    '--resolve',
    `first.default.test:${port()}:127.0.0.1`,
    `https://first.default.test:${port()}/`,
  ]);
  assert.equal(JSON.parse(trusting.stdout).headers.host, `first.default.test:${port()}`);
  for (const [version, protocol] of [
    ['-tls1_2', 'TLSv1.2'],
    ['-tls1_3', 'TLSv1.3'],
  ] as const) {
    const said = await sClient([version]);
    assert.match(said, new RegExp(`Protocol *: ${protocol}|New, ${protocol}`), said);
    assert.match(said, /CN ?= ?first\.default\.test/);
  }
  for (const old of [
    ['-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0'],
    ['-tls1_2', '-cipher', 'AES128-SHA'],
  ])
    assert.doesNotMatch(await sClient(old), /BEGIN CERTIFICATE/, old[0]);
});

/** What `openssl s_client` says about one handshake, failed ones included. */
async function sClient(args: readonly string[]): Promise<string> {
  const child: ChildProcess = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port()}`, ...args]);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
  child.stdin?.on('error', () => {});
  child.stdin?.end();
  await once(child, 'close');
  return said;
}

test('a new pair is swapped in under traffic: open connections go on, new handshakes see it', async (t) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
  t.after(() => agent.destroy());
  const sockets = new Set<unknown>();
  const kept = () =>
    new Promise<number>((resolve, reject) => {
      const call = request(
        { host: '127.0.0.1', port: port(), agent, headers: { host: HOST } },
        (response) => {
          response.resume();
          response.on('end', () => resolve(response.statusCode ?? 0));
        },
      );
      call.on('socket', (socket) => sockets.add(socket));
      call.on('error', reject);
      call.end();
    });
  assert.equal(await kept(), 200);
  install(await certificateFor(['second.default.test']));
  await everywhere('the second certificate is shown', undefined, 'second.default.test');
  assert.equal(await kept(), 200);
  assert.equal(sockets.size, 1);
});

test('a bad pair is refused in the log, and the old one stays', async () => {
  const complaint = (what: RegExp) =>
    cluster.until(`the log says ${what}`, () =>
      cluster.nodes.every(({ command }) => what.test(command.output)),
    );
  install({ key: (await certificateFor(['other.test'])).key });
  await complaint(/certificate_unusable[^\n]*does not belong/);
  install({ certificate: 'not a certificate' });
  await complaint(/certificate_unusable[^\n]*not in PEM form/);
  rmSync(join(cluster.certs, 'cert.pem'));
  await complaint(/certificate_unusable[^\n]*cert\.pem is not/);
  await everywhere('the second certificate is still shown', undefined, 'second.default.test');
  install(await certificateFor(['third.default.test']));
  await everywhere('the third certificate is shown', undefined, 'third.default.test');
});

test('certificates over the API by server name: exact before wildcard before default, and back when deleted', async () => {
  const certificate = async (name: string, names: string[]) => ({
    kind: 'certificate',
    name,
    ...(await certificateFor(names)),
  });
  await cluster.apply(
    await certificate('wild', ['*.tls.example.com']),
    await certificate('exact', [HOST, 'second.example.org']),
  );
  const cases: [string | undefined, string][] = [
    [HOST, HOST],
    [HOST.toUpperCase(), HOST],
    ['second.example.org', HOST],
    ['any.tls.example.com', '*.tls.example.com'],
    ['two.labels.tls.example.com', 'third.default.test'],
    ['tls.example.com', 'third.default.test'],
    ['nobody.example.org', 'third.default.test'],
    [undefined, 'third.default.test'],
  ];
  for (const [serverName, expected] of cases)
    for (const node of [0, 1]) assert.equal(await shown(serverName, node), expected, serverName);

  // A renewal: the same name, another pair.
  await cluster.apply(await certificate('exact', ['renewed.example.org', HOST]));
  assert.equal(await shown(HOST), 'renewed.example.org');
  await cluster.ok('DELETE', '/v1/certificates/exact?wait=all&timeout=10s');
  assert.equal(await shown(HOST), '*.tls.example.com');
  await cluster.ok('DELETE', '/v1/certificates/wild?wait=all&timeout=10s');
  assert.equal(await shown(HOST), 'third.default.test');
});

test('over the API a bad pair is refused, the key is never read back, and a PUT without key keeps it', async () => {
  const [one, other] = [
    await certificateFor(['pair.example.org']),
    await certificateFor(['other.example.org']),
  ];
  const refused = await cluster.call('PUT', '/v1/certificates/pair', {
    certificate: one.certificate,
    key: other.key,
  });
  assert.equal(refused.status, 400);
  assert.equal(refused.body.errors[0].path, 'key');
  await cluster.ok('PUT', '/v1/certificates/pair?wait=all&timeout=10s', one);
  assert.equal(await shown('pair.example.org'), 'pair.example.org');
  const read = await cluster.ok('GET', '/v1/certificates/pair');
  const everything = JSON.stringify([read.body, (await cluster.ok('GET', '/v1/export')).body]);
  assert.doesNotMatch(everything, /PRIVATE KEY/);
  await cluster.ok('PUT', '/v1/certificates/pair?wait=all&timeout=10s', {
    certificate: one.certificate,
    labels: { renewed: 'no' },
  });
  assert.equal(await shown('pair.example.org', 1), 'pair.example.org');
});

test('a session of one process is resumed by every other, on every node', async () => {
  const first = await handshake({ servername: HOST, maxVersion: 'TLSv1.2' });
  const session = first.getSession();
  first.destroy();
  for (let attempt = 0; attempt < 12; attempt++) {
    const again = await handshake({ servername: HOST, maxVersion: 'TLSv1.2', session }, attempt % 2);
    assert.equal(again.isSessionReused(), true, `attempt ${attempt}`);
    again.destroy();
  }
});

test('who speaks plain HTTP to the HTTPS port is told so, and nobody else notices', async () => {
  const socket = connectPlain(port(), '127.0.0.1');
  let said = '';
  socket.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  socket.on('error', () => {});
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  await once(socket, 'close');
  assert.match(said, /^HTTP\/1\.1 400 Bad Request\r\n/);
  assert.match(said, /https:\/\//);
  assert.equal((await ask(port(), HOST, '/', { serverName: HOST })).status, 200);
});

test('who speaks TLS to the plain port gets a 400 and a closed connection', async () => {
  const socket = connect({ host: '127.0.0.1', port: cluster.nodes[0]!.http, rejectUnauthorized: false });
  await assert.rejects(once(socket, 'secureConnect'));
});

test('https to backends: verified by default, by a CA of our own, under another name, or not at all', async () => {
  const ca = await certificateFor(['our own CA']);
  const pair = await certificateFor(['backend.internal'], { ca });
  const client = await certificateFor(['kontrol']);
  const tls = { cert: pair.certificate, key: pair.key };
  const secure = await Backend.start('secure', { tls });
  const strict = await Backend.start('strict', {
    tls: { ...tls, requestCert: true, rejectUnauthorized: true, ca: client.certificate },
  });
  backends.push(secure, strict);
  const service = (name: string, options: object, backend = secure) => ({
    kind: 'service',
    name,
    protocol: 'https',
    backends: [backend.address],
    ...(Object.keys(options).length === 0 ? {} : { tls: options }),
  });
  const trusting = { ca: ca.certificate, serverName: 'backend.internal' };
  const expected: Record<string, string | null> = {
    untrusted: null,
    'wrong-name': null,
    'other-ca': null,
    trusted: 'secure',
    unverified: 'secure',
    'without-certificate': null,
    'with-certificate': 'strict',
  };
  await cluster.apply(
    { kind: 'certificate', name: 'to-backends', ...client },
    service('untrusted', {}),
    service('wrong-name', { ca: ca.certificate, serverName: 'elsewhere.internal' }),
    service('other-ca', { ca: client.certificate, serverName: 'backend.internal' }),
    service('trusted', trusting),
    service('unverified', { verify: false }),
    service('without-certificate', trusting, strict),
    service('with-certificate', { ...trusting, certificate: 'to-backends' }, strict),
    ...Object.keys(expected).map((name) => ({ kind: 'domain', name: `${name}.example.com`, service: name })),
  );
  for (const [name, backend] of Object.entries(expected)) {
    const answer: Answer = await ask(cluster.nodes[0]!.http, `${name}.example.com`, '/');
    if (backend === null) {
      // Under TLS 1.3 a backend refuses our certificate only after the handshake.
      assert.match(
        String(causeOf(answer)),
        name === 'without-certificate' ? /^backend_reset$/ : /^all_dead$/,
        name,
      );
      continue;
    }
    assert.equal(answer.status, 200, `${name}: ${answer.body.slice(0, 100)}`);
    const heard = JSON.parse(answer.body);
    assert.equal(heard.name, backend, name);
    if (name === 'trusted') assert.equal(heard.serverName, 'backend.internal');
  }
});

test('HTTPS closes when the last certificate goes, and opens again with the next', async () => {
  await cluster.ok('DELETE', '/v1/domains/with-certificate.example.com');
  await cluster.ok('DELETE', '/v1/services/with-certificate');
  for (const { name } of (await cluster.ok('GET', '/v1/certificates')).body.items)
    await cluster.ok('DELETE', `/v1/certificates/${name}?wait=all&timeout=10s`);
  assert.equal(await shown(HOST), 'third.default.test');
  for (const file of ['cert.pem', 'key.pem']) rmSync(join(cluster.certs, file));
  await cluster.until('the port is closed', () =>
    handshake().then(
      (socket) => {
        socket.destroy();
        return false;
      },
      (error) => error.code === 'ECONNREFUSED',
    ),
  );
  assert.equal((await ask(cluster.nodes[0]!.http, HOST)).status, 200);
  await cluster.apply({ kind: 'certificate', name: 'next', ...(await certificateFor(['next.example.org'])) });
  await cluster.until(
    'it is open again',
    async () => (await shown('next.example.org')) === 'next.example.org',
  );
});

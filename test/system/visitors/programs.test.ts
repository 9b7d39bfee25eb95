/** TCP listeners, PROXY headers and client certificates with the programs that people use: MariaDB, nginx, curl, openssl. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import type { PemPair } from '../../../proxy/tls/key-pair.ts';
import { certificateFor } from '../../../proxy/tls/testing.ts';
import { Cluster, type NodeOfCluster } from '../../cluster.ts';
import { type MariadbService, startMariadb } from '../../services/mariadb.ts';
import { freePort, installPackages, onPath } from '../../services/process.ts';
import { Backend, Nginx } from './backends.ts';

const run = promisify(execFile);
const NAME = 'web.example.com';
const OTHER = 'other.example.com';
let cluster: Cluster;
let mariadb: MariadbService;
let pair: PemPair;
let web: Backend;
/** A node whose ports ask for a PROXY header. */
let proxied: NodeOfCluster;

before(async () => {
  if (!onPath('nginx')) await installPackages(['nginx-light']);
  pair = await certificateFor(['localhost', '127.0.0.1', NAME, OTHER]);
  mariadb = await startMariadb(pair);
  web = await Backend.start('web');
  cluster = await Cluster.start(1, { processes: 2 });
  proxied = await cluster.addNode('proxied', { proxied: true });
  await cluster.apply(
    { kind: 'service', name: 'mysql', protocol: 'tcp', backends: [`127.0.0.1:${mariadb.port}`] },
    { kind: 'service', name: 'web', backends: [web.address] },
    { kind: 'certificate', name: 'web', certificate: pair.certificate, key: pair.key },
    { kind: 'domain', name: '*', service: 'web' },
  );
});
after(async () => {
  await cluster.close();
  await Promise.all([mariadb.stop(), web.close()]);
});

/** A listener of the first node; resolves when it accepts. */
async function listen(name: string, fields: object): Promise<number> {
  const port = await freePort();
  await cluster.apply({ kind: 'listener', name, address: '127.0.0.1', port, ...fields });
  await cluster.until(`listener ${name} accepts`, async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    const open = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]);
    socket.destroy();
    return open;
  });
  return port;
}

/** What curl prints; `ca` is the certificate of this test. */
async function curl(url: string, ...options: string[]): Promise<string> {
  const ca = join(cluster.folder, 'ca.pem');
  writeFileSync(ca, pair.certificate);
  const { stdout } = await run('curl', ['-sS', '--max-time', '20', '--cacert', ca, ...options, url]);
  return stdout;
}

const named = (port: number, name = NAME) => ['--resolve', `${name}:${port}:127.0.0.1`];

/** What `openssl s_client` says about a handshake; it sends nothing. */
async function sClient(port: number, serverName: string): Promise<string> {
  const child: ChildProcess = spawn(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', serverName],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
  await once(child, 'close');
  return said;
}

test('MariaDB behind a TCP listener: queries, megabytes, many at once, and TLS that its client verifies', async () => {
  const port = await listen('mysql', { service: 'mysql' });
  assert.match(await mariadb.query('SELECT VERSION()', { port }), /MariaDB/);
  await mariadb.query('CREATE TABLE goods (id INT PRIMARY KEY AUTO_INCREMENT, text LONGTEXT)', { port });
  await mariadb.query("INSERT INTO goods (text) VALUES (REPEAT('x', 8000000))", { port });
  const text = await mariadb.query('SELECT text FROM goods', { port });
  assert.equal(text.length, 8_000_000);
  const all = await Promise.all(
    Array.from({ length: 10 }, (_, index) => mariadb.query(`SELECT ${index} + SLEEP(0.1)`, { port })),
  );
  assert.deepEqual(all.map(Number), [...all.keys()]);
  for (const host of ['127.0.0.1', 'localhost']) {
    const cipher = await mariadb.query("SHOW STATUS LIKE 'Ssl_cipher'", { port, host, ca: pair.certificate });
    assert.match(cipher, /^Ssl_cipher\tTLS_/);
  }
  const stranger = await certificateFor(['stranger']);
  await assert.rejects(mariadb.query('SELECT 1', { port, ca: stranger.certificate }), /certificate/i);
});

test('MariaDB sees the visitor, not the proxy, by the PROXY header of either version', async () => {
  for (const out of [1, 2]) {
    const port = await listen(`mysql-${out}`, { service: 'mysql', proxyProtocol: { out } });
    assert.match(await mariadb.query('SELECT VERSION()', { port }), /MariaDB/);
    const visitor = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.5' });
    const [greeting] = await once(visitor, 'data');
    assert.match(String(greeting), /MariaDB/);
    const sql = `SELECT COUNT(*) FROM information_schema.processlist WHERE host = '127.0.0.5:${visitor.localPort}'`;
    assert.equal(await mariadb.query(sql, { port }), '1');
    visitor.destroy();
  }
});

test('nginx behind TLS pass-through: its own certificate, its own name, the visitor’s address', async () => {
  const tlsPort = await freePort();
  const files = [join(cluster.folder, 'nginx.pem'), join(cluster.folder, 'nginx.key')] as const;
  writeFileSync(files[0], pair.certificate);
  writeFileSync(files[1], pair.key);
  const nginx = await Nginx.start(`return 404; }
    server { listen 127.0.0.1:${tlsPort} ssl proxy_protocol; ssl_certificate ${files[0]}; ssl_certificate_key ${files[1]}; ssl_protocols TLSv1.2 TLSv1.3;
    location / { return 200 "$proxy_protocol_addr $ssl_server_name $ssl_protocol\\n"; }`);
  assert.ok(nginx !== null);
  try {
    await cluster.apply({
      kind: 'service',
      name: 'nginx',
      protocol: 'tcp',
      backends: [`127.0.0.1:${tlsPort}`],
    });
    const hosts = { [NAME]: 'nginx' };
    const port = await listen('pass', { tls: 'passthrough', hosts, proxyProtocol: { out: true } });
    const from = ['--interface', '127.0.0.6'];
    for (const version of ['1.2', '1.3']) {
      const said = await curl(
        `https://${NAME}:${port}/`,
        ...named(port),
        ...from,
        `--tlsv${version}`,
        '--tls-max',
        version,
      );
      assert.equal(said, `127.0.0.6 ${NAME} TLSv${version}\n`);
    }
    const unknown = await sClient(port, 'nobody.example.com');
    assert.match(unknown, /unrecognized name/);
    assert.doesNotMatch(unknown, /BEGIN CERTIFICATE/);
    await assert.rejects(curl(`https://nobody.example.com:${port}/`, ...named(port, 'nobody.example.com')), {
      code: 35,
    });
    assert.match(await sClient(port, NAME), /Verification|Verify return code/);
  } finally {
    await nginx.close();
  }
});

test('curl sends a PROXY header to http and https ports that ask for one; without it nobody gets in', async () => {
  const { http, https } = proxied;
  const plain = JSON.parse(await curl(`http://127.0.0.1:${http}/`, '--haproxy-protocol'));
  assert.equal(plain.headers['x-forwarded-for'], '127.0.0.1');
  assert.equal(plain.headers['x-forwarded-port'], String(http));
  const secure = JSON.parse(await curl(`https://${NAME}:${https}/`, '--haproxy-protocol', ...named(https)));
  assert.equal(secure.headers['x-forwarded-proto'], 'https');
  for (const options of [[], ['--haproxy-protocol', '--interface', '127.0.0.6']]) {
    // Cut while it connects, shakes hands or waits for an answer.
    const cut = ({ code }: { code?: number }) => [7, 35, 52, 55, 56].includes(code ?? 0);
    await assert.rejects(curl(`http://127.0.0.1:${http}/`, ...options), cut);
    await assert.rejects(curl(`https://${NAME}:${https}/`, ...named(https), ...options), cut);
  }
  await cluster.until('the log says so', () =>
    proxied.command.output.includes('"code":"proxy_header_refused"'),
  );
});

test('a listener of one node in front of another: the visitor’s address goes through both', async () => {
  await cluster.apply({
    kind: 'service',
    name: 'inner',
    protocol: 'tcp',
    backends: [`127.0.0.1:${proxied.https}`],
  });
  for (const out of [1, 2]) {
    const fields = { service: 'inner', proxyProtocol: { out } };
    const port = await listen(`chain-${out}`, fields);
    const said = await curl(`https://${NAME}:${port}/`, ...named(port), '--interface', '127.0.0.8');
    const { headers } = JSON.parse(said);
    assert.equal(headers['x-forwarded-for'], '127.0.0.8');
    assert.equal(headers['x-forwarded-proto'], 'https');
    assert.equal(headers['x-forwarded-port'], String(port));
  }
});

test('client certificates: curl shows one or is refused, and openssl is asked for one under their name only', async () => {
  const node = cluster.nodes[0]!;
  const authority = await certificateFor(['authority']);
  const visitor = await certificateFor(['ann'], { ca: authority });
  const files = [join(cluster.folder, 'ann.pem'), join(cluster.folder, 'ann.key')] as const;
  writeFileSync(files[0], visitor.certificate);
  writeFileSync(files[1], visitor.key);
  const refused = await cluster.call('PUT', '/v1/domains/bad.example.com', {
    service: 'web',
    clientCertificates: { ca: 'no PEM' },
  });
  assert.equal(refused.status, 400);
  assert.match(JSON.stringify(refused.body.errors), /clientCertificates\.ca.*no certificate in PEM/);
  await cluster.apply({
    kind: 'domain',
    name: NAME,
    service: 'web',
    clientCertificates: { ca: authority.certificate },
  });
  const url = `https://${NAME}:${node.https}/`;
  const shown = ['--cert', files[0], '--key', files[1]];
  await cluster.until('the domain asks', async () => /403/.test(await curl(url, '-i', ...named(node.https))));
  for (let attempt = 0; attempt < 6; attempt++) {
    const { headers } = JSON.parse(await curl(url, ...named(node.https), ...shown));
    assert.equal(headers['x-client-cert-subject'], 'CN=ann');
    assert.match(headers['client-cert'], /^:[A-Za-z0-9+/=]+:$/);
  }
  assert.match(await curl(url, '-i', ...named(node.https)), /client_certificate_missing/);
  const plain = await curl(`http://${NAME}:${node.http}/`, '-i', ...named(node.http));
  assert.match(plain, /^HTTP\/1\.1 403 /);
  assert.match(await sClient(node.https, NAME), /Acceptable client certificate CA names\n.*authority/);
  assert.match(await sClient(node.https, OTHER), /No client certificate CA names sent/);
  const misdirected = await curl(
    `https://${OTHER}:${node.https}/`,
    ...['-i', '-H', `Host: ${NAME}`],
    ...named(node.https, OTHER),
    ...shown,
  );
  assert.match(misdirected, /^HTTP\/[\d.]+ 421 /);
});

test('a listener cannot send a PROXY header into TLS of its own', async () => {
  await cluster.apply({ kind: 'service', name: 'secure', protocol: 'https', backends: ['127.0.0.1:9'] });
  const reply = await cluster.call('PUT', '/v1/listeners/sealed', {
    port: await freePort(),
    service: 'secure',
    proxyProtocol: { out: true },
  });
  assert.equal(reply.status, 400);
  assert.match(JSON.stringify(reply.body.errors), /proxyProtocol\.out.*protocol tcp/);
});

test('a TCP listener asks for a PROXY header from one moment to the next, and stops to', async () => {
  const port = await listen('toggle', { service: 'web' });
  const url = `http://127.0.0.1:${port}/`;
  assert.equal(JSON.parse(await curl(url)).name, 'web');
  const listener = { kind: 'listener', name: 'toggle', address: '127.0.0.1', port, service: 'web' };
  const passes = async () => {
    const all = await Promise.allSettled(Array.from({ length: 6 }, () => curl(url)));
    return all.filter(({ status }) => status === 'fulfilled').length;
  };
  await cluster.apply({ ...listener, proxyProtocol: { in: true } });
  await cluster.until('nobody gets in without one', async () => (await passes()) === 0);
  await cluster.apply({ ...listener, proxyProtocol: { in: false } });
  await cluster.until('everybody gets in', async () => (await passes()) === 6);
});

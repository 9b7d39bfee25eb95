import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, Command, type NodeOfCluster, visit } from '../../cluster.ts';
import { type MongoService, startMongo } from '../../services/index.ts';
import { freePort } from '../../services/process.ts';

process.env['KONTROL_TTL'] = '2s';
/** A call of the API that waits for a dead store is answered within 5 s; the rest is room for a busy machine. */
const ANSWER_MS = 10_000;

let mongo: MongoService;
let cluster: Cluster;
let node: NodeOfCluster;
before(async () => {
  mongo = await startMongo({ own: true });
  cluster = await Cluster.start(1, { mongoUrl: mongo.url });
  node = cluster.nodes[0] as NodeOfCluster;
});
after(async () => {
  await cluster?.close();
  await mongo?.stop();
});

const COPY = 'last-known-good.json';
const OLDER = 'last-known-good.previous.json';
const copyPath = (name: string) => join(cluster.data, 'n1', name);
const copyHas = (name: string, text: string) =>
  existsSync(copyPath(name)) && readFileSync(copyPath(name), 'utf8').includes(text);
const answering = (body: string) => ({
  kind: 'domain',
  name: 'shop.test',
  routes: [{ path: '/', answer: { status: 200, body } }],
});
const body = async () => (await visit(node.http, 'shop.test')).body;
const readyz = async () => {
  const response = await fetch(`http://127.0.0.1:${node.internal}/readyz`);
  return { status: response.status, body: (await response.json()) as { ready: boolean; why: string[] } };
};

/** Two generations of the copy: the older with `first`, the newer with `second`. */
async function writeTwoCopies(first: string, second: string): Promise<void> {
  await cluster.apply(answering(first));
  await cluster.until(`the copy has ${first}`, () => copyHas(COPY, first));
  await cluster.apply(answering(second));
  await cluster.until(`the copies are two`, () => copyHas(COPY, second) && copyHas(OLDER, first));
  // Another write would make two of the same generation.
  assert.ok(!copyHas(OLDER, second));
}

test('with MongoDB down a node starts from its last-known-good copy, and writes of the API say 503', async () => {
  await writeTwoCopies('first', 'second');
  await node.command.end();
  await mongo.kill();

  const began = performance.now();
  const reply = await cluster.call('PUT', '/v1/domains/other.test', {});
  assert.equal(reply.status, 503);
  assert.match(reply.headers.get('content-type') ?? '', /^application\/problem\+json/);
  assert.match(reply.body.code, /^(store_unavailable|outcome_unknown)$/);
  assert.ok(performance.now() - began < ANSWER_MS, 'the answer took too long');

  await cluster.restartNode(node);
  await cluster.until('it serves what the copy says', async () => (await body()) === 'second');
  await cluster.until('it is ready', async () => (await readyz()).status === 200);
  await cluster.until('the log says so', () => node.command.output.includes('"copy_used"'));
});

test('a copy that is cut short is named in the log, and the older one serves', async () => {
  await node.command.end();
  truncateSync(copyPath(COPY), 200);
  await cluster.restartNode(node);
  await cluster.until('it serves what the older copy says', async () => (await body()) === 'first');
  await cluster.until('the log says so', () =>
    node.command.output
      .split('\n')
      .some((line) => line.includes('"copy_damaged"') && line.includes(`${COPY} is cut short`)),
  );
});

test('without copy and store everything is 503 and /readyz says why; with MongoDB back it is live', async () => {
  await node.command.end();
  rmSync(copyPath(COPY), { force: true });
  rmSync(copyPath(OLDER), { force: true });
  await cluster.restartNode(node);
  const answer = await visit(node.http, 'shop.test', '/', { headers: { accept: 'text/html' } });
  assert.equal(answer.status, 503);
  assert.match(String(answer.headers['content-type']), /^text\/html/);
  assert.match(String(answer.headers['retry-after']), /^\d+$/);
  assert.match(answer.body, /<html/i);
  const { status, body: readiness } = await readyz();
  assert.deepEqual([status, readiness.ready], [503, false]);
  assert.match(readiness.why.join('\n'), /store|MongoDB|table/i);

  await mongo.restart();
  await cluster.until('it serves what the store says', async () => (await body()) === 'second', 15_000);
  await cluster.until('it is ready', async () => (await readyz()).status === 200);
  await cluster.until(
    'the API writes again',
    async () => (await cluster.call('PUT', '/v1/domains/other.test', {})).status < 300,
  );
  await cluster.until('the copy is written again', () => copyHas(COPY, 'second'));
});

/** A folder for commands that are not to start, and a port that somebody else holds. */
async function obstacles(): Promise<{ folder: string; taken: number; server: Server }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return { folder: mkdtempSync(join(tmpdir(), 'kontrol-start-')), taken: port, server };
}

/** Runs a command that cannot start: code 1, and exactly one line for people that matches. */
async function refuses(args: readonly string[], line: RegExp): Promise<void> {
  const command = new Command(args);
  try {
    const [code] = await Promise.race([
      once(command.process, 'close'),
      new Promise<never>((_resolve, reject) =>
        setTimeout(() => reject(new Error(`it goes on\n${command.output}`)), 25_000).unref(),
      ),
    ]);
    const lines = command.output.split('\n').filter((each) => each !== '' && !each.startsWith('{'));
    assert.equal(lines.length, 1, command.output);
    assert.match(lines[0] as string, line);
    assert.equal(code, 1, command.output);
  } finally {
    await command.end('SIGKILL');
  }
}

test('what only the operator can change ends the start with one clear line and exit code 1', async () => {
  const { folder, taken, server } = await obstacles();
  try {
    const file = join(folder, 'file');
    writeFileSync(file, 'not a folder');
    const certs = join(folder, 'certs');
    mkdirSync(certs);
    writeFileSync(join(certs, 'cert.pem'), 'not a certificate');
    writeFileSync(join(certs, 'key.pem'), 'not a key');
    const data = ['--data', join(folder, 'data')];
    const proxy = async () => [
      ...['--http', `127.0.0.1:${await freePort()}`, '--internal', `127.0.0.1:${await freePort()}`],
      ...['--processes', '1', '--certs', join(folder, 'none')],
    ];
    const noHttps = ['--https', ''];
    const api = async () => ['--api', `127.0.0.1:${await freePort()}`];
    const inUse = new RegExp(`${taken}.*in use`);

    await refuses(['proxy', ...(await proxy()), ...noHttps, ...data, '--http', `127.0.0.1:${taken}`], inUse);
    await refuses(['api', ...data, '--api', `127.0.0.1:${taken}`], inUse);
    await refuses(['up', ...(await proxy()), ...noHttps, ...data, '--api', `127.0.0.1:${taken}`], inUse);
    const unwritable = /data folder.*file|\/file\/store.*--data/;
    await refuses(['proxy', ...(await proxy()), ...noHttps, '--data', file], unwritable);
    await refuses(['api', ...(await api()), '--data', file], unwritable);
    await refuses(['up', ...(await proxy()), ...(await api()), ...noHttps, '--data', file], unwritable);
    await refuses(
      ['api', ...(await api()), ...data, '--api-cert', join(folder, 'no.pem'), '--api-key', file],
      /no\.pem/,
    );
    const https = ['--https', `127.0.0.1:${await freePort()}`];
    await refuses(['proxy', ...(await proxy()), ...https, ...data, '--certs', certs], /cert\.pem/);
  } finally {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

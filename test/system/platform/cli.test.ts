import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse, parseAllDocuments } from 'yaml';
import { Cluster, Command, visit } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));

let cluster: Cluster;
let folder: string;
before(async () => {
  cluster = await Cluster.start(1);
  folder = mkdtempSync(join(tmpdir(), 'kontrol cli '));
});
after(async () => {
  await cluster?.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command to its end, against the cluster. */
function kontrol(args: readonly string[], env: NodeJS.ProcessEnv = {}, input = ''): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [MAIN, ...args],
      {
        env: { ...process.env, KONTROL_URL: cluster.apiUrl, KONTROL_TOKEN: cluster.token, ...env },
        timeout: 30_000,
      },
      (error, out, err) => {
        const code = error === null ? 0 : error.code;
        if (typeof code !== 'number') reject(error);
        else resolve({ code, out, err });
      },
    );
    child.stdin?.end(input);
  });
}

/** A command that has to succeed; its output. */
async function done(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await kontrol(args);
  assert.equal(code, 0, `kontrol ${args.join(' ')}: ${out}${err}`);
  return out;
}

/** Asserts the exit code and what is said on stderr; nobody ever reads a stack. */
async function fails(args: readonly string[], code: number, said: RegExp): Promise<void> {
  const ended = await kontrol(args);
  const shown = `kontrol ${args.join(' ')}: ${ended.code} ${ended.out}${ended.err}`;
  assert.equal(ended.code, code, shown);
  assert.match(ended.err, said, shown);
  assert.doesNotMatch(ended.err, /^\s+at /m, shown);
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const json = async (...args: readonly string[]) => JSON.parse(await done(...args, '--json'));

test('set, get and delete, by fields and from a file', async () => {
  assert.match(
    await done('set', 'service', 'web', 'backends=127.0.0.1:3000', '--wait'),
    /^revision \d+; served/,
  );
  assert.equal(parse(await done('get', 'service', 'web')).keys['1'].backends[0].address, '127.0.0.1:3000');
  assert.equal((await json('get', 'service', 'web')).name, 'web');
  await done('set', 'services', 'web', 'labels.team=blue', 'balance=random');
  assert.deepEqual((await json('get', 'service', 'web')).labels, { team: 'blue' });
  assert.match(await done('set', 'service', 'web', 'labels=null', '--dry-run'), /~ service web/);
  await done('set', 'service', 'web', 'labels.team=null');
  assert.equal((await json('get', 'service', 'web')).labels?.team, undefined);
  const page = file(
    'one.yaml',
    'kind: domain\nroutes:\n  - path: /\n    answer: {status: 200, body: from a file}\n',
  );
  await done('set', 'domain', 'file.test', '-f', page, '--wait');
  assert.equal((await visit(cluster.nodes[0]?.http as number, 'file.test')).body, 'from a file');
  assert.match(await done('get', 'domains'), /^NAME +MODE.*\nfile\.test/);
  assert.deepEqual(
    (await json('get', 'domains')).map(({ name }: { name: string }) => name),
    ['file.test'],
  );
  await done('delete', 'domain', 'file.test', '--wait');
  assert.equal((await visit(cluster.nodes[0]?.http as number, 'file.test')).status, 404);
});

test('exit code 1 says what the API refused, 2 says how a command is used', async () => {
  await fails(['get', 'service', 'nobody'], 1, /404 not_found/);
  await fails(['delete', 'service', 'nobody'], 1, /404/);
  await fails(['set', 'service', 'web', 'balance=sideways'], 1, /balance: /);
  await fails(['restore', '999999'], 1, /^kontrol: /);
  await fails(['get', 'service', 'web', '--url', 'http://127.0.0.1:1'], 1, /does not answer.*is it running/);
  await fails(['get', 'services', '--token', 'wrong'], 1, /401/);
  await fails(['get'], 2, /kind/);
  await fails(['get', 'planets'], 2, /no kind 'planets'; kinds are .*domain/);
  await fails(['set', 'service', 'web'], 2, /FIELD=VALUE/);
  await fails(['set', 'service', 'web', 'balance'], 2, /FIELD=VALUE/);
  await fails(['set', 'service', 'web', 'labels=null', 'labels.a=b', '--sideways'], 2, /--sideways/);
  await fails(['restore'], 2, /seq/);
  await fails(['restore', 'yesterday'], 2, /number/);
  await fails(['history', '--limit', 'many'], 1, /limit/);
  await fails(['token', 'rename', 'x'], 2, /kontrol token/);
  await fails(['apply', '--owner', 'me'], 2, /--file/);
  await fails(['orbit'], 2, /no command 'orbit'/);
  assert.equal((await kontrol([])).code, 2);
  assert.match(await done('help'), /apply -f FILE/);
  assert.match(await done('apply', '--help'), /--prune/);
});

test('a field that is null first and has fields then is no crash', async () => {
  await done('set', 'service', 'web', 'labels=null', 'labels.team=red');
  assert.deepEqual((await json('get', 'service', 'web')).labels, { team: 'red' });
});

test('apply, diff and prune touch only objects of their owner', async () => {
  const site = file(
    'site.yaml',
    `kind: service
name: shop
backends: [127.0.0.1:4000]
---
kind: domain
name: shop.test
service: shop
`,
  );
  const base = ['-f', site, '--owner', 'shop-team'];
  assert.match(await done('diff', ...base), /\+ service shop[\s\S]*\+ domain shop\.test/);
  assert.match(await done('apply', ...base, '--wait'), /^revision \d+; served by every node/);
  assert.match(await done('diff', ...base), /^nothing would change/);

  file('site.yaml', 'kind: service\nname: shop\nbackends: [127.0.0.1:4001]\n');
  const shown = await done('diff', ...base, '--prune');
  assert.match(shown, /~ service shop[\s\S]*4001/);
  assert.match(shown, /- domain shop\.test/);
  assert.doesNotMatch(shown, /web/, 'objects of others stay');
  assert.doesNotMatch(await done('diff', ...base), /- domain/, 'without --prune nothing is deleted');
  await done('apply', ...base, '--prune');
  await fails(['get', 'domain', 'shop.test'], 1, /404/);
  assert.equal((await json('get', 'service', 'web')).name, 'web');

  const { differences, changes } = await json('diff', ...base);
  assert.deepEqual(differences ?? changes, []);
  const piped = await kontrol(['apply', '-f', '-', '--owner', 'piped'], {}, 'kind: service\nname: piped\n');
  assert.equal(piped.code, 0, piped.err);
  assert.equal((await json('get', 'service', 'piped')).owner, 'piped');
});

test('problems in files are told with file, line and column, by check and by apply', async () => {
  const bad = file(
    'bad.yaml',
    `kind: service
name: bad
balance: sideways
---
kind: domain
name: bad.test
routes:
  - path: "~(["
    service: bad
  - pth: /
`,
  );
  const broken = file('broken.yaml', 'kind: service\nname: [unclosed\n');
  for (const command of [
    ['check', bad],
    ['apply', '-f', bad, '--owner', 'me'],
    ['diff', '-f', bad, '--owner', 'me'],
  ]) {
    const { code, err } = await kontrol(command);
    assert.equal(code, 1);
    assert.match(err, /bad\.yaml:3:10: balance: /);
    assert.match(err, /bad\.yaml:8:11: routes\.0\.path/);
    assert.match(err, /bad\.yaml:10:\d+: routes\.1/);
  }
  await fails(['check', broken], 1, /broken\.yaml:\d+:\d+: /);
  const alias = (of: string) => `[${Array(9).fill(`*${of}`).join(', ')}]`;
  const many = file(
    'many.yaml',
    `kind: page\nname: p\na: &a [x, x]\nb: &b ${alias('a')}\nc: &c ${alias('b')}\nd: ${alias('c')}\n`,
  );
  await fails(['check', many], 1, /^\S.*many\.yaml:1:1: Excessive alias count[^\n]*\n$/);
  await fails(['check', join(folder, 'nowhere.yaml')], 1, /nowhere\.yaml: cannot be read/);
  await fails(['check'], 2, /usage/);
  const good = file('good.yaml', 'kind: service\nname: good\n');
  assert.match(await done('check', good), /^1 objects? (is|are) valid/);
  // What only the API can know is told at its place in the file as well.
  const taken = file(
    'taken.yaml',
    'kind: domain\nname: a.test\n---\nkind: domain\nname: b.test\naliases: [a.test]\n',
  );
  await fails(['apply', '-f', taken, '--owner', 'me'], 1, /taken\.yaml:\d+:\d+: .*a\.test/);
});

test('what export prints, apply takes back without a change', async () => {
  const exported = await done('export');
  assert.ok(parseAllDocuments(exported).length >= 3);
  await done('check', file('export.yaml', exported));
  const { seq } = (await cluster.ok('GET', '/v1/nodes')).body;
  // A list belongs to one owner, so each is taken back with its own.
  const owned = file('owned.yaml', await done('export', '--owner', 'shop-team'));
  assert.match(await done('diff', '-f', owned, '--owner', 'shop-team', '--prune'), /^nothing would change/);
  await done('delete', 'service', 'shop');
  await done('apply', '-f', owned, '--owner', 'shop-team');
  assert.equal((await json('get', 'service', 'shop')).keys['1'].backends[0].address, '127.0.0.1:4001');
  const old = await done('export', '--at', String(seq));
  assert.equal(old, exported);
  assert.ok(Array.isArray(await json('export')));
});

test('history shows who changed what, and restore brings it back', async () => {
  await done('set', 'service', 'past', 'balance=random');
  const [first] = await json('history', 'service', 'past');
  await done('set', 'service', 'past', 'balance=naive');
  assert.match(await done('history'), /^SEQ +WHEN +AUTHOR[\s\S]*service past/);
  assert.equal((await json('history', 'service', 'past')).length, 2);
  assert.match(await done('history', String(first.seq + 1)), /~ service past[\s\S]*naive/);
  assert.match(await done('restore', String(first.seq), 'service', 'past', '--dry-run'), /~ service past/);
  assert.equal((await json('get', 'service', 'past')).balance, 'naive');
  await done('restore', String(first.seq), 'service', 'past');
  assert.equal((await json('get', 'service', 'past')).balance, 'random');
});

test('tokens are made, work with their role, and are deleted', async () => {
  const token = (await done('token', 'create', 'ci', '--role', 'viewer')).trim();
  assert.match(await done('token'), /ci +viewer/);
  assert.equal((await kontrol(['get', 'services'], { KONTROL_TOKEN: token })).code, 0);
  const refused = await kontrol(['set', 'service', 'web', 'balance=naive'], { KONTROL_TOKEN: token });
  assert.deepEqual([refused.code, /403/.test(refused.err)], [1, true]);
  await done('token', 'delete', 'ci');
  assert.equal((await kontrol(['get', 'services'], { KONTROL_TOKEN: token })).code, 1);
});

test('a worker is called by its script, unless a name is given, and is found by it', async () => {
  const listen = "require('http').createServer((q, s) => s.end()).listen(process.env.PORT)";
  const script = file('catalog.js', listen);
  const workers = await Promise.all(
    [[], ['--name', 'by hand']].map(async (name) => {
      const port = String(await freePort());
      return cluster.run([
        'run',
        '--service',
        'named',
        '--port',
        port,
        ...name,
        '--',
        process.execPath,
        script,
      ]);
    }),
  );
  const names = async (search: string) =>
    ((await json('get', 'workers', '--search', search)) as { name: string }[]).map(({ name }) => name).sort();
  await cluster.until('both are registered', async () => (await names('named')).length === 2);
  assert.deepEqual(await names('named'), ['by hand', 'catalog.js']);
  assert.deepEqual(await names('catalog'), ['catalog.js']);
  await fails(['get', 'workers', '--label', 'a=b'], 2, /workers have no labels/);
  for (const worker of workers) worker.process.kill('SIGTERM');
  await Promise.all(workers.map((worker) => once(worker.process, 'close')));
  assert.deepEqual(await names('named'), []);
});

test('status tells of every node, with exit code 1 when something is wrong', async (t) => {
  assert.match(await done('status'), /^NODE +READY[\s\S]*n1 +yes/);
  assert.equal((await json('status')).nodes[0].name, 'n1');
  const { server, port: taken } = await hello();
  t.after(() => server.close());
  await done('set', 'service', 'tcp', 'protocol=tcp', 'backends=127.0.0.1:9');
  await done('set', 'listener', 'busy', `port=${taken}`, 'address=127.0.0.1', 'service=tcp');
  await cluster.until('the port in use is reported', async () => (await kontrol(['status'])).code === 1);
  assert.match((await kontrol(['status'])).out, /listener busy is quarantined/);
  await done('delete', 'listener', 'busy');
  await cluster.until('all is well again', async () => (await kontrol(['status'])).code === 0);
});

/** Answers `hello` to anybody. */
async function hello(): Promise<{ server: Server; port: number }> {
  const server = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as { port: number }).port };
}

test('kontrol up: the printed curl adds a route, and SIGINT ends it with code 0', async () => {
  const [http, api, internal] = [await freePort(), await freePort(), await freePort()];
  const data = join(folder, 'its data');
  const { server, port } = await hello();
  const up = new Command(
    [
      ...['up', '--http', `127.0.0.1:${http}`, '--https', '', '--api', `127.0.0.1:${api}`],
      ...['--internal', `127.0.0.1:${internal}`, '--data', data, '--processes', '1', '--drain', '5s'],
      ...['--access-log', 'off', '--certs', join(folder, 'no certs')],
    ],
    { MONGO_URL: undefined, REDIS_URL: undefined },
  );
  try {
    await cluster.until('the welcome is printed', () => up.output.includes("]}'"));
    assert.match(up.output, /kontrol is up/);
    const before = await visit(http, 'any.test', '/', { headers: { accept: 'text/html' } });
    assert.equal(before.status, 404);
    const printed = /curl -sS[\s\S]*?\]\}'/.exec(up.output)?.[0] ?? '';
    assert.match(printed, /127\.0\.0\.1:3000/, up.output);
    // As printed, but for the port of the program.
    const [failed, out] = await new Promise<[Error | null, string]>((resolve) =>
      execFile('sh', ['-c', printed.replace('127.0.0.1:3000', `127.0.0.1:${port}`)], (error, text) =>
        resolve([error, text]),
      ),
    );
    assert.equal(failed, null);
    assert.match(out, /"seq":/, out);
    await cluster.until('it is live', async () => (await visit(http, 'any.test')).body === 'hello');
    assert.ok(readFileSync(join(data, 'admin-token'), 'utf8').length > 20);
    const gone = once(up.process, 'exit');
    up.process.kill('SIGINT');
    assert.deepEqual(await gone, [0, null], up.output);
    await assert.rejects(visit(http, 'any.test'), /ECONNREFUSED/);
    await assert.rejects(fetch(`http://127.0.0.1:${api}/healthz`));
  } finally {
    await up.end('SIGKILL');
    server.close();
  }
});

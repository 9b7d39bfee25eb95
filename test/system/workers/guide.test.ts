/** Runs every command of docs/guides/workers.md, in order, in one shell. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../../shared/package-root.ts';
import { Cluster, visit } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));
const LIBRARY = new URL('../../../worker/index.js', import.meta.url).href;
const SERVER = `require('node:http').createServer((request, response) =>
  response.end('build ' + process.env.KONTROL_KEY)).listen(process.env.PORT);`;

const GUIDE = readFileSync(packageRoot('docs/guides/workers.md'), 'utf8');

/** The fenced blocks of one language, in order. */
function blocks(language: string): string[] {
  return [...GUIDE.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g'))].map(
    (match) => match[1] ?? '',
  );
}

let cluster: Cluster;
let shell: ChildProcess;
let output = '';
const programs: ChildProcess[] = [];
const ports = new Map<string, number>();

before(async () => {
  cluster = await Cluster.start(1);
  ports.set('7000', cluster.apiPort).set('8080', cluster.nodes[0]?.http ?? 0);
  ports.set('3000', await freePort()).set('3001', await freePort());
  const folder = join(cluster.folder, 'reader');
  mkdirSync(join(folder, 'bin'), { recursive: true });
  symlinkSync(cluster.data, join(folder, 'data'));
  writeFileSync(join(folder, 'server.js'), SERVER);
  const kontrol = join(folder, 'bin', 'kontrol');
  writeFileSync(kontrol, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
  chmodSync(kontrol, 0o755);
  shell = spawn('bash', ['--norc', '--noprofile'], {
    cwd: folder,
    env: {
      ...process.env,
      PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
      TEST_CLUSTER_FOLDER: cluster.folder,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  for (const stream of [shell.stdout, shell.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
});

after(async () => {
  for (const program of programs) program.kill('SIGKILL');
  shell.kill('SIGKILL');
  await cluster.close();
});

/** Runs one block with the ports of this test and answers what it printed; every command in it has to succeed. */
let turn = 0;
async function run(block: string): Promise<string> {
  const mark = `--- block ${++turn}:`;
  const start = output.length;
  const text = block.replace(/\b(7000|8080|300[01])\b/g, (port) => String(ports.get(port)));
  shell.stdin?.write(`trap 'echo "failed: $BASH_COMMAND"' ERR\n${text}\necho "${mark} end"\n`);
  await cluster.until(`the block ends:\n${text}`, () => output.includes(`${mark} end`));
  const printed = output.slice(start);
  assert.doesNotMatch(printed, /^failed: /m, printed);
  return printed;
}

const shop = () => visit(cluster.nodes[0]?.http ?? 0, 'shop.example.com');
const serves = (text: string) =>
  cluster.until(`it answers ${text}\n${output}`, async () => (await shop()).body.trim() === text);

test('every command of the guide does what it says', async () => {
  const sh = blocks('sh');
  assert.equal(sh.length, 8);
  const [start = '', token = '', calls = '', next = '', deploy = '', back = '', gone = '', orders = ''] = sh;

  await run(start);
  await serves('build 1');
  assert.match(await run(token), /^kontrol_\S{43}$/m);

  // The four calls of the guide are of a worker that somebody else started on the port.
  const free = String(await freePort());
  const printed = await run(calls.replace('3000', free));
  assert.match(printed, /"permission":"run","command":null/);
  assert.match(printed, /"pending":\[\]/);

  await run(next);
  await serves('build 2');
  assert.match(await run(deploy), /web: latest is key 2[\s\S]*"latest":2/);
  await run(back.split('\n')[0] ?? '');
  await serves('build 1');
  await run(back.split('\n')[1] ?? '');
  await serves('build 2');
  assert.match(await run(gone), /HTTP\/1\.1 410 /);

  const listed = await run(orders);
  assert.match(listed, /\bready\b/);
  assert.match(listed, /"pending":\[\]/);
  await cluster.until('a wrapper has stopped', () => output.includes('told to stop'));

  const inText = [...GUIDE.matchAll(/`(kontrol set [^`]+)`/g)].map((match) => match[1] ?? '');
  assert.equal(inText.length, 2);
  for (const command of inText) assert.match(await run(command), /^(revision \d+|nothing to change)/m);
});

test('the program that uses the library serves, and leaves on TERM', async () => {
  const [code = ''] = blocks('js');
  const file = join(cluster.folder, 'reader', 'library.mjs');
  writeFileSync(file, code.replace("'kontrol/worker'", `'${LIBRARY}'`).replace("'web'", "'library'"));
  const env = {
    ...process.env,
    PORT: String(await freePort()),
    KONTROL_URL: cluster.apiUrl,
    KONTROL_TOKEN: cluster.token,
  };
  const program = spawn(process.execPath, [file], { env, stdio: 'inherit' });
  programs.push(program);
  await cluster.apply({ kind: 'domain', name: 'shop.example.com', service: 'library' });
  await serves('hello from the library');
  program.kill('SIGTERM');
  assert.deepEqual(await once(program, 'exit'), [0, null]);
  assert.equal((await shop()).status, 503);
});

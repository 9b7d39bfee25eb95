/**
 * Runs the guides as a reader would: files are written as shown, every command is typed, and what it prints is
 * compared with what the guide says it prints (`…` stands for anything).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../../shared/package-root.ts';
import { Cluster } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));
interface Step {
  readonly command: string;
  readonly printed: string;
}

/** The files that a guide shows (`name`: and a block below) and its console blocks, command by command. */
function read(guide: string): { files: [name: string, text: string][]; steps: Step[] } {
  const text = readFileSync(packageRoot(`docs/guides/${guide}.md`), 'utf8');
  const files = [...text.matchAll(/^`([\w.-]+)`:\n\n```\w+\n([\s\S]*?)^```$/gm)].map(
    ([, name = '', content = '']): [string, string] => [name, content],
  );
  const steps = [...text.matchAll(/^```console\n([\s\S]*?)^```$/gm)].flatMap(([, block = '']) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const end = part.indexOf('\n');
        return { command: part.slice(0, end), printed: part.slice(end + 1) };
      }),
  );
  return { files, steps };
}

/** The default ports of the guides, and those that this test has in their place. */
async function portsOf(cluster: Cluster): Promise<(readonly [shown: string, actual: number])[]> {
  const { http, https, internal } = cluster.nodes[0]!;
  return [
    ['8080', http],
    ['8443', https],
    ['42007', internal],
    ['7000', cluster.apiPort],
    ['3000', await freePort()],
    ['3001', await freePort()],
    ['3306', await freePort()],
    ['3307', await freePort()],
  ];
}

/** Whether `said` is `printed`, where `…` stands for anything. */
function fits(said: string, printed: string): boolean {
  const pattern = printed
    .trimEnd()
    .split('…')
    .map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${pattern.join('[\\s\\S]*?')}$`).test(said.trimEnd());
}

class Shell {
  readonly #process;
  readonly #cluster: Cluster;
  #said = '';
  #turn = 0;

  constructor(cluster: Cluster, folder: string, env: NodeJS.ProcessEnv) {
    this.#cluster = cluster;
    this.#process = spawn('bash', ['--norc', '--noprofile'], { cwd: folder, env, detached: true });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.#said += chunk.toString();
      });
  }

  async type(command: string): Promise<string> {
    const mark = `--- end ${++this.#turn}`;
    this.#said = '';
    this.#process.stdin.write(`${command}\necho '${mark}'\n`);
    await this.#cluster.until(`it is done: ${command}`, () => this.#said.includes(`${mark}\n`));
    return this.#said.slice(0, this.#said.indexOf(mark)).replaceAll('\r', '');
  }

  /** Ends it and what it has started. */
  async end(): Promise<void> {
    const gone = once(this.#process, 'exit');
    process.kill(-this.#process.pid!, 'SIGKILL');
    await gone;
  }
}

for (const guide of [
  'routing',
  'balancing',
  'firewall',
  'tls',
  'pages',
  'caching',
  'tcp',
  'alerts',
  'changes',
  'explain',
  'access',
]) {
  test(`the guide ${guide} says what happens`, async (t) => {
    // Each on a fresh Kontrol, as its reader has it: the numbers of revisions are part of what is shown.
    const cluster = await Cluster.start(1, { processes: 1 });
    t.after(() => cluster.close());
    const ports = await portsOf(cluster);
    const here = (text: string) =>
      ports.reduce(
        (said, [shown, port]) => said.replaceAll(new RegExp(`\\b${shown}\\b`, 'g'), String(port)),
        text,
      );
    const there = (text: string) =>
      ports.reduce((said, [shown, port]) => said.replaceAll(String(port), shown), text);
    const folder = mkdtempSync(join(cluster.folder, 'reader-'));
    mkdirSync(join(folder, 'bin'));
    const kontrol = join(folder, 'bin', 'kontrol');
    writeFileSync(kontrol, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
    chmodSync(kontrol, 0o755);
    // As at a terminal, where curl shows no progress beside what it prints.
    writeFileSync(join(folder, '.curlrc'), 'silent\n');
    symlinkSync(cluster.data, join(folder, 'data'));
    const shell = new Shell(cluster, folder, {
      ...process.env,
      PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
      HOME: folder,
      KONTROL_URL: cluster.apiUrl,
      TEST_CLUSTER_FOLDER: cluster.folder,
    });
    t.after(() => shell.end());
    const { files, steps } = read(guide);
    assert.ok(steps.length >= 3);
    for (const [name, text] of files) writeFileSync(join(folder, name), here(text));
    for (const { command, printed } of steps) {
      let said = '';
      // A program in the background may not listen yet, and counts are told once a second.
      const patient = command.startsWith('curl');
      const done = async () => {
        said = there(await shell.type(here(command)));
        return fits(said, printed) || !patient;
      };
      await cluster.until(`it prints what the guide says: ${command}`, done, 10_000).catch(() => {});
      assert.ok(fits(said, printed), `$ ${command}\n--- says\n${said}--- the guide says\n${printed}`);
    }
  });
}

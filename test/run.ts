/**
 * Runs every test file of the build, prints each result, and ends with one line that counts them. Two files run at a
 * time (most of them wait most of the time), those that put load on the machine one at a time. A skipped or todo test
 * counts as failed: nothing is left out silently.
 *
 * `node dist/test/run.js [part of a path…]` runs only the files whose path contains one of the parts.
 */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../shared/package-root.ts';

const build = dirname(dirname(fileURLToPath(import.meta.url)));
const wanted = process.argv.slice(2);
const FILE_TIMEOUT_MS = 300_000;

const all = readdirSync(build, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js') && !file.includes('node_modules'))
  // The build keeps what it once wrote: a test whose source has gone is gone too.
  .filter((file) => existsSync(packageRoot(file.replace(/\.js$/, '.ts'))))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .sort();
const alone = (file: string) => file.startsWith(join('test', 'fault')) || /mongodb|redis|embedded/.test(file);

const totals = { passed: 0, failed: 0 };
const failures: string[] = [];

async function runAll(files: readonly string[], concurrency: number): Promise<void> {
  if (files.length === 0) return;
  const stream = run({
    files: files.map((file) => join(build, file)),
    concurrency,
    timeout: FILE_TIMEOUT_MS,
  });
  const fail = (name: string, file: string | undefined) => {
    totals.failed++;
    failures.push(`${relative(build, file ?? '')}: ${name}`);
  };
  stream.on('test:pass', (event) => {
    if (event.details.type === 'suite') return;
    if (event.skip !== undefined || event.todo !== undefined) fail(`${event.name} (skipped)`, event.file);
    else totals.passed++;
  });
  stream.on('test:fail', (event) => {
    if (event.details.type !== 'suite') fail(event.name, event.file);
  });
  const printed = stream.compose(new spec());
  for await (const chunk of printed) process.stdout.write(chunk as string);
}

if (all.length === 0) throw new Error(`no test file under ${build} has a path with ${wanted.join(' or ')}`);
await runAll(
  all.filter((file) => !alone(file)),
  2,
);
await runAll(all.filter(alone), 1);
// What is said on the wire holds whatever sockets are made of; `handle` is what the others ran with.
for (const variant of ['onread', 'net']) {
  process.env['TEST_SOCKETS'] = variant;
  await runAll(
    all.filter((file) => file.startsWith(join('test', 'protocol'))),
    2,
  );
}

for (const failure of failures) process.stdout.write(`failed: ${failure}\n`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed\n`);

/**
 * Checks of the structure that no linter makes: no import cycle, imports only in the direction of docs/design, and
 * no source file over 500 lines. Prints what is wrong, one line each, and exits 1.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const MAX_LINES = 500;

/** Which top folders a folder may import from, besides itself. `test` and `bench` may import everything. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  shared: [],
  worker: [],
  proxy: ['shared'],
  kontrolapi: ['shared'],
  cli: ['shared', 'proxy', 'kontrolapi', 'worker'],
  scripts: ['shared', 'cli'],
};

/** Inside the proxy, the hot path must not reach up or into processes with drivers. */
const ALLOWED_IN_PROXY: Readonly<Record<string, readonly string[]>> = {
  stream: [],
  link: [],
  balance: ['upstream'],
  pages: [],
  observe: [],
  // The gate asks and the desk answers; the gate must not reach the driver beside it.
  rate: [],
  tls: [],
  upstream: ['balance', 'stream', 'observe'],
  tunnel: ['stream', 'upstream', 'http1', 'observe', 'pages', 'serving'],
  http1: ['stream', 'upstream', 'tunnel', 'pages', 'observe', 'serving', 'rate'],
  http2: ['stream', 'http1', 'observe'],
  cache: ['stream', 'upstream', 'http1', 'observe', 'pages', 'serving'],
  serving: [
    'stream',
    'link',
    'http1',
    'http2',
    'cache',
    'tunnel',
    'tls',
    'balance',
    'upstream',
    'pages',
    'observe',
    'rate',
  ],
  sync: ['link', 'tls', 'observe', 'pages', 'rate'],
  // A certificate that cannot be used is said at the start; `tls` has neither drivers nor native modules.
  primary: ['link', 'tls'],
};

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && !file.endsWith('.d.ts'));
const problems: string[] = [];
const imports = new Map<string, string[]>();

for (const file of files) {
  const text = readFileSync(file, 'utf8');
  const lines = text.split('\n').length - 1;
  if (lines > MAX_LINES) problems.push(`${file}: ${lines} lines; split it, at most ${MAX_LINES} are allowed`);
  const targets: string[] = [];
  for (const match of text.matchAll(/^(?:import|export)(\s+type)?\s[^;]*?from\s+'(\.[^']+)';/gm)) {
    const target = normalize(join(dirname(file), match[2] as string));
    // Types vanish when compiled: inside a top folder they may point anywhere, contracts live with their owner.
    const typeOnly = match[1] !== undefined;
    if (!typeOnly) targets.push(target);
    checkDirection(file, target, typeOnly);
  }
  imports.set(file, targets);
}

function checkDirection(file: string, target: string, typeOnly: boolean): void {
  const [top = '', inner = ''] = file.split('/');
  const [targetTop = '', targetInner = ''] = target.split('/');
  if (top === 'test' || top === 'bench' || file.endsWith('.test.ts') || file.endsWith('/conformance.ts'))
    return;
  if (top !== targetTop) {
    if (!(ALLOWED[top] ?? []).includes(targetTop))
      problems.push(`${file}: ${top}/ must not import ${target}`);
  } else if (top === 'proxy' && inner !== targetInner && !typeOnly) {
    if (!(ALLOWED_IN_PROXY[inner] ?? []).includes(targetInner))
      problems.push(`${file}: proxy/${inner}/ must not import ${target}`);
  }
}

const state = new Map<string, 'open' | 'done'>();
function visit(file: string, trail: readonly string[]): void {
  if (state.get(file) === 'done') return;
  if (state.get(file) === 'open') {
    problems.push(`import cycle: ${[...trail.slice(trail.indexOf(file)), file].join(' → ')}`);
    return;
  }
  state.set(file, 'open');
  for (const target of imports.get(file) ?? []) if (imports.has(target)) visit(target, [...trail, file]);
  state.set(file, 'done');
}
for (const file of files) visit(file, []);

for (const problem of problems) process.stderr.write(`${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
else process.stdout.write(`structure: ${files.length} files, no cycle, none over ${MAX_LINES} lines\n`);

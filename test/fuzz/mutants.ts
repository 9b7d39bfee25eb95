/**
 * `make mutants`: breaks the rules of the engine one by one in a copy of the sources and demands that the test which
 * docs/conformance.md names for the rule fails. With `--write` the results go into that document.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../shared/package-root.ts';
import { conformanceRows } from '../conformance-table.ts';
import { MUTANTS, type Mutant } from './mutant-list.ts';

const SOURCES = [
  'proxy',
  'shared',
  'test',
  'kontrolapi',
  'cli',
  'worker',
  'errorpages',
  'package.json',
  'tsconfig.json',
];
const TEST_TIMEOUT_MS = 60_000;
const HEADING = '## Rules that were broken on purpose';

mkdirSync(packageRoot('build'), { recursive: true });
const copy = mkdtempSync(packageRoot('build', 'mutants-'));

function compile(...options: string[]): void {
  const compiler = packageRoot('node_modules/typescript/bin/tsc');
  // Types may be wrong after a change; what counts is what it does.
  spawnSync(process.execPath, [compiler, '--outDir', join(copy, 'dist'), '--noCheck', ...options]);
}

/** One file alone. */
function compileFile(file: string): void {
  const options = { noResolve: true, types: [] };
  const project = { extends: './tsconfig.json', include: [], files: [file], compilerOptions: options };
  writeFileSync(join(copy, 'one.json'), JSON.stringify(project));
  compile('-p', join(copy, 'one.json'));
}

interface Result {
  readonly passed: number;
  readonly ok: boolean;
}

/** Runs tests of a file by their names. */
function run(testFile: string, tests: readonly string[]): Result {
  const patterns = tests.map(
    (name) => `--test-name-pattern=^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`,
  );
  const file = join(copy, 'dist', testFile.replace(/\.ts$/, '.js'));
  const args = ['--test', '--test-reporter=tap', ...patterns, file];
  const { status, stdout } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: TEST_TIMEOUT_MS,
  });
  return { passed: Number(/^# pass (\d+)$/m.exec(stdout)?.[1] ?? 0), ok: status === 0 };
}

/** All of them exist and pass while nothing is broken. */
function checkTests(): void {
  const rows = conformanceRows();
  for (const testFile of new Set(MUTANTS.map((mutant) => mutant.testFile))) {
    const tests = new Set(MUTANTS.filter((mutant) => mutant.testFile === testFile).map(({ test }) => test));
    for (const test of tests) {
      if (rows.some((row) => row.file === testFile && row.test === test)) continue;
      throw new Error(`docs/conformance.md has no row for ${test}: add one, or name another test`);
    }
    const { passed, ok } = run(testFile, [...tests]);
    if (ok && passed >= tests.size) continue;
    throw new Error(
      `of ${tests.size} tests of ${testFile} ${passed} pass without any change: mend them first`,
    );
  }
}

function line({ file, from, to, test }: Mutant, result: string): string {
  const code = (text: string) => `\`${text.trim().replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')}\``;
  const change = to.trim() === '' ? `${code(from)} removed` : `${code(from)} → ${code(to)}`;
  return `| ${file.replace('proxy/', '')}: ${change} | ${test.replaceAll('|', '\\|')} | ${result} |`;
}

const lines: string[] = [];
let survived = 0;
try {
  for (const source of SOURCES) cpSync(packageRoot(source), join(copy, source), { recursive: true });
  symlinkSync(packageRoot('node_modules'), join(copy, 'node_modules'));
  compile('-p', copy);
  checkTests();
  for (const mutant of MUTANTS) {
    const path = join(copy, mutant.file);
    const source = readFileSync(path, 'utf8');
    if (source.split(mutant.from).length !== 2) {
      throw new Error(`${mutant.file} does not have ${mutant.from} exactly once: adapt mutant-list.ts`);
    }
    writeFileSync(
      path,
      source.replace(mutant.from, () => mutant.to),
    );
    compileFile(mutant.file);
    const { ok } = run(mutant.testFile, [mutant.test]);
    writeFileSync(path, source);
    compileFile(mutant.file);
    if (ok) survived++;
    lines.push(line(mutant, ok ? '**survived**' : 'fails'));
    process.stdout.write(`${lines.at(-1)}\n`);
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
process.stdout.write(`${lines.length} rules broken, ${survived} of them unnoticed\n`);
process.exitCode = survived === 0 ? 0 : 1;

if (process.argv.includes('--write')) {
  const document = packageRoot('docs/conformance.md');
  const text = readFileSync(document, 'utf8');
  const before = text.includes(HEADING) ? text.slice(0, text.indexOf(HEADING)) : `${text}\n`;
  const intro = `${lines.length} changes, each alone in a copy of the sources (\`make mutants\`); ${survived} went unnoticed.`;
  writeFileSync(
    document,
    `${before}${HEADING}\n\n${intro}\n\n| change | test | result |\n|---|---|---|\n${lines.join('\n')}\n`,
  );
}

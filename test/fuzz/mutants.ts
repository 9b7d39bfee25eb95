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

function build(): void {
  // Types may be wrong after a change; what counts is what it does.
  spawnSync(process.execPath, [
    packageRoot('node_modules/typescript/bin/tsc'),
    '-p',
    copy,
    '--outDir',
    join(copy, 'dist'),
  ]);
}

/** Runs one test by its name; null when there is none of that name. */
function passes({ testFile, test }: Mutant): boolean | null {
  const escaped = test
    .split(/\$\{(?:[^{}]|\{[^}]*\})*\}/)
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const file = join(copy, 'dist', testFile.replace(/\.ts$/, '.js'));
  const args = ['--test', '--test-reporter=tap', `--test-name-pattern=^${escaped.join('.+')}$`, file];
  const run = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: TEST_TIMEOUT_MS });
  const count = (what: string) => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(run.stdout)?.[1] ?? 0);
  if (count('pass') + count('fail') + count('cancelled') === 0 && run.status === 0) return null;
  return run.status === 0;
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
  const rows = conformanceRows();
  build();
  for (const mutant of MUTANTS) {
    if (!rows.some((row) => row.file === mutant.testFile && row.test === mutant.test)) {
      throw new Error(`docs/conformance.md has no row for ${mutant.test}: add one, or name another test`);
    }
    if (passes(mutant) !== true)
      throw new Error(`${mutant.test} fails without any change, or is not there: mend it first`);
  }
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
    build();
    const passed = passes(mutant);
    writeFileSync(path, source);
    if (passed !== false) survived++;
    lines.push(line(mutant, passed === false ? 'fails' : '**survived**'));
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

/** `kontrol check FILE…`: validates files without any server; every problem with its file, line and column. */
import { KontrolError } from '../shared/errors.ts';
import { problemsOf, readObjects } from './files.ts';

export async function run(argv: readonly string[]): Promise<number> {
  if (argv.length === 0 || argv.includes('--help')) {
    process.stdout.write(
      'usage: kontrol check FILE…\n\nValidates YAML or JSON files (or folders of them) without any server.\n',
    );
    return argv.length === 0 ? 2 : 0;
  }
  try {
    const objects = readObjects(argv);
    const problems = problemsOf(objects);
    if (problems.length === 0) {
      process.stdout.write(`${objects.length} objects are valid\n`);
      return 0;
    }
    process.stderr.write(`${problems.join('\n')}\n`);
  } catch (error) {
    if (!(error instanceof KontrolError)) throw error;
    process.stderr.write(`${error.message}\n`);
  }
  return 1;
}

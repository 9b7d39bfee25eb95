/** `kontrol check FILE…`: validates files without any server; every problem with its file, line and column. */
import { KontrolError } from '../shared/errors.ts';
import { problemsOf, readObjects } from './files.ts';

export async function run(argv: readonly string[]): Promise<number> {
  if (argv.length === 0) {
    process.stderr.write('kontrol: which files? usage: kontrol check FILE…\n');
    return 2;
  }
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(
      'Usage: kontrol check FILE…\n\nValidate YAML or JSON files (or folders of them) without any server.\n',
    );
    return 0;
  }
  const option = argv.find((each) => each.startsWith('-') && each !== '-');
  if (option !== undefined) {
    process.stderr.write(`kontrol: check has no option ${option}; usage: kontrol check FILE…\n`);
    return 2;
  }
  try {
    const objects = readObjects(argv);
    const problems = problemsOf(objects);
    if (problems.length === 0) {
      process.stdout.write(
        objects.length === 1 ? '1 object is valid\n' : `${objects.length} objects are valid\n`,
      );
      return 0;
    }
    process.stderr.write(`${problems.join('\n')}\n`);
  } catch (error) {
    if (!(error instanceof KontrolError)) throw error;
    process.stderr.write(`${error.message}\n`);
  }
  return 1;
}

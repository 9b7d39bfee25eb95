/** `kontrol schema`: the JSON Schema of files for apply, so that an editor completes and checks them. */
import { fileSchema } from '../shared/model/json-schema.ts';
import { printJson } from './output.ts';

export async function run(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(
      'Usage: kontrol schema\n\nPrint the JSON Schema of files for apply, diff and check. In an editor with a YAML language server, the line\n# yaml-language-server: $schema=kontrol.schema.json\non top of a file that is checked by it completes and checks it while you type.\n',
    );
    return 0;
  }
  if (argv.length > 0) {
    process.stderr.write('kontrol: schema takes no arguments; usage: kontrol schema > kontrol.schema.json\n');
    return 2;
  }
  printJson(fileSchema());
  return 0;
}

/** `kontrol apply -f FILE… --owner NAME`: many objects from files as one revision; `kontrol diff` only shows it. */
import { clientCommand, runClient } from './client-command.ts';
import { ApiError, call, type Reply } from './connection.ts';
import { type FileObject, inOrder, type Located, located, problemsOf, readObjects } from './files.ts';
import { progress } from './output.ts';
import { reportWrite, writeOptions, writeQuery } from './writes.ts';
import { WrongUse } from './wrong-use.ts';

export function run(argv: readonly string[]): Promise<number> {
  return applyFiles('apply', 'Write all objects of files as one revision.', argv, false);
}

export async function applyFiles(
  name: string,
  description: string,
  argv: readonly string[],
  onlyShow: boolean,
): Promise<number> {
  const command = clientCommand(name, description)
    .requiredOption('-f, --file <file...>', 'YAML or JSON files, folders, or - for standard input')
    .option('--owner <name>', 'who these objects belong to; default: each keeps the owner that it names')
    .option('--prune', 'delete objects of the owner that the files do not have');
  if (!onlyShow) writeOptions(command);
  return runClient(command, argv, async (connection, given) => {
    const options = onlyShow ? { ...given, dryRun: true } : given;
    if (options['prune'] === true && options['owner'] === undefined)
      throw new WrongUse('--prune needs --owner: only what one owner has can be pruned');
    const objects = readObjects(options['file'] as string[]);
    const problems = problemsOf(objects);
    if (problems.length > 0) {
      process.stderr.write(`${problems.join('\n')}\n`);
      return 1;
    }
    // An import or export that failed leaves an empty file behind; that must not mean: delete everything.
    if (options['prune'] === true && objects.length === 0)
      throw new WrongUse(
        `the files hold no object, so --prune would delete all that ${options['owner']} has; 'kontrol delete' does that one by one`,
      );
    const body = {
      owner: options['owner'],
      prune: options['prune'] === true,
      objects: objects.map((object) => object.input),
    };
    const done = progress(`sending ${objects.length} objects`);
    let reply: Reply<unknown>;
    try {
      reply = await call(connection, 'POST', `/v1/apply${writeQuery(options)}`, body);
    } catch (error) {
      done();
      if (!(error instanceof ApiError)) throw error;
      process.stderr.write(`${placed(error, objects).join('\n')}\n`);
      return 1;
    }
    done();
    return reportWrite(reply, options);
  });
}

/** The API's problems at their places in the files: `objects.3.routes.0.path` is inside the fourth object. */
function placed(error: ApiError, objects: readonly FileObject[]): string[] {
  const errors = Array.isArray(error.problem['errors'])
    ? (error.problem['errors'] as { path?: string; message?: string }[])
    : [];
  const found: Located[] = [];
  const elsewhere: string[] = [];
  for (const { path = '', message = '' } of errors) {
    const match = /^objects\.(\d+)\.?(.*)$/.exec(path);
    const object = objects[Number(match?.[1] ?? -1)];
    if (object === undefined) elsewhere.push(`${path}: ${message}`);
    else found.push(located(object, match?.[2] ?? '', message));
  }
  const lines = [...inOrder(found), ...elsewhere];
  return lines.length > 0 ? lines : [`kontrol: ${error.message}`];
}

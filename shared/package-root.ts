/** Where the package is installed, whether the code runs from `dist/` or from another build folder. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let root: string | null = null;

/** Absolute path of a file or folder of the package. */
export function packageRoot(...parts: readonly string[]): string {
  if (root === null) {
    root = dirname(fileURLToPath(import.meta.url));
    while (!existsSync(join(root, 'package.json')) && dirname(root) !== root) root = dirname(root);
  }
  return join(root, ...parts);
}

/** Version in package.json. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(packageRoot('package.json'), 'utf8')) as { version: string };
  return version;
}

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from './apply.ts';
import { readObjects } from './files.ts';

// Nobody listens there: what gets so far has passed the checks of the command.
const NOWHERE = ['--url', 'http://127.0.0.1:9', '--token', 'none', '--owner', 'me'];

function inFolder(t: { after(end: () => void): void }, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-apply-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'site.yaml');
  writeFileSync(file, text);
  return file;
}

test('an empty file with --prune is refused: it would delete everything of its owner', async (t) => {
  const file = inFolder(t, '# an import that failed\n');
  await assert.rejects(run(['-f', file, '--prune', ...NOWHERE]), /the files hold no object.*all that me has/);
});

test('a mistake of syntax is told with its place once, on one line', (t) => {
  const file = inFolder(t, 'kind: service\nname: [oops\nbackends: 1\n');
  assert.throws(
    () => readObjects([file]),
    ({ message }: Error) => {
      assert.match(message, /site\.yaml:3:1: Flow sequence .*end with a \]$/);
      return true;
    },
  );
});

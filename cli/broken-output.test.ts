import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));

test('a reader that leaves before the end of the output is no failure', async () => {
  const child = spawn(process.execPath, [MAIN, 'schema'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  child.stdout.destroy();
  const [code] = await once(child, 'close');
  assert.deepEqual({ code, said }, { code: 0, said: '' });
});

test('an output that cannot be written makes the exit code 1, and says why without a stack', async () => {
  assert.ok(existsSync('/dev/full'), 'this system has a device that is always full');
  const full = createWriteStream('/dev/full');
  await once(full, 'open');
  const child = spawn(process.execPath, [MAIN, 'schema'], { stdio: ['ignore', full, 'pipe'] });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  full.destroy();
  assert.equal(code, 1);
  assert.match(said, /^kontrol: the output cannot be written: ENOSPC.*\n$/);
});

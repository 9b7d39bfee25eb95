import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));
/** On a signal that the process takes anyway: a rejection that nobody waits for, and an error outside every call. */
const MISTAKES = `process.on('SIGUSR2', () => {
  Promise.reject(new Error('stray'));
  setImmediate(() => { throw new Error('thrown'); });
});`;

test('a failure that nobody waited for, or that was thrown outside every call, is logged and ends nothing', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'kontrol-api-'));
  const mistakes = `data:text/javascript,${encodeURIComponent(MISTAKES)}`;
  const argv = ['--import', mistakes, MAIN, 'api', '--api', '127.0.0.1:0', '--data', data];
  const child = spawn(process.execPath, argv, {
    // The embedded store listens for rejections itself.
    env: {
      PATH: process.env['PATH'],
      MONGO_URL: 'mongodb://127.0.0.1:1/x',
      KONTROL_API_TOKEN: 'x'.repeat(20),
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(async () => {
    child.kill('SIGKILL');
    await rm(data, { recursive: true, force: true });
  });
  const ended = once(child, 'exit');
  let url = '';
  const missing = new Set(['unhandled_rejection', 'uncaught_exception']);
  for await (const line of createInterface(child.stderr)) {
    const said = JSON.parse(line) as { code: string; url?: string };
    if (said.code === 'api_started') {
      url = said.url ?? '';
      child.kill('SIGUSR2');
    }
    if (missing.delete(said.code) && missing.size === 0) break;
  }
  assert.deepEqual([...missing], []);
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});

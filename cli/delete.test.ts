import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from './delete.ts';
import { WrongUse } from './wrong-use.ts';

// Nobody listens there: what is refused, is refused before anything is asked.
const NOWHERE = ['--url', 'http://127.0.0.1:9', '--token', 'none'];

test('to delete the settings, or nothing in particular, is refused with what does it', async () => {
  const refused = (args: readonly string[], message: RegExp) =>
    assert.rejects(
      run([...args, ...NOWHERE]),
      (error) => error instanceof WrongUse && message.test(error.message),
    );
  for (const args of [['settings'], ['settings', 'settings'], ['Settings']])
    await refused(args, /always there; .*kind: settings.* kontrol apply -f -/);
  await refused(['domain'], /^which domain\? 'kontrol delete domain NAME'; 'kontrol get domain' lists them$/);
  await refused(['planet', 'x'], /there is no kind 'planet'/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presses } from './presses.ts';

test('signals that come together are one, a later one is a second', () => {
  let at = 0;
  let pressed = 0;
  const handler = presses(
    () => pressed++,
    () => at,
  );
  const told = [0, 2, 299, 300, 301, 5_000].map((time) => {
    at = time;
    handler('SIGINT');
    return pressed;
  });
  assert.deepEqual(told, [1, 1, 1, 2, 2, 3]);
});

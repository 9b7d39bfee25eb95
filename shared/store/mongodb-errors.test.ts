import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureOf, isFailure } from './mongodb-errors.ts';

test('an error of the socket that the driver lets through is a broken call, to be tried again, and no mistake of ours', () => {
  const error = Object.assign(new Error('write ECONNRESET'), { code: 'ECONNRESET', syscall: 'write' });
  assert.ok(isFailure(error));
  assert.equal(failureOf(error), 'broken');
  assert.ok(!isFailure(new TypeError('x is not a function')));
});

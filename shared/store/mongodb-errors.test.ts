import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureOf, isFailure } from './mongodb-errors.ts';

test('an error of the socket that the driver lets through is a broken call, to be tried again, and no mistake of ours', () => {
  const reset = Object.assign(new Error('write ECONNRESET'), { code: 'ECONNRESET', syscall: 'write' });
  // Node's own, for a write on a socket whose other side was ended; it names no system call.
  const ended = Object.assign(new Error('This socket has been ended by the other party'), { code: 'EPIPE' });
  for (const error of [reset, ended]) {
    assert.ok(isFailure(error));
    assert.equal(failureOf(error), 'broken');
  }
  assert.ok(!isFailure(new TypeError('x is not a function')));
  assert.ok(!isFailure(Object.assign(new Error('a file'), { code: 'ENOENT' })));
});
